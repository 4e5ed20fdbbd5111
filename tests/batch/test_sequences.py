"""Recordings: where frames come from, what is refused, and what a run writes."""

from __future__ import annotations

import dataclasses
import json
import stat
import tracemalloc
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.models import stirred, tiny_swin_config
from helpers.videos import frames_of, pair, read_video, rows_of, write_video, zipped
from typer.testing import CliRunner

from ktb import Predictor, save_model
from ktb.__main__ import app
from ktb.config import InputConfig
from ktb.inputs import RawX, limits
from ktb.modeling.build import build_model
from ktb.utils.text import natural_key
from ktb.video.drawing import Composer
from ktb.video.frames import FolderFrames, Frame, LimitedFrames
from ktb.video.run import SequenceOptions, SequenceRun, open_frames, read_shares, run_sequence
from ktb.video.table import BALANCE, SHARE
from ktb.video.video_source import VideoFrames
from ktb.video.zip_source import ZipFrames

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    inputs = InputConfig(modality="depth", encoding="depth", short_side=64)
    config = dataclasses.replace(tiny_swin_config(), name="tiny-depth", inputs=inputs)
    predictor = Predictor(stirred(build_model(config)))
    logits = predictor(*pair(0)).logits["fused"]
    with torch.no_grad():  # else some versions of torch draw weights that see one class everywhere
        predictor.model.heads["fused"].classifier.bias -= logits.mean(dim=(0, 2, 3))
    return predictor


def write_folders(folder: Path, count: int) -> None:
    for name, data in frames_of(count).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


class Moments:
    """A recording made on the spot."""

    fps, has_x = None, True

    def __init__(self, frames):
        self._frames, self.notes = frames, []
        self.length = None

    def __iter__(self):
        return iter(self._frames())


def test_natural_order():
    names = ["f10", "f2", "f1", "a/f3", "f02b"]
    assert sorted(names, key=natural_key) == ["a/f3", "f1", "f2", "f02b", "f10"]
    assert sorted(["f1", "f"], key=natural_key) == ["f", "f1"]


@pytest.mark.parametrize("top", ["", "recording/", "a/b/"])
@pytest.mark.parametrize("x", ["x", "depth"])
def test_a_zip_holds_the_frames_of_both_folders(tmp_path, top, x):
    members = frames_of(11, top, x) | {f"{top}.DS_Store": b"x", f"__MACOSX/{top}rgb/._1.png": b"x"}
    found = ZipFrames(zipped(tmp_path / "a.zip", members))
    assert found.length == 11
    assert found.has_x
    assert found.notes == []
    frames = list(found)
    assert [frame.name for frame in frames] == [str(i) for i in range(11)]
    for i, frame in enumerate(frames):
        assert frame.error is None
        assert np.array_equal(frame.rgb, pair(i)[0])
        assert frame.x.data.dtype == np.uint16
        assert np.array_equal(frame.x.data, pair(i)[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_a_zip_of_rgb_images_alone_and_names_that_one_side_lacks(tmp_path):
    photos = {name: data for name, data in frames_of(3).items() if name.startswith("rgb")}
    alone = ZipFrames(zipped(tmp_path / "alone.zip", photos))
    assert not alone.has_x
    assert [frame.x for frame in alone] == [None] * 3
    flat = ZipFrames(zipped(tmp_path / "flat.zip", {Path(n).name: data for n, data in photos.items()}))
    assert flat.length == 3
    some = frames_of(3)
    del some["x/1.png"]
    lacking = ZipFrames(zipped(tmp_path / "some.zip", some))
    assert [frame.name for frame in lacking] == ["0", "2"]
    assert lacking.notes == ["'x' has no file for 1 names, which are left out: 1."]
    assert not ZipFrames(tmp_path / "some.zip", with_x=False).has_x


def _linked() -> dict[zipfile.ZipInfo, bytes]:
    link = zipfile.ZipInfo("rgb/9.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return {link: b"/etc/passwd"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"../rgb/9.png": b"x"}, "leads out of the archive"),
        ({"rgb/../../9.png": b"x"}, "leads out of the archive"),
        ({"/etc/9.png": b"x"}, "leads out of the archive"),
        ({"C:/9.png": b"x"}, "leads out of the archive"),
        ({"rgb\\..\\9.png": b"x"}, "leads out of the archive"),
        (_linked(), "is a symbolic link"),
        ({"depth/0.png": b"x", "thermal/0.png": b"x"}, None),
    ],
)
def test_zip_members_that_are_refused(tmp_path, more, message):
    path = zipped(tmp_path / "bad.zip", {**frames_of(1), **more})
    if message is None:  # a folder called x is X, whatever else is there
        assert next(iter(ZipFrames(path))).error is None
        return
    with pytest.raises(ValueError, match=message):
        ZipFrames(path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.zip"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a/0.png": b"x", "b/0.png": b"x"}, "which folder has the RGB images.*'a', 'b'"),
        ({"rgb/0.png": b"x", "b/0.png": b"x", "c/0.png": b"x"}, "which folder is X"),
        ({"rgb/0.png": b"x", "x/1.png": b"x"}, "no name is found in both folders"),
        ({"rgb/0.png": b"x", "rgb/0.jpg": b"x"}, "are both '0'"),
        ({"notes.md": b"x"}, "found none"),
    ],
)
def test_zip_layouts_that_are_refused(tmp_path, members, message):
    with pytest.raises(ValueError, match=message):
        ZipFrames(zipped(tmp_path / "bad.zip", members))


def test_what_is_no_zip_is_refused(tmp_path):
    good = zipped(tmp_path / "good.zip", frames_of(2)).read_bytes()
    for name, data in {"text": b"no archive", "empty": b"", "cut": good[: len(good) // 2]}.items():
        (tmp_path / f"{name}.zip").write_bytes(data)
        with pytest.raises(ValueError, match="no zip archive, or its end is missing"):
            ZipFrames(tmp_path / f"{name}.zip")


def test_too_many_members_and_too_many_bytes_are_refused(tmp_path, monkeypatch):
    path = zipped(tmp_path / "many.zip", frames_of(3))
    monkeypatch.setattr("ktb.video.zip_source.MAX_SEQUENCE_MEMBERS", 5)
    with pytest.raises(ValueError, match="6 members; at most 5"):
        ZipFrames(path)
    monkeypatch.setattr("ktb.video.zip_source.MAX_SEQUENCE_DIRECTORY", 100)
    monkeypatch.setattr("ktb.inputs.readers.zip_guard._END_RECORDS", 50)
    with pytest.raises(ValueError, match="far more than 5 members"):
        ZipFrames(path)
    monkeypatch.undo()
    monkeypatch.setattr("ktb.video.zip_source.MAX_SEQUENCE_BYTES", 1000)
    with pytest.raises(ValueError, match="MiB unpacked; at most"):
        ZipFrames(path)


def test_a_bomb_and_damage_cost_their_frame_only(tmp_path):
    bomb = bytes(limits.FREE_EXPANSION + 2**20)
    members = frames_of(3) | {"rgb/1.png": bomb}
    path = zipped(tmp_path / "bomb.zip", members, zipfile.ZIP_DEFLATED)
    tracemalloc.start()
    try:
        errors = [frame.error for frame in ZipFrames(path)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert errors[0] is errors[2] is None
    assert errors[1]
    assert peak < 3 * len(bomb)
    stored = zipped(tmp_path / "stored.zip", frames_of(2)).read_bytes()
    at = stored.index(b"IDAT") + 40
    (tmp_path / "stored.zip").write_bytes(stored[:at] + bytes([stored[at] ^ 255]) + stored[at + 1 :])
    errors = [frame.error for frame in ZipFrames(tmp_path / "stored.zip")]
    assert "damaged" in errors[0]
    assert errors[1] is None


def test_a_member_larger_than_its_entry_says_is_cut(tmp_path):
    path = zipped(tmp_path / "liar.zip", frames_of(1), zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    directory = data.index(b"PK\x01\x02")
    data[directory + 24 : directory + 28] = (50).to_bytes(4, "little")  # of the unpacked size
    path.write_bytes(data)
    assert "damaged" in next(iter(ZipFrames(path))).error


def test_folders_give_what_the_zip_gives(tmp_path):
    write_folders(tmp_path, 4)
    found = FolderFrames(str(tmp_path / "rgb"), [str(tmp_path / "x")])
    assert found.length == 4
    packed = ZipFrames(zipped(tmp_path / "a.zip", frames_of(4)))
    for one, other in zip(found, packed, strict=True):
        assert one.name == other.name
        assert np.array_equal(one.rgb, other.rgb)
        assert np.array_equal(one.x.data, other.x.data)


def test_two_videos_give_their_common_part(tmp_path):
    rgb = write_video(tmp_path / "rgb.webm", [pair(i)[0] for i in range(6)])
    grey = [np.repeat((pair(i)[1] // 20).astype(np.uint8)[..., None], 3, axis=2) for i in range(4)]
    x = write_video(tmp_path / "x.webm", grey)
    found = VideoFrames(rgb, x)
    frames = list(found)
    assert [frame.name for frame in frames] == [f"frame {i}" for i in range(4)]
    assert found.fps == pytest.approx(12)
    assert frames[0].rgb.shape == (64, 96, 3)
    assert frames[3].x.data.shape == (64, 96)
    assert frames[3].x.data.dtype == np.uint8
    assert np.abs(frames[3].x.data.astype(float) - grey[3][..., 1]).mean() < 6
    assert np.abs(frames[3].rgb.astype(float) - pair(3)[0]).mean() < 20
    assert found.notes == ["x.webm ends after 4 frames, rgb.webm goes on: the common part was taken."]
    alone = VideoFrames(rgb)
    assert len(list(alone)) == 6
    assert alone.notes == []
    assert not alone.has_x


def test_videos_of_other_rates_and_of_colour(tmp_path):
    rgb = write_video(tmp_path / "rgb.webm", [pair(i)[0] for i in range(3)], 10)
    color = write_video(tmp_path / "x.webm", [np.full((64, 96, 3), (200, 30, 30), np.uint8)] * 3, 30)
    found = VideoFrames(rgb, color)
    assert "10 and 30 frames a second" in found.notes[0]
    assert {frame.x.data.shape for frame in found} == {(64, 96, 3)}


@pytest.mark.parametrize(
    "data",
    [b"#EXTM3U\nhttp://127.0.0.1/x\n", b"ffconcat version 1.0\nfile /etc/passwd\n", b"", b"\x1aE\xdf\xa3"],
)
def test_what_is_no_video_is_refused(tmp_path, data):
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(ValueError, match=r"no video of a known kind|cannot be decoded"):
        VideoFrames(tmp_path / "a.mp4")
    with pytest.raises(ValueError, match="cannot be read"):
        VideoFrames(tmp_path / "absent.mp4")


def test_places_are_told_apart(tmp_path):
    write_folders(tmp_path, 1)
    video = write_video(tmp_path / "a.webm", [pair(0)[0]])
    assert isinstance(open_frames(tmp_path / "rgb", tmp_path / "x"), FolderFrames)
    assert isinstance(open_frames(video), VideoFrames)
    with pytest.raises(ValueError, match="two videos, or two folders"):
        open_frames(video, tmp_path / "x")
    with pytest.raises(ValueError, match="holds both"):
        open_frames(zipped(tmp_path / "a.zip", frames_of(1)), tmp_path / "x")


def test_the_table_equals_single_predictions(tmp_path, predictor):
    options = SequenceOptions(fps=7.0)
    path = zipped(tmp_path / "a.zip", frames_of(3))
    result = run_sequence(predictor, open_frames(path), tmp_path / "out", options)
    assert (result.frames, result.failed, result.stopped, result.checkpoint) == (3, 0, False, "tiny-depth")
    rows = rows_of(result.table)
    singles = [predictor(*pair(i)) for i in range(3)]
    for i, (row, single) in enumerate(zip(rows, singles, strict=True)):
        shares = {found.name: found.share for found in single.class_table()}
        for name in single.classes:
            assert float(row[SHARE + name]) == pytest.approx(shares.get(name, 0.0), abs=1e-8)
        confidence = single.confidences["fused"].mean(dtype=np.float64)
        assert float(row["mean_confidence"]) == pytest.approx(confidence, rel=1e-6)
        for level, trace in enumerate(single.trace):
            assert float(row[f"{BALANCE}{level}"]) == pytest.approx(float(trace.balance().mean()), abs=2e-6)
        assert row["status"] == "done"
        assert row["name"] == str(i)
        assert float(row["seconds"]) >= 0
    assert rows[0]["changed_share"] == ""
    changed = (singles[1].labels["fused"] != singles[2].labels["fused"]).mean()
    assert 0 < changed < 1
    assert float(rows[2]["changed_share"]) == pytest.approx(changed, rel=1e-6)
    names, shares = read_shares(result.table)
    assert names == list(singles[0].classes)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    report = json.loads(result.report.read_text())
    assert (report["checkpoint"], report["status"], report["frames"]) == ("tiny-depth", "complete", 3)
    pictures, fps = read_video(result.video)
    assert len(pictures) == 3
    assert fps == pytest.approx(7, rel=0.02)


def test_the_video_shows_the_chosen_views(tmp_path, predictor):
    photo, depth = pair(0, 200, 400)
    options = SequenceOptions(layout=("photo", "mask"), opacity=0.0)
    run = SequenceRun(predictor, Moments(lambda: [Frame("a", photo, RawX(depth))]), tmp_path, options)
    (record,) = run
    assert record.picture.shape == (240, 800, 3)
    assert np.array_equal(record.picture[:200, :400], photo)
    assert np.array_equal(record.picture[:200, 400:], predictor(photo, depth).colors("fused"))
    (picture,), fps = read_video(run.result.video)
    assert fps == pytest.approx(10, rel=0.02)
    assert np.abs(picture[:200].astype(float) - record.picture[:200]).mean() < 15


def test_frames_of_another_size_are_fitted_into_the_first(predictor):
    composer = Composer(("overlay",), "tiny-depth", 0.5)
    first = composer.draw("0", pair(0, 200, 400)[0], None, error="no")
    other = composer.draw("1", pair(0, 300, 200)[0], None, error="no")
    assert first.shape == other.shape == (240, 400, 3)
    assert (other[100, 5] == (24, 24, 28)).all()
    assert other[100, 200].max() > 60
    assert Composer(("overlay",), "m", 0.5).draw("0", None, None, error="no").shape[1] % 2 == 0


def test_a_failed_frame_is_recorded_and_shown(tmp_path, predictor):
    members = frames_of(4) | {"x/1.png": b"no picture", "rgb/2.png": b"no picture"}
    records = []
    frames = open_frames(zipped(tmp_path / "a.zip", members))
    result = run_sequence(predictor, frames, tmp_path / "out", on_frame=records.append)
    rows = rows_of(result.table)
    assert [row["status"] for row in rows] == ["done", "failed", "failed", "done"]
    assert "1.png" in rows[1]["error"]
    assert {value for column, value in rows[1].items() if column.startswith(SHARE)} == {""}
    assert rows[3]["changed_share"] == ""  # there is nothing to compare with
    assert (result.frames, result.failed) == (4, 2)
    height = records[1].picture.shape[0] - 40
    width = records[1].picture.shape[1] // 3
    shown = cv2.resize(pair(1)[0], (width, height), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(records[1].picture[:height, :width], shown)
    assert records[1].picture[:height, width:].max() == 28  # no mask of another frame
    assert len(read_video(result.video)[0]) == 4
    assert np.isnan(read_shares(result.table)[1][1:3]).all()


def test_stopping_leaves_a_playable_video_and_a_complete_table(tmp_path, predictor):
    done = []
    frames = open_frames(zipped(tmp_path / "a.zip", frames_of(5)))
    result = run_sequence(
        predictor, frames, tmp_path / "out", on_frame=done.append, should_stop=lambda: len(done) == 2
    )
    assert result.stopped
    assert result.frames == 2
    assert len(rows_of(result.table)) == len(read_video(result.video)[0]) == 2
    assert json.loads(result.report.read_text())["status"] == "stopped"


def test_leaving_the_loop_finishes_the_files_too(tmp_path, predictor):
    def moments():
        yield Frame("a", pair(0)[0], RawX(pair(0)[1]))
        raise KeyboardInterrupt

    run = SequenceRun(predictor, Moments(moments), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        list(run)
    assert run.result.stopped
    assert len(rows_of(run.result.table)) == len(read_video(run.result.video)[0]) == 1


def test_limits_cut_with_a_note(predictor):
    def moments():
        return [Frame(str(i), pair(i)[0]) for i in range(5)]

    by_count = LimitedFrames(Moments(moments), 3, 10**9)
    assert len(list(by_count)) == 3
    assert "Only the first 3 frames" in by_count.notes[0]
    by_pixels = LimitedFrames(Moments(moments), 10, 2 * 64 * 96)
    assert len(list(by_pixels)) == 2
    enough = LimitedFrames(Moments(moments), 5, 10**9)
    assert len(list(enough)) == 5
    assert enough.notes == []


def test_depth_of_changing_units_is_told(tmp_path, predictor):
    def moments():
        photo, depth = pair(0)
        yield Frame("millimetres", photo, RawX(depth))
        yield Frame("metres", photo, RawX((depth / 1000).astype(np.float32)))

    result = run_sequence(predictor, Moments(moments), tmp_path)
    assert any("different units" in note for note in result.notes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fps": 0.0}, "fps = 0.0"),
        ({"layout": ("overlay", "sky")}, "'sky' is no view"),
        ({"layout": ()}, "at least one"),
        ({"opacity": 2.0}, "opacity"),
        ({"container": "gif"}, "container 'gif'"),
    ],
)
def test_options_that_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        SequenceOptions(**values)


def test_memory_does_not_grow_with_length(tmp_path, predictor):
    def peak(count: int) -> int:
        def moments():
            for i in range(count):
                photo, depth = pair(i)
                yield Frame(str(i), photo, RawX(depth))

        frames = Moments(moments)
        tracemalloc.start()
        try:
            result = run_sequence(predictor, frames, tmp_path / str(count))
            assert result.frames == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(3)  # fonts and colour tables are loaded once
    few, many = peak(10), peak(40)
    assert many < few + 65_000, f"{few:,} bytes at 10 frames, {many:,} at 40"


def test_the_command_runs_folders_videos_and_zips(tmp_path, predictor, monkeypatch):
    model = tmp_path / "tiny.safetensors"
    save_model(model, predictor.model, {})
    write_folders(tmp_path, 2)

    def run(*arguments):
        return CliRunner().invoke(app, ["sequence", "--model", str(model), *map(str, arguments)])

    done = run("--rgb", tmp_path / "rgb", "--x", tmp_path / "x", "--out", tmp_path / "a", "--unit", "mm")
    assert done.exit_code == 0, done.output
    assert "2 frames, 0 failed" in done.output
    report = json.loads((tmp_path / "a" / "sequence.json").read_text())
    assert report["options"]["x"]["unit"] == "mm"
    assert report["has_x"]
    archive = zipped(tmp_path / "a.zip", frames_of(2))
    monkeypatch.setattr("ktb.video.encoding._opencv_has_h264", lambda: False)
    monkeypatch.setattr("ktb.video.encoding._ffmpeg_with_h264", lambda: ())
    done = run("--rgb", archive, "--out", tmp_path / "b", "--layout", "mask", "--container", "both")
    assert done.exit_code == 0, done.output
    assert "sequence.mp4 (MPEG-4 part 2)" in done.output
    assert "install ffmpeg" in done.output
    for name in ("sequence.webm", "sequence.mp4"):
        assert len(read_video(tmp_path / "b" / name)[0]) == 2
    report = json.loads((tmp_path / "b" / "sequence.json").read_text())
    assert report["videos"] == {"sequence.webm": "VP8", "sequence.mp4": "MPEG-4 part 2"}
    for name in ("a", "b"):
        rows_of(tmp_path / name / "sequence.csv")
    first, second = (read_shares(tmp_path / name / "sequence.csv")[1] for name in ("a", "b"))
    assert np.array_equal(first, second)
    video = write_video(tmp_path / "a.webm", [pair(i)[0] for i in range(2)], 25)
    done = run("--rgb", video, "--no-x", "--out", tmp_path / "c")
    assert done.exit_code == 0, done.output
    assert "from the RGB image alone" in done.output
    assert json.loads((tmp_path / "c" / "sequence.json").read_text())["options"]["fps"] == pytest.approx(25)
    for arguments, message in (
        (("--rgb", video, "--out", tmp_path / "d"), "give one of --x, --no-x"),
        (("--rgb", archive, "--x", video, "--no-x", "--out", tmp_path / "d"), "found --x and --no-x"),
        (("--rgb", video, "--no-x", "--out", archive), "is a file"),
        (("--rgb", video, "--no-x", "--out", tmp_path / "d", "--layout", "sky"), "is no view"),
    ):
        refused = run(*arguments)
        assert refused.exit_code == 2
        assert message in refused.output
    bad = zipped(tmp_path / "bad.zip", frames_of(2) | {"x/1.png": b"none"})
    partly = run("--rgb", bad, "--out", tmp_path / "e")
    assert partly.exit_code == 1
    assert "failed: 1:" in partly.output
