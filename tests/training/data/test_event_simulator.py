"""Simulated events follow the contrast of the RGB image; the command is repeatable and resumes."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from ktb.inputs import EventStream, event_frame
from training import simulate_events as command
from training.events.simulator import (
    EventOptions,
    camera_path,
    log_intensity,
    simulate_events,
    simulate_frame,
)

QUIET = EventOptions(noise_hz=0.0, hot_share=0.0)
AT_REST = replace(QUIET, shift_px=(0.0, 0.0), rotation_degrees=0.0, zoom=0.0)


@pytest.fixture(scope="module")
def rgb_image() -> np.ndarray:
    """(96, 128, 3) uint8: a bright rectangle and a disc on a dark gradient."""
    picture = np.repeat(np.linspace(30, 80, 128).astype(np.uint8)[None, :, None], 96, axis=0).repeat(
        3, axis=2
    )
    picture[30:70, 20:60] = 220
    cv2.circle(picture, (95, 45), 18, (200, 120, 60), -1)
    return picture


def simulate(rgb: np.ndarray, seed: int = 0, options: EventOptions = QUIET) -> EventStream:
    return simulate_events(rgb, np.random.default_rng(seed), options)


def moving_right(monkeypatch, pixels: float) -> None:
    """Let the scene move right in the view by `pixels`, at constant speed; it ends at the RGB image."""

    def path(size_hw, duration_us, rng, options):
        share = np.linspace(0, 1, 9)
        motions = np.tile(np.eye(2, 3), (9, 1, 1))
        motions[:, 0, 2] = pixels * (1 - share)  # the view's pixel x shows the RGB image's x + motion
        return share * duration_us, motions

    monkeypatch.setattr("training.events.simulator.camera_path", path)


def step_edge(left: int, right: int) -> np.ndarray:
    picture = np.full((64, 96, 3), left, np.uint8)
    picture[:, 48:] = right
    return picture


@pytest.mark.parametrize(("left", "right", "positive"), [(200, 40, True), (40, 200, False)])
def test_polarity_tells_brighter_from_darker(monkeypatch, left, right, positive):
    moving_right(monkeypatch, 4.0)
    stream = simulate(step_edge(left, right))
    assert len(stream) > 64  # the left side moves over the right one
    assert (stream.polarity == positive).all()
    assert stream.x.min() >= 48 - 4 - 3
    assert stream.x.max() <= 48 + 3


def test_number_and_times_of_crossings_are_those_of_the_contrast(monkeypatch):
    options = replace(QUIET, blur_px=0.0, threshold_spread=0.0, threshold=0.3, duration_us=(8000, 8000))
    moving_right(monkeypatch, 1.0)
    rgb = step_edge(200, 40)
    stream = simulate(rgb, options=options)
    signal = log_intensity(rgb, options)
    contrast = float(signal[0, 0] - signal[0, -1])
    # one pixel of motion: the column left of the edge was dark and ends bright, on a straight line in time
    times = stream.t[(stream.x == 47) & (stream.y == 10)]
    expected = np.arange(1, int(contrast / 0.3) + 1) * 0.3 / contrast * 8000
    np.testing.assert_allclose(times, expected, atol=60)  # warping rounds to 1/32 pixel
    assert set(stream.x) == {47}


def test_no_motion_and_no_noise_give_no_events(rgb_image):
    for seed in range(3):
        assert len(simulate(rgb_image, seed, AT_REST)) == 0
    frame, _ = simulate_frame(rgb_image, np.random.default_rng(0), AT_REST)
    assert not frame.any()


def test_a_grey_wall_gives_no_events_however_it_moves():
    assert len(simulate(np.full((64, 64, 3), 128, np.uint8))) == 0


def test_lower_thresholds_fire_more_often(rgb_image):
    counts = [len(simulate(rgb_image, 3, replace(QUIET, threshold=value))) for value in (0.4, 0.2, 0.1)]
    assert 0 < counts[0] < counts[1] < counts[2]


def test_thresholds_differ_between_pixels(rgb_image, monkeypatch):
    moving_right(monkeypatch, 2.0)
    rows = {}
    for spread in (0.0, 0.05):
        stream = simulate(step_edge(200, 40), options=replace(QUIET, threshold_spread=spread))
        rows[spread] = np.bincount(stream.y, minlength=64)
    assert rows[0.0].std() == 0
    assert rows[0.05].std() > 0


def test_refractory_period_silences_a_pixel(rgb_image):
    free = simulate(rgb_image, 1)
    stream = simulate(rgb_image, 1, replace(QUIET, refractory_us=4000.0))
    assert 0 < len(stream) < len(free)
    pixel = stream.y.astype(np.int64) * 128 + stream.x
    order = np.lexsort((stream.t, pixel))
    same = np.diff(pixel[order]) == 0
    assert same.any()
    assert np.diff(stream.t[order])[same].min() >= 3999  # times are cut to whole microseconds


def test_noise_has_the_stated_rate():
    rgb = np.full((200, 300, 3), 90, np.uint8)
    options = replace(AT_REST, noise_hz=20.0, duration_us=(50_000, 50_000))
    stream = simulate(rgb, options=options)
    assert len(stream) == pytest.approx(20 * 0.05 * 60_000, rel=0.02)
    assert stream.polarity.mean() == pytest.approx(0.5, abs=0.02)


def test_hot_pixels_are_few_and_fire_often():
    options = replace(AT_REST, hot_share=1e-3, hot_hz=1000.0, duration_us=(50_000, 50_000))
    stream = simulate(np.full((200, 300, 3), 90, np.uint8), options=options)
    pixels, counts = np.unique(stream.y.astype(np.int64) * 300 + stream.x, return_counts=True)
    assert len(pixels) == pytest.approx(60, abs=30)
    assert counts.mean() == pytest.approx(50, rel=0.1)


@pytest.mark.parametrize("durations", [(20_000, 50_000), (90_000, 90_000)])
def test_times_are_sorted_and_inside_the_window(rgb_image, durations):
    options = EventOptions(duration_us=durations, noise_hz=50.0)
    stream = simulate(rgb_image, 5, options)
    assert stream.t.dtype == np.int64
    assert (np.diff(stream.t) >= 0).all()
    assert stream.t[0] >= 0
    assert stream.t[-1] <= durations[1]
    assert stream.size_hw == (96, 128)


def test_equal_generators_give_equal_streams(rgb_image):
    first, again, other = (simulate(rgb_image, seed, EventOptions()) for seed in (7, 7, 8))
    for name in ("x", "y", "t", "polarity"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert len(first) != len(other) or (first.t != other.t).any()


def test_path_is_smooth_small_and_ends_at_the_photograph():
    options = EventOptions()
    corners = np.array([[x, y, 1] for x in (0, 639) for y in (0, 479)])
    for seed in range(20):
        times, motions = camera_path((480, 640), 30_000, np.random.default_rng(seed), options)
        assert times[0] == 0
        assert times[-1] == 30_000
        assert (np.diff(times) > 0).all()
        np.testing.assert_array_equal(motions[-1], np.eye(2, 3))
        tracks = np.einsum("kij,cj->kci", motions, corners)
        moved = np.linalg.norm(np.diff(tracks, axis=0), axis=-1)
        assert moved.max() <= options.step_px * 1.01
        assert 3 < np.linalg.norm(np.diff(tracks.mean(axis=1), axis=0), axis=-1).sum() <= 8 * 1.01


def test_the_latest_events_lie_on_the_edges_of_the_photograph(rgb_image):
    grey = log_intensity(rgb_image, QUIET)
    slope = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    for seed in range(4):
        frame, stream = simulate_frame(rgb_image, np.random.default_rng(seed), QUIET)
        late, early = slope[frame[..., 2] > 230], slope[(frame[..., 2] > 0) & (frame[..., 2] < 128)]
        assert (late > 0.5).mean() > 0.95
        assert (early > 0.5).mean() < 0.5
        assert stream.polarity.any()
        assert not stream.polarity.all()


def test_a_blank_margin_leaves_no_events(rgb_image):
    framed = cv2.copyMakeBorder(
        np.full((80, 112, 3), 60, np.uint8), 8, 8, 8, 8, cv2.BORDER_CONSTANT, None, [255] * 3
    )
    assert len(simulate(framed)) > 0
    assert len(simulate(framed, options=replace(QUIET, margin_px=8))) == 0
    with pytest.raises(ValueError, match=r"margin_px 30: at most a quarter of the RGB image's 96 pixels"):
        simulate(rgb_image, options=replace(QUIET, margin_px=30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"threshold": 0.0}, r"threshold 0.0: must be above 0"),
        ({"step_px": 0.0}, r"step_px 0.0: must be above 0"),
        ({"gamma": 0.0}, r"gamma 0.0: must be above 0"),
        ({"dark_level": 0.0}, r"dark_level 0.0: must be above 0"),
        ({"noise_hz": -1.0}, r"noise_hz -1.0: give numbers of at least 0"),
        ({"shift_px": (8.0, 3.0)}, r"shift_px \(8.0, 3.0\): .*the lower one first"),
        ({"duration_us": (0, 10)}, r"duration_us \(0, 10\): must be at least 1"),
        ({"zoom": float("nan")}, r"zoom nan: give numbers"),
    ],
)
def test_bad_options_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        EventOptions(**change)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (0, 8, 3)])
def test_bad_photographs_are_refused(shape):
    with pytest.raises(ValueError, match=r"RGB image of shape .* uint8: give \(H, W, 3\) uint8 RGB"):
        simulate(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match=r"float32: give \(H, W, 3\) uint8"):
        simulate(np.zeros((8, 8, 3), np.float32))


@pytest.fixture
def folder(tmp_path, rgb_image):
    """Two RGB images, photos/a.png and photos/b.png."""
    (tmp_path / "photos").mkdir()
    for name, rgb in (("a", rgb_image), ("b", rgb_image[:, ::-1])):
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), rgb[..., ::-1])
    return tmp_path


def call(folder, *more: str, out: str = "out") -> None:
    command.main(["--rgb", str(folder / "photos"), "--out", str(folder / out), *more])


def contents(path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(path.iterdir())}


def refusal(capsys, folder, *more: str, **kind) -> str:
    with pytest.raises(SystemExit):
        call(folder, *more, **kind)
    return " ".join(capsys.readouterr().err.split())


def test_command_writes_frames_streams_and_record(folder, rgb_image):
    call(folder, "--streams", "--seed", "3")
    out = folder / "out"
    assert sorted(contents(out)) == ["a.npz", "a.png", "b.npz", "b.png", "simulation.json"]
    record = json.loads((out / "simulation.json").read_text())
    assert record["seed"] == 3
    assert record["channels"] == ["positive events", "negative events", "recency"]
    assert EventOptions(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in record["options"].items()}
    ) == (EventOptions())
    frame = cv2.cvtColor(cv2.imread(str(out / "a.png"), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGR2RGB)
    rng = np.random.default_rng([3, *b"a"])
    expected, stream = simulate_frame(rgb_image, rng, EventOptions())
    np.testing.assert_array_equal(frame, expected)
    with np.load(out / "a.npz") as events:
        assert sorted(events.files) == ["p", "t", "x", "y"]
        stored = EventStream(events["x"], events["y"], events["t"], events["p"], (96, 128))
    np.testing.assert_array_equal(event_frame(stored), event_frame(stream))


def test_command_gives_the_same_with_any_workers_and_order(folder):
    call(folder, "--workers", "1", "--streams", out="one")
    call(folder, "--workers", "2", "--streams", out="two")
    assert contents(folder / "one") == contents(folder / "two")
    command.main(["--rgb", str(folder / "photos" / "b*"), "--out", str(folder / "alone"), "--workers", "1"])
    assert contents(folder / "alone")["b.png"] == contents(folder / "one")["b.png"]
    assert contents(folder / "one")["a.png"] != contents(folder / "one")["b.png"]


def test_command_keeps_complete_frames_and_mends_others(folder, monkeypatch):
    call(folder)
    out, made = folder / "out", []
    first = contents(out)
    simulate_file = command.simulate_file

    def counted(rgb_image, *rest):
        made.append(rgb_image.stem)
        return simulate_file(rgb_image, *rest)

    monkeypatch.setattr(command, "simulate_file", counted)
    call(folder)
    assert made == []
    (out / "b.png").write_bytes(first["b.png"][:-20])
    call(folder)
    assert made == ["b"]
    assert contents(out) == first
    call(folder, "--streams", "--workers", "1")
    assert made[1:] == ["a", "b"]  # their streams were missing
    call(folder, "--overwrite", "--workers", "1")
    assert made[3:] == ["a", "b"]


def test_command_leaves_no_half_written_file(folder, monkeypatch):
    """A run that dies while writing leaves nothing that a later run takes for a frame."""
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        command.write_events(folder, "a", np.zeros((32, 32, 3), np.uint8), None)
    assert not (folder / "a.png").exists()
    assert not command.is_complete(folder, "a", False)


def test_command_does_not_mix_simulations(folder, capsys):
    call(folder)
    assert "another seed or other options (see simulation.json): add --overwrite" in refusal(
        capsys, folder, "--seed", "1"
    )
    assert "another seed or other options" in refusal(capsys, folder, "--margin", "4")
    before = contents(folder / "out")
    call(folder, "--seed", "1", "--overwrite")
    assert json.loads((folder / "out" / "simulation.json").read_text())["seed"] == 1
    assert contents(folder / "out")["a.png"] != before["a.png"]
    (folder / "photos" / "a.png").unlink()
    assert "also contains 1 frames of RGB images outside --rgb" in refusal(capsys, folder, "--overwrite")
    (folder / "out" / "simulation.json").write_text("{")
    assert "simulation.json is damaged" in refusal(capsys, folder)


def test_an_interrupted_overwrite_leaves_no_old_frame(folder, monkeypatch, capsys):
    call(folder)
    monkeypatch.setattr(command, "simulate_file", lambda *given: (_ for _ in ()).throw(ValueError("stopped")))
    assert "stopped" in refusal(capsys, folder, "--seed", "1", "--overwrite")
    assert sorted(contents(folder / "out")) == ["simulation.json"]


def test_command_names_what_is_wrong(folder, capsys):
    message = refusal(capsys, folder, "--workers", "0")
    assert "--workers 0: give a seed of at least 0 and one worker or more" in message
    assert "--seed -1" in refusal(capsys, folder, "--seed", "-1")
    assert "margin_px -2: give numbers of at least 0" in refusal(capsys, folder, "--margin", "-2")
    (folder / "depth").mkdir()
    (folder / "depth" / "a.png").write_bytes(b"another command's")
    message = refusal(capsys, folder, "--overwrite", out="depth")
    assert "contains 1 PNG files but no simulation.json, so this command did not write them" in message
    assert contents(folder / "depth") == {"a.png": b"another command's"}
    (folder / "file").write_text("")
    assert "file is a file: give a folder" in refusal(capsys, folder, out="file")

    cv2.imwrite(str(folder / "photos" / "a.jpg"), np.zeros((64, 64, 3), np.uint8))
    assert "would both be written as a.png" in refusal(capsys, folder)
    (folder / "photos" / "a.jpg").unlink()
    (folder / "photos" / "c.jpg").write_bytes(b"no picture")
    assert "c.jpg: this is a text" in refusal(capsys, folder)

    with pytest.raises(SystemExit):
        command.main(["--rgb", str(folder / "nothing*"), "--out", str(folder / "out")])
    assert "no RGB image there; give an existing folder" in " ".join(capsys.readouterr().err.split())
    (folder / "empty").mkdir()
    with pytest.raises(SystemExit):
        command.main(["--rgb", str(folder / "empty"), "--out", str(folder / "out")])
    assert "give files ending in .jpg" in " ".join(capsys.readouterr().err.split())


def test_jpg_photographs_beside_their_frames_are_refused(tmp_path, rgb_image, capsys):
    cv2.imwrite(str(tmp_path / "a.jpg"), rgb_image)
    with pytest.raises(SystemExit):
        command.main(["--rgb", str(tmp_path), "--out", str(tmp_path)])
    said = " ".join(capsys.readouterr().err.split())
    assert "contains the RGB images themselves: give another folder" in said
