"""Event streams are checked on the way in; frames hold exact counts and recency."""

from __future__ import annotations

import time

import numpy as np
import pytest

from ktb.inputs import COUNT_SATURATION, EventStream, event_frame


def stream(x=(0, 1), y=(0, 1), t=(10, 20), polarity=(True, False), size_hw=(2, 3), t_dtype=np.int64):
    arrays = (np.asarray(x), np.asarray(y), np.asarray(t, t_dtype), np.asarray(polarity))
    return EventStream(*arrays, size_hw)


def count_level(count: int) -> int:
    return round(255 * min(1, np.log(1 + count) / np.log(1 + COUNT_SATURATION)))


def test_frame_of_a_hand_made_stream():
    made = stream(
        x=[2, 2, 2, 0, 2],
        y=[0, 0, 0, 1, 0],
        t=[100, 150, 200, 125, 175],
        polarity=[1, 1, 1, 0, 0],
    )
    frame = event_frame(made)
    assert frame.dtype == np.uint8
    expected = np.zeros((2, 3, 3), np.uint8)
    expected[0, 2] = 128, 64, 255  # three positive, one negative; its last event ends the window
    expected[1, 0] = 0, 64, 64  # 1 + 254 * 0.25 = 64.5, rounded to even
    np.testing.assert_array_equal(frame, expected)


@pytest.mark.parametrize(("count", "level"), [(1, 64), (3, 128), (7, 191), (15, 255), (16, 255), (1000, 255)])
def test_counts_are_logarithmic_and_saturate(count, level):
    zeros = np.zeros(count, np.int32)
    frame = event_frame(stream(zeros, zeros, np.arange(count), np.ones(count, bool)))
    assert count_level(count) == level
    assert frame[0, 0].tolist() == [level, 0, 255]


def test_scale_does_not_depend_on_other_pixels():
    alone = event_frame(stream([0], [0], [5], [1]), (0, 10))
    beside = event_frame(stream([0] + [1] * 9, [0] * 10, [5] * 10, [1] * 10), (0, 10))
    assert alone[0, 0].tolist() == beside[0, 0].tolist() == [64, 0, 128]


def test_window_includes_both_ends_and_sets_the_recency():
    made = stream([0, 1, 2, 0], [0, 0, 0, 1], [0, 100, 300, 301], [1, 1, 1, 1])
    frame = event_frame(made, (100, 300))
    assert frame[0, :, 0].tolist() == [0, 64, 64]
    assert frame[0, :, 2].tolist() == [0, 1, 255]
    assert not frame[1].any()
    assert event_frame(made, (200, 299)).max() == 0
    assert event_frame(made, (0, 602))[1, 0, 2] == round(1 + 254 / 2)


def test_recency_is_of_the_last_event_in_any_order():
    made = stream([0, 0, 0], [0, 0, 0], [90, 100, 10], [1, 0, 1])
    assert event_frame(made, (0, 200))[0, 0].tolist() == [round(255 * np.log(3) / np.log(16)), 64, 128]


def test_large_time_origins_and_fractions_keep_their_microseconds():
    origin = 1_700_000_000_000_000
    late = event_frame(stream(t=[origin, origin + 4]), (origin, origin + 4))
    assert (late[0, 0, 2], late[1, 1, 2]) == (1, 255)
    fractional = stream(t=[0.25, 0.75], t_dtype=np.float32)
    assert fractional.t.dtype == np.float64
    assert event_frame(fractional, (0.0, 1.0))[1, 1, 2] == round(1 + 254 * 0.75)


def test_events_of_one_moment_are_newest():
    assert event_frame(stream(t=[7, 7]))[..., 2].max() == 255
    assert event_frame(stream(t=[7, 8]), (7, 7))[..., 2].tolist() == [[255, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("window", [None, (0, 100)])
def test_empty_stream_gives_a_zero_frame(window):
    frame = event_frame(stream([], [], [], []), window)
    assert frame.shape == (2, 3, 3)
    assert frame.dtype == np.uint8
    assert not frame.any()


@pytest.mark.parametrize(
    ("polarity", "expected"),
    [
        (np.array([True, False]), [True, False]),
        (np.array([0, 1], np.uint8), [False, True]),
        (np.array([-1, 1], np.int8), [False, True]),
        (np.array([1.0, 0.0]), [True, False]),
        (np.array([-1, -1]), [False, False]),
    ],
)
def test_polarities_of_every_convention(polarity, expected):
    made = stream(polarity=polarity)
    assert made.polarity.dtype == bool
    assert made.polarity.tolist() == expected
    assert len(made) == 2


def test_small_coordinate_types_do_not_overflow():
    made = EventStream(
        np.array([639], np.uint16), np.array([479], np.uint16), np.array([1]), np.array([1]), (480, 640)
    )
    assert event_frame(made)[479, 639].tolist() == [64, 0, 255]
    narrow = EventStream(
        np.array([200], np.uint8), np.array([200], np.uint8), made.t, made.polarity, (201, 201)
    )
    assert event_frame(narrow)[200, 200].tolist() == [64, 0, 255]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [0]}, r"x \(1,\), y \(2,\).*four arrays of one length"),
        ({"x": [[0]], "y": [[0]], "t": [[0]], "polarity": [[0]]}, r"x \(1, 1\).*one length \(N,\)"),
        ({"x": [0, 3]}, r"event x runs from 0 to 3, outside 0..2: .*width in size_hw"),
        ({"y": [-1, 1]}, r"event y runs from -1 to 1, outside 0..1: .*height in size_hw"),
        ({"x": [0.5, 1.0]}, r"event x has dtype float64: round the coordinates"),
        ({"t": [0.0, np.nan], "t_dtype": float}, r"1 event times are NaN or infinite: drop them"),
        ({"t": ["a", "b"], "t_dtype": str}, r"event times have dtype <U1: give numbers in microseconds"),
        ({"polarity": [0, 2]}, r"polarities such as \[0, 2\]: give booleans"),
        ({"polarity": [-1, 0]}, r"polarities such as \[-1, 0\]: give booleans"),
        ({"polarity": ["on", "off"]}, r"polarities such as \['off', 'on'\]"),
        ({"size_hw": (2,)}, r"event size \(2,\): give the sensor's \(height, width\)"),
        ({"size_hw": (0, 3)}, r"event size \(0, 3\)"),
        ({"size_hw": (2.0, 3)}, r"event size \(2.0, 3\)"),
    ],
)
def test_bad_streams_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        stream(**change)


@pytest.mark.parametrize("window", [(20, 10), (0, np.inf), (np.nan, 1)])
def test_bad_windows_are_refused(window):
    with pytest.raises(ValueError, match=r"event window .*start, end\) in microseconds, start first"):
        event_frame(stream(), window)


def test_ten_million_events_are_drawn_in_seconds():
    rng, count = np.random.default_rng(0), 10_000_000
    x, y = rng.integers(640, size=count, dtype=np.int16), rng.integers(480, size=count, dtype=np.int16)
    t, polarity = rng.integers(10**6, size=count), rng.integers(2, size=count, dtype=np.int8)
    started = time.process_time()
    frame = event_frame(EventStream(x, y, t, polarity, (480, 640)))
    assert time.process_time() - started < 10  # measured: 0.6 s
    assert frame[..., :2].min() > 0


def test_real_events_lie_where_the_picture_has_edges(shared):
    path = shared / "data" / "qualitative" / "event" / "keyboard_events.npz"
    if not path.is_file():
        pytest.skip(f"{path.name} is absent")
    with np.load(path) as events:
        made = EventStream(events["x"], events["y"], events["t"], events["p"], (260, 346))
    frame = event_frame(made)
    assert len(made) == 24_988
    seen = frame[..., 2] > 0
    assert 0.1 < seen.mean() < 0.3
    np.testing.assert_array_equal(seen, frame[..., :2].any(axis=-1))
