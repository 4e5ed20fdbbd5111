"""The sequence tab in a real browser, and that others' runs go between the frames of a recording."""

from __future__ import annotations

import os
import threading
import time
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.page.browsing import below, new_tab
from helpers.page.served import serving
from helpers.videos import frames_of, pair, read_video, rows_of, write_video, zipped

from app.panels.video import result_panel, shares_plot
from app.predictors import SharedPredictor
from app.scheduler import SINGLES_FIRST, FairScheduler
from app.video import frame_result
from app.widgets.examples import examples
from ktb.inputs import AUTO
from ktb.video.encoding import NO_H264
from ktb.video.run import SequenceResult
from ktb.video.table import SHARE

VIDEO = "#ktb-sequence video"


@pytest.fixture(scope="module")
def address(own_uploads, service):
    """A server of its own, because the tests take turns of its service."""
    with serving(service, own_uploads, warm_up=True) as page:
        yield page.local_url


def open_videos(context, address: str):
    page = new_tab(context, address, width=1700)
    page.get_by_role("tab", name="Evaluate").first.click()
    page.get_by_role("tab", name="Video").first.click()
    page.wait_for_selector("#ktb-recording")
    return page


@pytest.fixture
def tab(context, address):
    page = open_videos(context, address)
    yield page
    page.close()


@pytest.fixture(scope="module")
def played(context, address, recording):
    """A page whose recording was run, for the tests of its result."""
    page = open_videos(context, address)
    give(page, recording)
    page.evaluate(SEE_FRAMES)
    page.click("#ktb-run-frames")
    page.wait_for_selector(VIDEO)
    yield page
    page.close()


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """The four example pairs, small, as a zip."""
    members = {}
    for example in examples():
        photo = cv2.resize(cv2.imread(str(example.rgb)), (160, 120), interpolation=cv2.INTER_AREA)
        depth = cv2.imread(str(example.x), cv2.IMREAD_UNCHANGED)
        depth = cv2.resize(depth, (160, 120), interpolation=cv2.INTER_NEAREST)
        name = example.name.replace(" ", "_")
        members[f"rgb/{name}.png"] = cv2.imencode(".png", photo)[1].tobytes()
        members[f"x/{name}.png"] = cv2.imencode(".png", depth)[1].tobytes()
    return zipped(tmp_path_factory.mktemp("recording") / "four.zip", members)


def give(page, path, place="#ktb-recording") -> None:
    page.set_input_files(f"{place} input[type=file]", str(path))
    page.wait_for_selector(f"{place} >> text={path.stem}")


def fetch(address: str, page, text: str) -> bytes:
    link = page.locator(f"#ktb-sequence a:has-text('{text}')").get_attribute("href")
    with urllib.request.urlopen(f"{address.rstrip('/')}/{link}") as answer:
        return answer.read()


SEE_FRAMES = """() => { window.sawFrame = false; const look = () => {
  window.sawFrame ||= document.querySelector("#ktb-sequence img[alt^='frame']") !== null; };
  new MutationObserver(look).observe(document.body, { childList: true, subtree: true }); }"""


def test_a_zip_becomes_a_video_that_plays_and_a_table(played, address, recording, service, tmp_path):
    tab = played
    assert tab.evaluate("window.sawFrame")  # the latest frame, while it went on
    tab.wait_for_function(f"document.querySelector('{VIDEO}').readyState >= 2")
    seconds, width = tab.evaluate(f"(v => [v.duration, v.videoWidth])(document.querySelector('{VIDEO}'))")
    assert seconds == pytest.approx(0.4, abs=0.05)
    assert width == 3 * 320
    assert tab.evaluate(
        f"""() => new Promise((done, fail) => {{ const v = document.querySelector('{VIDEO}');
        v.loop = false; v.onended = () => done(true); v.onerror = () => fail(v.error.message);
        v.play(); }})"""
    )
    (tmp_path / "table.csv").write_bytes(fetch(address, tab, "CSV"))
    rows = rows_of(tmp_path / "table.csv")
    assert [row["status"] for row in rows] == ["done"] * 4
    with zipfile.ZipFile(recording) as archive:
        photo, depth = (
            cv2.imdecode(np.frombuffer(archive.read(f"{folder}/Office.png"), np.uint8), cv2.IMREAD_UNCHANGED)
            for folder in ("rgb", "x")
        )
    single = service.predictor(service.models[0])(np.ascontiguousarray(photo[..., ::-1]), depth)
    for found in single.class_table():
        assert float(rows[3][SHARE + found.name]) == pytest.approx(found.share, abs=1e-6)
    assert tab.locator("#ktb-sequence .ktb-plot path").count() == 9  # eight classes and the rest
    assert "All 4 frames" in tab.inner_text("#ktb-sequence")
    assert tab.inner_text("#ktb-sequence .ktb-links a >> nth=0") == "WebM (VP8)"
    with_mp4 = tmp_path / "four.mp4"
    with_mp4.write_bytes(fetch(address, tab, "MP4"))
    assert len(read_video(with_mp4)[0]) == 4
    assert service.models[0] in tab.inner_text("#ktb-sequence")
    assert tab.is_enabled("#ktb-run-frames")
    assert tab.is_disabled("#ktb-stop")
    assert tab.is_hidden("#ktb-stop")  # nothing runs


def test_a_frame_of_a_video_opens_in_the_inspector(played, recording, service):
    tab = played
    slider = tab.get_by_role("slider", name="Frame")
    slider.press("End")
    assert slider.get_attribute("aria-valuetext") == "Frame 3 · Office"
    tab.wait_for_function(f"document.querySelector('{VIDEO}').currentTime > 0.3")  # of 0.4 s
    assert tab.get_by_role("button", name="Next frame").is_disabled()
    tab.get_by_role("button", name="Previous frame").click()
    assert tab.inner_text(".ktb-scrub output").startswith("Frame 2 · ")
    tab.evaluate(f"document.querySelector('{VIDEO}').currentTime = 0.35")  # as its own controls do
    tab.wait_for_selector(".ktb-scrub output >> text=Frame 3 · Office")
    tab.get_by_role("button", name="Inspect this frame").click()
    tab.wait_for_selector("#ktb-slot-inspect .ktb-v canvas")
    assert "frame 3 (Office) of the video, not the pair on the left" in tab.text_content(".ktb-v-doubts")
    viewer = "document.querySelector('.ktb-v').ktbViewer"
    shown = tab.evaluate(f"Array.from({viewer}.bundle.array('labels.fused').data)")
    with zipfile.ZipFile(recording) as archive:
        photo, depth = (
            cv2.imdecode(np.frombuffer(archive.read(f"{folder}/Office.png"), np.uint8), cv2.IMREAD_UNCHANGED)
            for folder in ("rgb", "x")
        )
    single = service.predictor(service.models[0])(np.ascontiguousarray(photo[..., ::-1]), depth)
    assert np.array_equal(np.reshape(shown, photo.shape[:2]), single.labels["fused"])


@pytest.mark.parametrize(("index", "said"), [(4, "has no frame 4"), (0, "cannot be read")])
def test_a_frame_that_is_not_there_is_refused(tmp_path, service, index, said):
    broken = zipped(tmp_path / "broken.zip", {"rgb/0.png": b"no picture", "x/0.png": b"no picture"})
    with pytest.raises(ValueError, match=said):
        frame_result(service, service.models[0], str(broken), None, AUTO, index)


def test_stop_ends_after_the_frame_and_a_page_that_is_closed_stops_and_takes_its_files(
    tab, address, own_uploads, tmp_path
):
    others = set(below(own_uploads, "sequence-*"))
    give(tab, zipped(tmp_path / "long.zip", frames_of(600)))
    tab.click("#ktb-run-frames")
    tab.wait_for_selector("#ktb-sequence img[alt^='frame 1']")
    tab.click("#ktb-stop")
    tab.wait_for_selector(VIDEO)
    said = tab.inner_text("#ktb-sequence")
    assert "Stopped after" in said
    count = int(said.split("Stopped after ")[1].split()[0])
    assert 2 <= count < 600
    (tmp_path / "table.csv").write_bytes(fetch(address, tab, "CSV"))
    assert len(rows_of(tmp_path / "table.csv")) == count
    tab.wait_for_function(f"document.querySelector('{VIDEO}').duration > 0")
    assert set(below(own_uploads, "sequence-*")) - others
    tab.click("#ktb-run-frames")
    tab.wait_for_selector("#ktb-sequence img[alt^='frame']")
    wait_until(lambda: open_files("sequence-"))
    tab.close()
    wait_until(lambda: not below(own_uploads, "long.zip"))
    wait_until(lambda: set(below(own_uploads, "sequence-*")) <= others)
    wait_until(lambda: not open_files("sequence-"))


def test_what_is_wrong_is_said_and_two_videos_run(tab, tmp_path):
    rgb = write_video(tmp_path / "day.webm", [pair(i)[0] for i in range(3)])
    grey = [np.repeat((pair(i)[1] // 20).astype(np.uint8)[..., None], 3, axis=2) for i in range(2)]
    x = write_video(tmp_path / "sensor.webm", grey)
    tab.click("#ktb-run-frames")
    tab.wait_for_selector("#ktb-sequence [role=alert] >> text=the video is missing")
    # a bad archive is told, and the page stays usable
    give(tab, zipped(tmp_path / "slip.zip", {"../rgb/<b>.png": b"x"}))
    tab.click("#ktb-run-frames")
    tab.wait_for_selector("#ktb-sequence [role=alert] >> text=leads out of the archive")
    assert tab.locator("#ktb-sequence b").count() == 0  # a name is text
    assert tab.is_enabled("#ktb-run-frames")
    tab.click("#ktb-recording button[aria-label=Clear]")
    give(tab, rgb)
    give(tab, x, "#ktb-x-video")
    tab.click("#ktb-run-frames")
    tab.wait_for_selector(VIDEO)
    said = tab.inner_text("#ktb-sequence")
    assert "All 2 frames" in said
    assert "sensor.webm ends after 2 frames" in said


def test_a_recording_goes_on_while_there_are_always_single_runs():
    turns, order = FairScheduler(), []

    def frames():
        for _ in range(3):
            with turns.frame():
                order.append("frame")

    def singles():
        for _ in range(12):
            with turns.single():
                order.append("single")
                time.sleep(0.02)

    threads = [threading.Thread(target=target) for target in (singles, singles, frames)]
    with turns.single():
        for thread in threads:
            thread.start()
        time.sleep(0.2)  # all of them wait
    for thread in threads:
        thread.join()
    assert [i for i, what in enumerate(order) if what == "frame"][-1] <= 3 * (SINGLES_FIRST + 1)
    assert order.count("single") == 24


def test_a_single_run_waits_for_one_frame_at_most():
    turns, order, first = FairScheduler(), [], threading.Event()

    def recording():
        for i in range(6):
            with turns.frame():
                order.append(f"frame {i}")
                first.set()
                time.sleep(0.05)

    def single(name):
        first.wait()
        with turns.single():
            order.append(name)
            time.sleep(0.05)

    threads = [
        threading.Thread(target=recording),
        *(threading.Thread(target=single, args=(n,)) for n in "ab"),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order[0] == "frame 0"
    assert sorted(order[1:3]) == ["a", "b"]
    assert order[3:] == [f"frame {i}" for i in range(1, 6)]


def test_a_failed_run_gives_its_turn_back(service):
    predictor = service.predictor(service.models[0])
    assert isinstance(predictor, SharedPredictor)
    with pytest.raises(ValueError, match="RGB image"):
        predictor(np.zeros((3, 3)), None)
    with service.scheduler.frame():  # would wait forever
        assert predictor.for_frames().model is predictor.model


def test_a_video_that_browsers_do_not_play_is_not_shown_but_offered(tmp_path):
    result = SequenceResult(
        checkpoint="m", videos={tmp_path / "sequence.mp4": "MPEG-4 part 2"}, table=tmp_path / "t.csv",
        report=tmp_path / "r.json", frames=2, failed=0, stopped=False, fps=10, seconds=1.0, notes=(),
        codec_notes=(NO_H264,),
    )  # fmt: skip
    panel = result_panel(result, ["a"], np.ones((2, 1), np.float32), [(1, 2, 3)], [], ["<b>", "n" * 500])
    assert "<video" not in panel
    assert "MP4 (MPEG-4 part 2)" in panel
    assert NO_H264 in panel
    assert "&lt;b&gt;" in panel
    assert "n" * 81 not in panel


def test_the_plot_has_gaps_and_sums_to_one():
    shares = np.array([[0.5, 0.5, 0], [np.nan] * 3, [0.25, 0.75, 0]], np.float32)
    plot = shares_plot(["<a>", "b", "c"], shares, [(1, 2, 3)] * 3)
    assert plot.count("<path") == 2  # c never occurs
    assert plot.count("M") - plot.count("Mean") == 2 * 2  # two runs of columns each
    assert "&lt;a&gt;" in plot
    assert "<a>" not in plot
    assert "62.5 %" in plot
    assert shares_plot(["a"], np.full((2, 1), np.nan), [(1, 2, 3)]) == ""
    many = shares_plot(["a"], np.ones((1000, 1), np.float32), [(1, 2, 3)])
    assert "mean over up to 4 frames" in many
    assert len(many) < 20_000


def open_files(part: str) -> list[str]:
    """Files with this in their path that the server, which is this process, has open."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(os.readlink(link))
    return [path for path in found if part in path]


def wait_until(is_true, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)
