"""The size of an event sensor from what a recording holds, and histograms of events in two channels."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from ktb.config import InputConfig
from ktb.inputs import InputError, XOptions, encode_x, event_frame, read_x

RNG = np.random.default_rng(0)
COUNT = 12_000
T = np.sort(RNG.integers(0, 50_000, COUNT))
EVENT = InputConfig(modality="event", encoding="event_frame")


def events(width: int, height: int) -> dict[str, np.ndarray]:
    """Columns of events all over a sensor."""
    x, y = RNG.integers(0, width, COUNT).astype(np.uint16), RNG.integers(0, height, COUNT).astype(np.uint16)
    return {"x": x, "y": y, "t": T.astype(np.int64), "p": RNG.integers(0, 2, COUNT).astype(np.uint8)}


def recording(columns: dict[str, np.ndarray], place: str = "events", **more: np.ndarray) -> bytes:
    """An HDF5 file; `more` with / in place of __."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for key, values in columns.items():
            file[f"{place}/{key}"] = values
        for key, values in more.items():
            file[key.replace("__", "/")] = values
    return stream.getvalue()


INDEX = np.searchsorted(T, np.arange(51) * 1000).astype(np.uint64)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ((640, 480), "640 x 480 (guessed: DVXplorer)"),
        ((346, 260), "346 x 260 (guessed: DAVIS346)"),
        ((300, 200), "640 x 480 (guessed: as in DSEC)"),
        ((1280, 720), "1280 x 720 (guessed: Prophesee Gen4)"),
    ],
)
def test_an_index_by_milliseconds_says_the_unit_but_not_the_size(size, said):
    raw = read_x(recording(events(*size), ms_to_idx=INDEX), "events.h5")
    assert raw.facts["sensor"] == said
    assert raw.facts["time unit"] == "microseconds"
    assert raw.facts["events"] == "12,000"
    assert not raw.notes


def test_a_few_events_beyond_dsec_s_sensor_are_those_of_a_larger_one():
    columns = events(640, 480)
    columns["x"][:100] = 1000  # 0.8 %
    raw = read_x(recording(columns, ms_to_idx=INDEX), "events.h5")
    assert raw.facts["sensor"].startswith("1280 x 720")
    assert raw.facts["events"] == "12,000"


def test_a_size_in_the_file_goes_before_a_guess():
    data = recording(
        events(1200, 700),
        "prophesee/left",
        prophesee__left__ms_map_idx=INDEX,
        prophesee__left__calib__resolution=np.array([1280, 720]),
    )
    raw = read_x(data, "m3ed.h5")
    assert raw.facts["sensor"] == "1280 x 720 (from the file)"
    assert raw.facts["time unit"] == "microseconds"
    frames = np.zeros((2, 260, 346), np.uint8)
    raw = read_x(recording(events(300, 200), "davis/left/events", davis__left__image_raw=frames), "mvsec.h5")
    assert raw.facts["sensor"] == "346 x 260 (from the file)"


def test_one_stray_event_does_not_decide_the_size():
    columns = events(346, 260)
    columns["x"][5] = 1100
    raw = read_x(recording(columns), "events.h5")
    assert raw.facts["sensor"] == "346 x 260 (guessed: DAVIS346)"
    assert "1 of 12,000 events were left out" in raw.notes[0]
    small = events(100, 90)  # far from a sensor's border: it may as well be a larger one
    small["x"][5] = 1100
    assert read_x(recording(small), "events.h5").facts["sensor"].startswith("1280 x 720")


def histogram() -> np.ndarray:
    """Counts (60, 80, 2) of negative and positive events."""
    return RNG.poisson(0.4, (60, 80, 2)).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("first", [False, True])
def test_a_histogram_of_two_channels_is_events(tmp_path, dtype, first):
    counts = histogram()
    np.save(tmp_path / "hist.npy", (np.moveaxis(counts, -1, 0) if first else counts).astype(dtype))
    raw = read_x(tmp_path / "hist.npy")
    assert raw.kind == "counts"
    reading = encode_x(raw, EVENT)
    negative, positive = np.moveaxis(np.log1p(counts.astype(float)) / np.log(16), -1, 0)
    assert np.allclose(reading.image[..., 0], positive, atol=1e-6)
    assert np.allclose(reading.image[..., 1], negative, atol=1e-6)
    assert not reading.image[..., 2].any()
    assert reading.facts["events"] == f"{counts.sum():,}"
    assert any("no times" in note for note in reading.warnings)
    other = encode_x(raw, EVENT, options=XOptions(columns="pn"))
    assert np.allclose(other.image[..., 0], negative, atol=1e-6)
    assert other.facts["channels"] == "positive, negative events (certain)"


def test_counts_are_drawn_as_the_stream_is():
    columns = events(80, 60)
    raw = read_x(recording(columns), "events.h5", XOptions(sensor_hw=(60, 80)))
    counts = np.zeros((60, 80, 2), np.int64)
    np.add.at(counts, (columns["y"], columns["x"], columns["p"]), 1)
    drawn = event_frame(raw.data)[..., :2] / 255
    assert np.abs(encode_x(counts, EVENT).image[..., :2] - drawn).max() < 0.003


def test_histograms_for_other_checkpoints():
    scaled = np.zeros((60, 80, 2), np.float32)
    scaled[10:20, 10:40] = 0.37, 0.81
    reading = encode_x(scaled, InputConfig(modality="aolp", encoding="aolp"))
    assert reading.modality == "event"
    assert np.allclose(reading.image[15, 20], (0.81, 0.37, 0))
    assert "looks like events" in reading.warnings[0]
    voxel = InputConfig(modality="event", encoding="event_voxel")
    with pytest.raises(InputError, match="no times, and the encoding event_voxel needs them"):
        encode_x(scaled, voxel)
    with pytest.raises(InputError, match="events cannot be read as"):
        encode_x(histogram(), EVENT, options=XOptions(modality="depth"))
    with pytest.raises(InputError, match="give np"):
        encode_x(histogram(), EVENT, options=XOptions(columns="txyp"))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("last", [False, True])
def test_a_stack_of_histograms_over_time_is_drawn_as_its_stream(tmp_path, dtype, last):
    columns, bins = events(80, 60), 20
    raw = read_x(recording(columns), "events.h5", XOptions(sensor_hw=(60, 80)))
    stack = np.zeros((bins, 2, 60, 80), np.int64)
    number = np.minimum((T - T[0]) * bins // (T[-1] - T[0]), bins - 1)
    np.add.at(stack, (number, columns["p"], columns["y"], columns["x"]), 1)
    stack = (np.moveaxis(stack, 1, -1) if last else stack).astype(dtype)
    np.savez(tmp_path / "stack.npz", histograms=stack)
    drawn = event_frame(raw.data) / 255
    reading = encode_x(read_x(tmp_path / "stack.npz"), EVENT)
    assert reading.facts["events"] == f"{COUNT:,}"
    assert any("event histograms of 20 time bins. They were summed" in note for note in reading.warnings)
    difference = np.abs(reading.image - drawn)
    assert difference[..., :2].max() < 0.003
    assert difference[..., 2].max() < 0.5 / bins + 0.003  # a bin's events count as at its middle
    assert np.array_equal(encode_x(stack, EVENT).image, reading.image)


def test_stacks_that_cannot_be_summed_and_what_is_no_stack():
    stack = np.full((3, 2, 60, 80), 0.5, np.float32)
    with pytest.raises(InputError, match=r"3 event histograms that are scaled to 0\.\.1.*give the counts"):
        encode_x(stack, EVENT)
    with pytest.raises(InputError, match=r"\(3, 60, 80, 2\) with negative values.*holds counts"):
        encode_x(np.moveaxis(-stack, 1, -1), EVENT)
    with pytest.raises(InputError, match=r"shape \(3, 5, 60, 80\); give .* over time \(T, 2, H, W\)"):
        encode_x(np.zeros((3, 5, 60, 80)), EVENT)
    window = XOptions(window_ms=(0.0, 5.0))
    assert any(
        "time window was not used" in note for note in encode_x(2 * stack, EVENT, None, window).warnings
    )
