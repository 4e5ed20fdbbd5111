"""Files of the HTTP API: which a caller can name, links and their end, recordings and their limits."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from helpers.page.api_calls import contents, left
from helpers.page.browsing import WAIT, below, upload
from helpers.page.served import serving
from helpers.pairs import write_pair
from helpers.videos import frames_of, pair, read_video, write_video, zipped

from app import video as video_settings
from app.gradio_ext.blocks import NO_ADDRESSES
from app.server.answer_files import ENDED, AnswerFiles, AnswerLimits
from app.server.sessions import SessionStore
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


# ---- links to the files of an answer

MIB = 2**20


@pytest.fixture
def now():
    """A clock: the list's only item, in seconds."""
    return [0.0]


@pytest.fixture
def kept(tmp_path, now):
    return AnswerFiles(tmp_path / "answers", AnswerLimits(600, 3 * MIB, 5 * MIB, 0), lambda: now[0])


def segmented(client, pair, tmp_path, **values) -> dict:
    rgb, x = (path.rename(tmp_path / f"asked_{path.name}") for path in pair)
    given = {"rgb": handle_file(str(rgb)), "x": [handle_file(str(x))], "model": MODEL, **values}
    answer = client.predict(**given, api_name="/segment")
    for path in (rgb, x):
        path.rename(path.with_name(path.name.removeprefix("asked_")))
    return answer


def test_links_lead_to_what_the_answer_would_hold(client, files, tmp_path, own_uploads):
    linked, inline, without = (
        segmented(client, files, tmp_path, files=how) for how in ("url", "inline", "none")
    )
    assert list(linked["files"]) == list(inline["files"])
    for name, link in linked["files"].items():
        if name.endswith(".png"):
            assert contents(link) == contents(inline["files"][name]), name
    summary = json.loads(contents(linked["files"]["prediction.json"]))
    assert summary["branches"] == inline["branches"] == without["branches"]
    assert without["files"] == {}
    for branch, rows in linked["branches"].items():
        for row, whole in zip(rows, summary["branches"][branch]):
            assert row["name"] == whole["name"]
            assert row["share"] == pytest.approx(whole["share"], abs=1e-4)
    assert len(json.dumps(linked)) < 8 * 1024
    assert not left_over(own_uploads)


def test_an_answer_with_all_classes_stays_small():
    from app.api.serialize import brief

    row = {"index": 39, "name": "a rather long name", "color": [1, 2, 3], "share": 1 / 3, "confidence": 2 / 3}
    answer = brief({"branches": {branch: [row] * 40 for branch in ("fused", "rgb", "x")}})
    assert len(json.dumps(answer)) < 6 * 1024


def test_a_link_ends_with_its_session_and_only_its_address_leads_to_it(address, files, tmp_path, service):
    with serving(service, tmp_path / "own") as page:
        client = Client(page.local_url, verbose=False)
        answer = segmented(client, files, tmp_path)
        link = answer["files"]["labels_fused.png"]
        found = httpx.get(link)
        assert found.headers["cache-control"] == "no-store"
        assert "sandbox" in found.headers["content-security-policy"]
        assert str(page.folder.path) not in json.dumps(answer)
        key, name = link.split("/")[-2:]
        assert len(key) == 32
        base = link.removesuffix(f"{key}/{name}")
        wrong = ("0" * 32 + f"/{name}", f"{key}/", key, f"{key}/other.png", f"{key}/..%2f{key}%2f{name}", "")
        for place in wrong:
            assert httpx.get(base + place).status_code == 404, place
        assert httpx.get(f"{page.local_url}answers").status_code == 404
        other = Caller(page.local_url)
        folder = page.folder.path / "answers" / key
        assert (folder / name).is_file()
        assert httpx.get(f"{page.local_url}gradio_api/file={folder / name}").status_code == 404
        x = other.upload(files[1])
        kind, said = other.segment(str(folder / name), x)
        assert (kind, NOT_HERE in said) == ("error", True)
        client.close()
        end = time.monotonic() + 60
        with suppress(httpx.RemoteProtocolError):  # the file went away between its first and its last byte
            while httpx.get(link).status_code == 200:
                assert time.monotonic() < end
                time.sleep(0.05)
        while folder.exists():  # its files go first
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_caller_without_a_session_gets_links_too(caller, files):
    kind, said = caller.segment(*map(caller.upload, files))
    assert kind == "complete"
    (answer,) = json.loads(said.splitlines()[-2 if not said.splitlines()[-1] else -1].removeprefix("data: "))
    assert contents(answer["files"]["overlay.png"]).startswith(b"\x89PNG")


def test_links_live_for_ten_minutes_and_go_at_once_with_their_session(kept, now, tmp_path):
    assert AnswerLimits().seconds == 600
    mine, other = kept.begin("mine", "1"), kept.begin("other", "1")
    for answer in (mine, other):
        kept.write(answer, "a.png", b"x")
    now[0] = 599.0
    kept.end("mine")
    assert kept.find(mine.key, "a.png") is None
    assert kept.find(other.key, "a.png").read_bytes() == b"x"
    now[0] = 600.0
    assert kept.find(other.key, "a.png") is None
    kept.forget_stale()
    assert not left(tmp_path)


def test_a_session_that_ends_during_a_run_keeps_no_files(kept, tmp_path):
    answer = kept.begin("mine", "1")
    kept.write(answer, "a.png", b"x")
    kept.end("mine")
    with pytest.raises(ValueError, match=ENDED):
        kept.write(answer, "b.png", b"x")
    assert not left(tmp_path)


def test_linked_files_take_so_much_and_the_oldest_of_their_address_go(kept):
    def written(address: str, mib: float) -> str:
        answer = kept.begin(address, address)
        kept.write(answer, "a.bin", b"x" * int(mib * MIB))
        return answer.key

    def there() -> list[bool]:
        return [kept.find(key, "a.bin") is not None for key in keys]

    keys = [written("1", 1), written("1", 1), written("2", 1)]
    assert there() == [True, True, True]
    keys.append(written("1", 1))  # with what every answer counts, more than 3 MiB of this address
    assert there() == [False, True, True, True]
    keys.append(written("3", 2))  # more than 5 MiB in all: the address with most gives way
    assert there() == [False, False, True, True, True]
    keys.append(written("3", 4))  # alone more than its address may hold, but it is the newest
    assert there()[-2:] == [False, True]


def test_a_full_disk_refuses_a_link(tmp_path, monkeypatch):
    store = SessionStore(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**20}))
    answer = store.answers.begin("mine", "1")
    with pytest.raises(OSError, match="No space left"):
        store.answers.write(answer, "a.png", b"x")


# ---- recordings


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
    (tmp_path / "api.webm").write_bytes(contents(answer["video"]))
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
        ({"container": "gif"}, "container 'gif': choose one of webm, mp4"),
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
