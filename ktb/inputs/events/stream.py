"""Event streams of neuromorphic cameras, and their encoding as three-channel frames."""

import math
from dataclasses import dataclass

import numpy as np

from ktb.inputs.limits import InputError

COUNT_SATURATION = 15
"""Number of events of one polarity in a pixel that maps to 255."""


@dataclass(frozen=True, eq=False)
class EventStream:
    """N events in any order; x and y in pixels from the top left corner, t in microseconds.

    Attributes:
        x, y: (N,) integers, inside `size_hw`.
        t: (N,) int64 or float64, finite; any origin.
        polarity: (N,) bool, True where it became brighter; 0 and 1, or -1 and 1, are taken and converted.
        size_hw: height and width of the sensor in pixels.
        recording_us: times of the recording's first and last event, where the stream holds a part of it.

    Raises ValueError for what does not fit, naming the value and the remedy.
    """

    x: np.ndarray
    y: np.ndarray
    t: np.ndarray
    polarity: np.ndarray
    size_hw: tuple[int, int]
    recording_us: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        size = tuple(self.size_hw)
        if len(size) != 2 or any(not isinstance(side, int | np.integer) or side < 1 for side in size):
            raise InputError(f"event size {self.size_hw}: give the sensor's (height, width) in pixels")
        object.__setattr__(self, "size_hw", (int(size[0]), int(size[1])))
        for name in ("x", "y", "t", "polarity"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        shapes = {name: getattr(self, name).shape for name in ("x", "y", "t", "polarity")}
        if len(set(shapes.values())) != 1 or self.t.ndim != 1:
            found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise InputError(f"event arrays of shapes {found}: give four arrays of one length (N,)")
        self._check_coordinates("x", size[1], "width")
        self._check_coordinates("y", size[0], "height")
        object.__setattr__(self, "t", _times(self.t))
        object.__setattr__(self, "polarity", _polarity(self.polarity))

    def __len__(self) -> int:
        return len(self.t)

    @property
    def span_us(self) -> tuple[float, float]:
        """Times of the recording's first and last event; InputError without events."""
        if self.recording_us is not None:
            return self.recording_us
        if not len(self):
            raise InputError("the event stream holds no events; record or choose a longer part")
        return self.t.min().item(), self.t.max().item()

    def _check_coordinates(self, name: str, side: int, side_name: str) -> None:
        values = getattr(self, name)
        if not values.size:
            object.__setattr__(self, name, values.astype(np.int32))
            return
        if values.dtype.kind not in "ui":
            raise InputError(f"event {name} has dtype {values.dtype}: round the coordinates to integers")
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= side:
            raise InputError(
                f"event {name} runs from {low} to {high}, outside 0..{side - 1}: give the sensor's true "
                f"{side_name} in size_hw, or drop the events outside"
            )


def event_frame(stream: EventStream, window_us: tuple[float, float] | None = None) -> np.ndarray:
    """Encode the events of a time window as one frame, the default X image for modality "event".

    Channel 0 holds the positive and channel 1 the negative events of each pixel on a logarithmic scale that
    is fixed, so that frames of different scenes compare: 255 * log(1 + count) / log(1 + COUNT_SATURATION),
    at most 255 (1, 3, 7, 15 events: 64, 128, 191, 255). Channel 2 is the recency of the pixel's last event:
    1 at the window's start to 255 at its end, 0 where there was no event.

    Args:
        stream: the events.
        window_us: (start, end), both included; by default from the first to the last event.

    Returns:
        (H, W, 3) uint8; all zero where the window holds no event.

    Raises:
        ValueError: a window that is not finite or ends before it starts.
    """
    height, width = stream.size_hw
    if window_us is None:
        if not len(stream):
            return np.zeros((height, width, 3), np.uint8)
        window_us = stream.t.min(), stream.t.max()
    start, end = window_us
    if not (math.isfinite(start) and math.isfinite(end)) or start > end:
        raise InputError(f"event window ({start}, {end}): give (start, end) in microseconds, start first")
    inside = (stream.t >= start) & (stream.t <= end)
    x, y, t, polarity = stream.x, stream.y, stream.t, stream.polarity
    if not inside.all():
        x, y, t, polarity = x[inside], y[inside], t[inside], polarity[inside]

    pixel = y.astype(np.intp) * width + x
    # one pass for both polarities: negative counts first, positive ones after them
    both = np.bincount(pixel + polarity * (height * width), minlength=2 * height * width)
    negative, positive = np.minimum(both, COUNT_SATURATION).reshape(2, height, width)
    latest = np.full(height * width, -1.0)
    np.maximum.at(latest, pixel, (t - start).astype(np.float64))
    share = latest / (end - start) if end > start else np.ones_like(latest)
    recency = np.where(latest >= 0, 1 + 254 * share, 0).reshape(height, width)
    scale = 255 * np.log1p(np.arange(COUNT_SATURATION + 1)) / np.log1p(COUNT_SATURATION)
    channels = scale[positive], scale[negative], recency
    return np.stack([np.rint(channel).astype(np.uint8) for channel in channels], axis=-1)


def _times(t: np.ndarray) -> np.ndarray:
    """Times as int64 or float64, finite."""
    if t.size and t.dtype.kind not in "uif":
        raise InputError(f"event times have dtype {t.dtype}: give numbers in microseconds")
    if t.dtype.kind == "f":
        if not np.isfinite(t).all():
            raise InputError(
                f"{np.count_nonzero(~np.isfinite(t))} event times are NaN or infinite: drop them"
            )
        return t.astype(np.float64, copy=False)
    return t.astype(np.int64, copy=False)


def _polarity(polarity: np.ndarray) -> np.ndarray:
    """Polarities as bool, from bool, {0, 1} or {-1, 1}."""
    if polarity.dtype.kind == "b" or not polarity.size:
        return polarity.astype(bool, copy=False)
    if polarity.dtype.kind in "uif":
        low, high = polarity.min(), polarity.max()
        positive = polarity == 1
        if (positive | (polarity == low)).all() and low in (-1, 0, 1) and high in (-1, 0, 1):
            return positive
    found = np.unique(polarity[:10_000])[:5].tolist()
    raise InputError(f"event polarities such as {found}: give booleans, 0 and 1, or -1 and 1")
