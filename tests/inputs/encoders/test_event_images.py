"""Event images: exact values of all three drawings, the window, and what the user is told."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ktb.config import InputConfig
from ktb.inputs import EventStream, InputError, RawX, XOptions, encode_x, event_frame, read_x
from ktb.inputs.events.images import encode, event_surface, event_voxel


def stream(x, y, t, polarity, size_hw=(32, 40), **rest) -> EventStream:
    return EventStream(*(np.asarray(values) for values in (x, y, t, polarity)), size_hw, **rest)


def inputs(encoding: str = "event_frame", **rest) -> InputConfig:
    return InputConfig(modality="event", encoding=encoding, **rest)


def raw(events: EventStream) -> RawX:
    return RawX(events, "event stream", "e.npz", "events")


def level(sum_of_polarities: float) -> float:
    return 0.5 + 0.5 * np.sign(sum_of_polarities) * np.log1p(abs(sum_of_polarities)) / np.log(16)


RNG = np.random.default_rng(0)
MANY = stream(
    RNG.integers(40, size=5000),
    RNG.integers(32, size=5000),
    np.sort(RNG.integers(10_000, size=5000)),
    RNG.integers(2, size=5000),
)


def test_voxels_share_each_event_between_two_moments():
    made = stream([1, 1, 2, 3, 3], [0] * 5, [0, 25, 50, 100, 100], [1, 1, 0, 0, 0])
    voxels = event_voxel(made, (0, 100))
    assert voxels.shape == (32, 40, 3)
    assert voxels.dtype == np.float32
    np.testing.assert_allclose(voxels[0, 1], [level(1.5), level(0.5), 0.5], atol=1e-6)
    np.testing.assert_allclose(voxels[0, 2], [0.5, level(-1), 0.5], atol=1e-6)
    np.testing.assert_allclose(voxels[0, 3], [0.5, 0.5, level(-2)], atol=1e-6)
    assert (voxels[1:] == 0.5).all()


def test_voxels_saturate_and_opposite_events_cancel():
    full = stream([0] * 40 + [1] * 2, [0] * 42, [0] * 42, [1] * 40 + [1, 0])
    voxels = event_voxel(full, (0, 10))
    assert voxels[0, 0].tolist() == [1, 0.5, 0.5]
    assert (voxels[0, 1] == 0.5).all()


def test_voxels_agree_with_a_loop():
    grid = np.zeros((3, 32, 40))
    start, end = 0, 10_000
    for x, y, t, positive in zip(MANY.x, MANY.y, MANY.t, MANY.polarity):
        place = 2 * (t - start) / (end - start)
        for k in range(3):
            grid[k, y, x] += (1 if positive else -1) * max(0, 1 - abs(place - k))
    np.testing.assert_allclose(
        event_voxel(MANY, (start, end)), np.clip(level(np.moveaxis(grid, 0, -1)), 0, 1), atol=1e-5
    )


def test_surface_decays_from_the_windows_end():
    made = stream([1, 1, 2, 2], [0] * 4, [0, 70, 100, 40], [1, 1, 0, 1])
    surface = event_surface(made, (0, 100))
    older = np.exp(-3 * 0.3)
    np.testing.assert_allclose(surface[0, 1], [older, 0, older], atol=1e-6)
    np.testing.assert_allclose(surface[0, 2], [np.exp(-3 * 0.6), 1, 1], atol=1e-6)
    assert not surface[1:].any()
    first = event_surface(stream([5], [5], [0], [1]), (0, 100))
    assert first[5, 5, 0] == pytest.approx(np.exp(-3))


@pytest.mark.parametrize("encoding", ["event_frame", "event_voxel", "event_surface"])
def test_order_of_events_does_not_matter(encoding):
    order = RNG.permutation(len(MANY))
    mixed = stream(MANY.x[order], MANY.y[order], MANY.t[order], MANY.polarity[order])
    one, other = (encode(raw(events), inputs(encoding), XOptions()).image for events in (MANY, mixed))
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("encoding", ["event_frame", "event_voxel", "event_surface"])
def test_one_event_and_one_moment_are_drawn(encoding):
    single = encode(raw(stream([3], [4], [7], [1])), inputs(encoding), XOptions())
    assert single.image.dtype == np.float32
    assert np.isfinite(single.image).all()
    assert single.image.min() >= 0
    assert single.image.max() <= 1
    changed = (single.image != (0.5 if encoding == "event_voxel" else 0)).any(axis=-1)
    assert np.argwhere(changed).tolist() == [[4, 3]]
    assert single.display[4, 3].max() > 150


def test_the_frame_is_event_frame():
    made = encode(raw(MANY), inputs(), XOptions())
    np.testing.assert_array_equal(np.rint(made.image * 255).astype(np.uint8), event_frame(MANY))
    assert made.interpolation == "nearest"
    assert made.facts["events in it"] == "5,000"


def test_windows_of_the_user_then_of_the_checkpoint_then_everything():
    made = stream([0, 1, 2, 3], [0] * 4, [1000, 2000, 3000, 6000], [1] * 4)

    def seen(config, options=None) -> list[int]:
        image = encode(raw(made), config, options or XOptions()).image
        return np.flatnonzero(image[0].any(axis=-1)).tolist()

    assert seen(inputs()) == [0, 1, 2, 3]
    assert seen(inputs(event_window_ms=3.0)) == [2, 3]
    assert seen(inputs(event_window_ms=3.0), XOptions(window_ms=(0.5, 2))) == [1, 2]
    assert encode(raw(made), inputs(event_window_ms=3.0), XOptions()).facts["window"] == "2.0 to 5.0 ms"


def test_recency_of_a_short_stream_is_on_the_checkpoints_scale():
    made = stream([0, 1], [0, 0], [0, 1000], [1, 1])
    image = encode(raw(made), inputs(event_window_ms=10.0), XOptions()).image
    assert image[0, 0, 2] == pytest.approx((1 + 254 * 0.9) / 255, abs=1 / 255)
    assert image[0, 1, 2] == 1


def test_a_window_without_events_says_where_they_are():
    made = stream([0, 1], [0, 0], [5000, 9000], [1, 1])
    with pytest.raises(InputError, match=r"e\.npz: no event between 10 and 20 ms; .* span 0 to 4 ms"):
        encode(raw(made), inputs(), XOptions(window_ms=(10, 20)))
    with pytest.raises(InputError, match="holds no events"):
        encode(raw(stream([], [], [], [])), inputs(), XOptions())


def test_histogram_is_of_the_whole_stream():
    made = encode(raw(MANY), inputs(), XOptions(window_ms=(0, 1)))
    found = made.histogram
    assert found.counts.sum() == len(MANY)
    assert found.unit == "ms"
    assert found.edges[0] == 0
    assert found.edges[-1] == pytest.approx((MANY.t[-1] - MANY.t[0]) / 1e3)
    expected = np.histogram((MANY.t - MANY.t[0]) / 1e3, found.edges)[0]
    assert np.abs(np.cumsum(found.counts) - np.cumsum(expected)).max() <= 10  # rounding at the edges


def test_histogram_and_window_count_from_the_recordings_first_event():
    part = stream([0, 1], [0, 0], [5_000, 6_000], [1, 1], recording_us=(1_000, 65_000))
    made = encode(raw(part), inputs(), XOptions(window_ms=(4, 5)))
    assert made.facts["window"] == "4.0 to 5.0 ms"
    assert made.histogram.edges[-1] == 64
    assert np.flatnonzero(made.histogram.counts).tolist() == [4, 5]


def test_displays_are_bright_enough_to_be_seen():
    few = stream(np.arange(30), [3] * 30, np.zeros(30), [1] * 30)
    late = encode(raw(few), inputs("event_surface"), XOptions(window_ms=(0, 1000)))
    assert late.image.max() == pytest.approx(np.exp(-3))
    assert late.display.max() >= 195
    voxels = encode(raw(few), inputs("event_voxel"), XOptions())
    assert voxels.display.max() > 220
    assert voxels.display[20, 20].tolist() == [128] * 3


@pytest.mark.parametrize("encoding", ["event_frame", "event_voxel", "event_surface"])
def test_pictures_of_events_are_taken_as_they_are(encoding):
    picture = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    reading = encode_x(picture, inputs(encoding))
    np.testing.assert_allclose(reading.image, picture / 255.0, atol=1e-6)
    assert not reading.warnings
    grey = encode_x(picture[..., 0], inputs(encoding))
    assert grey.image.shape == (40, 50, 3)
    assert any("one channel, which is repeated" in warning for warning in grey.warnings)
    tall = encode(RawX(picture), inputs(encoding), XOptions())
    assert tall.interpolation == "nearest"


def test_another_modality_s_encoder_falls_back_to_the_frame():
    depth = InputConfig(modality="depth", encoding="depth")
    reading = encode_x(raw(MANY), depth)
    assert reading.encoding == "event_frame"
    assert reading.warnings
    np.testing.assert_array_equal(np.rint(reading.image * 255).astype(np.uint8), event_frame(MANY))


@pytest.mark.parametrize("encoding", ["event_frame", "event_voxel", "event_surface"])
def test_ten_million_events_are_drawn_in_seconds(encoding):
    count = 10_000_000
    big = EventStream(
        RNG.integers(640, size=count, dtype=np.int16),
        RNG.integers(480, size=count, dtype=np.int16),
        np.arange(count),
        RNG.integers(2, size=count, dtype=np.int8),
        (480, 640),
    )
    started = time.process_time()
    encode(raw(big), inputs(encoding), XOptions())
    assert time.process_time() - started < 10  # measured: 0.3 to 0.9 s


def test_real_events_in_every_drawing(shared):
    path = shared / "data" / "qualitative" / "event" / "keyboard_events.npz"
    if not path.is_file():
        pytest.skip(f"{path.name} is absent")
    events = read_x(path)
    images = {
        encoding: encode_x(events, inputs(encoding)).image
        for encoding in ("event_frame", "event_voxel", "event_surface")
    }
    drawn = images["event_frame"].any(axis=-1)
    np.testing.assert_array_equal(images["event_surface"].any(axis=-1), drawn)
    assert 0.2 < drawn.mean() < 0.25
    # voxels in which opposite events cancel are few
    assert ((images["event_voxel"] != 0.5).any(axis=-1) == drawn).mean() > 0.98
