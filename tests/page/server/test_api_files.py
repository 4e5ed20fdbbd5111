"""Which files a caller of the API can name; recordings over the API: limits, turns, nothing left behind."""

from __future__ import annotations

import base64
import csv
import io
import json
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.browsing import WAIT, below, upload
from helpers.pairs import write_pair
from helpers.served import serving
from helpers.videos import frames_of, pair, read_video, write_video, zipped

from app import video as video_settings
from app.gradio_ext.blocks import NO_ADDRESSES
from app.server.uploads import NOT_HERE
from ktb.video.run import SequenceOptions, run_sequence
from ktb.video.zip_source import ZipFrames

MODEL = "ktb-lite-nyuv2-depth"


@pytest.fixture(scope="module")
def address(own_uploads, service):
    """A server of its own, because the tests take turns of its service."""
    with serving(service, own_uploads, warm_up=True) as page:
        yield page.local_url


@pytest.fixture(scope="module")
def client(address):
    client = Client(address, verbose=False)
    yield client
    client.close()


class Caller:
    """Somebody who speaks HTTP by hand."""

    def __init__(self, address: str):
        self.url = f"{address}gradio_api"

    def upload(self, path: Path) -> str:
        with path.open("rb") as file:
            return httpx.post(f"{self.url}/upload", files={"files": (path.name, file)}).json()[0]

    def segment(self, rgb: str, x: str, **more) -> tuple[str, str]:
        """Kind of the answer ("complete" or "error"), and what it says."""

        def file(path: str) -> dict:
            return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}

        call = httpx.post(
            f"{self.url}/call/segment", json={"data": [file(rgb), [file(x)], MODEL, {}, "file"]}
        )
        answer = httpx.get(f"{self.url}/call/segment/{call.json()['event_id']}", timeout=60).text
        return answer.splitlines()[0].removeprefix("event: "), answer


@pytest.fixture
def caller(address):
    return Caller(address)


@pytest.fixture
def files(tmp_path):
    return write_pair(tmp_path)


def test_files_of_the_server_cannot_be_named(caller, files, own_uploads):
    x = caller.upload(files[1])
    secret = own_uploads.parent / "secret.png"  # a fine picture, but beside the uploads
    secret.write_bytes(files[0].read_bytes())
    for path in (
        "/etc/passwd",
        "/proc/self/environ",
        str(secret),
        f"{own_uploads}/../{secret.name}",
        f"{Path(x).parent}/../../{secret.name}",
        f"/../..{secret}",
        str(Path(__file__).resolve()),
        str(own_uploads),  # Gradio itself would stumble over a folder later
        str(Path(x).parent),
        f"{own_uploads}/{'0' * 64}/rgb.png",
        "rgb.png",
        "",
    ):
        kind, said = caller.segment(path, x)
        assert (kind, NOT_HERE in said) == ("error", True), (path, said)
    for more in ({"is_stream": True}, {"url": f"file://{secret}"}, {"url": "/gradio_api/file=x"}):
        assert caller.segment(str(secret), x, **more)[0] == "error"
    assert secret.exists()
    assert Path(x).exists()


def test_addresses_are_not_fetched(caller, files):
    x = caller.upload(files[1])
    for path in ("http://127.0.0.1:1/rgb.png", "https://example.org/rgb.png", "HTTP://example.org/rgb.png"):
        for more in ({}, {"is_stream": True}):
            kind, said = caller.segment(path, x, **more)
            assert kind == "error"
            assert NO_ADDRESSES in said or NOT_HERE in said


def test_equal_uploads_are_two_files_whose_names_nobody_guesses(caller, files):
    first, second = (Path(caller.upload(files[0])) for _ in range(2))
    assert first.name == second.name == "rgb.png"
    assert first.parents[1] != second.parents[1]
    assert len(first.parents[1].name) == 32
    assert first.read_bytes() == second.read_bytes() == files[0].read_bytes()


def test_a_file_of_a_page_cannot_be_named_by_a_call(caller, files, address, browser, own_uploads):
    """A call deletes its files when it ends: not those of a page, whatever it says."""
    tab = browser.new_page()
    tab.set_default_timeout(WAIT)
    tab.goto(address, wait_until="domcontentloaded")
    tab.wait_for_selector("#ktb-run")
    before = set(below(own_uploads, "rgb.png"))
    upload(tab, files[0], None)
    tab.wait_for_function("!document.querySelector('#ktb-rgb .wrap.generating')")
    tab.wait_for_timeout(1000)  # the page's reading, which makes the file its own
    (rgb,) = set(below(own_uploads, "rgb.png")) - before
    own, x = map(Path, map(caller.upload, files))
    kind, said = caller.segment(str(rgb), str(x))
    assert (kind, NOT_HERE in said) == ("error", True)
    assert caller.segment(str(own), str(x))[0] == "complete"
    assert rgb.exists()
    assert not own.exists()
    tab.goto("about:blank")
    end = time.monotonic() + 60
    while rgb.exists():
        assert time.monotonic() < end
        time.sleep(0.2)
    tab.close()


def test_nothing_lists_the_uploads(caller, files, own_uploads):
    path = Path(caller.upload(files[0]))
    for place in (own_uploads, path.parent):
        assert httpx.get(f"{caller.url}/file={place}").status_code in (403, 404)
    for page in ("info", "startup-events", "queue/status"):
        assert path.parent.name not in httpx.get(f"{caller.url}/{page}").text
    assert path.parent.name not in httpx.get(f"{caller.url.removesuffix('gradio_api')}config").text


def left_over(uploads: Path) -> list[Path]:
    folders = [*below(uploads, "ktb-sequence-*"), *Path(tempfile.gettempdir()).glob("ktb-sequence-*")]
    return [*below(uploads, "asked_*"), *folders]


def wait_until_gone(uploads: Path) -> None:
    end = time.monotonic() + 60
    while left_over(uploads):
        assert time.monotonic() < end, left_over(uploads)
        time.sleep(0.2)


def test_a_recording_gives_what_python_gives(client, service, own_uploads, tmp_path):
    archive = zipped(tmp_path / "asked_two.zip", frames_of(2))
    job = client.submit(
        recording=handle_file(str(archive)), model=MODEL, views=["mask", "x"], fps=5, api_name="/sequence"
    )
    answer = job.result()
    steps = job.outputs()
    assert [step["status"] for step in steps] == ["running"] * 2 + ["complete"]
    assert [(step["frame"], step["of"], step["name"]) for step in steps[:2]] == [
        (i, 2, str(i)) for i in range(2)
    ]
    assert not left_over(own_uploads)

    expected = run_sequence(
        service.predictor(MODEL).for_frames(),
        ZipFrames(archive),
        tmp_path / "python",
        SequenceOptions(fps=5, layout=("mask", "x")),
    )
    (tmp_path / "api.webm").write_bytes(base64.b64decode(answer["video"]))
    ours, theirs = (read_video(path) for path in (tmp_path / "api.webm", expected.video))
    assert ours[1] == theirs[1] == 5
    assert all(np.array_equal(a, b) for a, b in zip(ours[0], theirs[0], strict=True))
    rows, wanted = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(text)]
        for text in (io.StringIO(answer["csv"], newline=""), expected.table.open(newline=""))
    )
    assert rows == wanted
    report = json.loads(expected.report.read_text())
    assert {**answer["report"], "seconds": 0} == {**report, "seconds": 0}
    assert (answer["frames"], answer["failed"], answer["checkpoint"]) == (2, 0, MODEL)


def test_two_videos_limits_and_what_is_too_large_for_an_answer(client, tmp_path, own_uploads, monkeypatch):
    from app.api import video

    monkeypatch.setattr(video_settings, "MAX_SEQUENCE_FRAMES", 2)
    monkeypatch.setattr(video, "MAX_VIDEO_BYTES", 100)
    rgb = write_video(tmp_path / "asked_day.webm", [pair(i)[0] for i in range(3)])
    grey = [np.repeat((pair(i)[1] // 20).astype(np.uint8)[..., None], 3, axis=2) for i in range(3)]
    x = write_video(tmp_path / "asked_x.webm", grey)
    answer = client.predict(
        recording=handle_file(str(rgb)), x_video=handle_file(str(x)), api_name="/sequence"
    )
    assert answer["frames"] == 2
    assert answer["report"]["has_x"] is True
    assert answer["video"] is None
    assert any("Only the first 2 frames" in note for note in answer["notes"])
    assert any("is omitted" in note for note in answer["notes"])
    assert not left_over(own_uploads)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "leads out of the archive"),
        ({"views": []}, "at least one of"),
        ({"options": {"melt": 1}}, "unknown keys"),
        ({"recording": None}, "the video is missing"),
    ],
)
def test_what_is_wrong_with_a_recording_is_said(client, tmp_path, own_uploads, values, message):
    archive = zipped(tmp_path / "asked_slip.zip", {"../rgb/1.png": b"x"})
    with pytest.raises(AppError, match=message):
        client.predict(**{"recording": handle_file(str(archive)), **values}, api_name="/sequence")
    assert not left_over(own_uploads)


def test_a_cancelled_recording_stops_and_leaves_nothing(client, tmp_path, own_uploads, service):
    archive = zipped(tmp_path / "asked_long.zip", frames_of(200))
    job = client.submit(recording=handle_file(str(archive)), model=MODEL, api_name="/sequence")
    assert next(iter(job))["status"] == "running"
    job.cancel()
    wait_until_gone(own_uploads)
    with service.scheduler.frame():  # free for others
        pass


def test_single_runs_go_between_the_frames_and_recordings_one_after_the_other(client, files, tmp_path):
    archives = [zipped(tmp_path / f"asked_{i}.zip", frames_of(count)) for i, count in enumerate((40, 1))]
    recordings = [handle_file(str(archive)) for archive in archives]
    long = client.submit(recording=recordings[0], model=MODEL, api_name="/sequence")
    assert next(iter(long))["status"] == "running"
    short = client.submit(recording=recordings[1], model=MODEL, api_name="/sequence")
    single = client.predict(
        rgb=handle_file(str(files[0])), x=[handle_file(str(files[1]))], api_name="/segment"
    )
    assert single["model"] == MODEL
    assert not long.done()
    assert not short.outputs()
    long.cancel()
    assert short.result()["frames"] == 1
