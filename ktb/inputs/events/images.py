"""Encoders of event streams: frames of counts and recency, voxel grids, time surfaces.

All three have fixed scales, so that images of different scenes and windows compare.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from ktb.config import InputConfig
from ktb.inputs.encoders import image
from ktb.inputs.events.stream import COUNT_SATURATION, EventStream, event_frame
from ktb.inputs.histogram import HISTOGRAM_BINS, Histogram, to_bytes
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.types import Encoded, RawX

VOXEL_BINS = 3
TAU_SHARE = 1 / 3
"""Time constant of the time surface as a share of the window: its oldest event has the value exp(-3)."""
_VISIBLE = 200
"""Brightness that the upper 1 % of a display's drawn pixels should reach."""


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode the events of a time window by `inputs.encoding`; event images are unchanged.

    The window is `options.window_ms`, counted from the recording's first event; else the last
    `inputs.event_window_ms` of what was read, because the image shows the state at its end; else all of it.

    Raises:
        InputError: no event in the window, saying what the stream spans; pictures as `image.encode`.
    """
    if not isinstance(raw.data, EventStream):
        encode_other = _encode_counts if raw.kind == "counts" else _encode_picture
        return encode_other(raw, inputs, options)
    stream = raw.data
    first, last = stream.span_us
    window = _window(stream, first, inputs, options)
    part = _cut(stream, window)
    if not len(part):
        low, high = ((t - first) / 1e3 for t in (stream.t.min(), stream.t.max()))
        start, end = ((t - first) / 1e3 for t in window)
        raise InputError(
            f"{raw.name}: no event between {start:g} and {end:g} ms; the events that were read span "
            f"{low:g} to {high:g} ms from the first one: choose a window within"
        )
    words, draw = _DRAWINGS.get(inputs.encoding, _DRAWINGS["event_frame"])
    drawn = draw(part, window)
    height, width = stream.size_hw
    pixels = np.zeros(height * width, bool)
    pixels[part.y.astype(np.intp) * width + part.x] = True
    start, end = ((t - first) / 1e3 for t in window)
    facts = {
        "drawn as": words,
        "window": f"{start:,.1f} to {end:,.1f} ms",
        "events in it": f"{len(part):,}",
        "pixels with events": f"{pixels.mean():.1%}",
    }
    neutral = 0.5 if inputs.encoding == "event_voxel" else 0.0
    return Encoded(
        image=drawn,
        display=_visible(drawn, neutral),
        summary=f"{words} of {len(part):,} events in {end - start:,.1f} ms",
        facts=facts,
        histogram=_over_time(stream, first, last),
        interpolation="nearest",
    )


def event_voxel(stream: EventStream, window_us: tuple[float, float]) -> np.ndarray:
    """Voxel grid of VOXEL_BINS moments of the window, its start, middle and end, as one image.

    Each event adds its polarity, 1 or -1, to the two moments around it in proportion to its nearness
    (bilinear in time, Zhu et al., CVPR 2019). The sum v becomes 0.5 + 0.5 * sign(v) *
    log(1 + |v|) / log(1 + COUNT_SATURATION), within 0..1: 0.5 where there is nothing.

    Args:
        stream: the events, all within the window.
        window_us: start and end.

    Returns:
        (H, W, 3) float32 in 0..1.
    """
    start, end = window_us
    height, width = stream.size_hw
    place = (stream.t - start) * ((VOXEL_BINS - 1) / max(end - start, 1e-9))
    lower = np.clip(place.astype(np.intp), 0, VOXEL_BINS - 2)
    share = np.clip(place - lower, 0, 1)
    share[~stream.polarity] *= -1
    cell = lower * (height * width) + stream.y.astype(np.intp) * width + stream.x
    later = np.bincount(cell, share, VOXEL_BINS * height * width)
    sign = np.where(stream.polarity, 1.0, -1.0)
    grid = np.bincount(cell, sign - share, VOXEL_BINS * height * width)
    grid[height * width :] += later[: -height * width]
    scaled = np.log1p(np.abs(grid)) * (np.sign(grid) / math.log1p(COUNT_SATURATION))
    voxels = np.clip(0.5 + 0.5 * scaled, 0, 1).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(voxels.reshape(VOXEL_BINS, height, width), 0, -1))


def event_surface(stream: EventStream, window_us: tuple[float, float]) -> np.ndarray:
    """Time surface: exp(-age / tau) of each pixel's latest positive, negative and any event.

    The age is counted from the window's end, tau is TAU_SHARE of the window (Lagorce et al., PAMI 2017).

    Args:
        stream: the events, all within the window.
        window_us: start and end.

    Returns:
        (H, W, 3) float32 in 0..1; 0 where there was no event.
    """
    start, end = window_us
    height, width = stream.size_hw
    age = np.full(2 * height * width, np.inf)
    cell = stream.y.astype(np.intp) * width + stream.x + ~stream.polarity * (height * width)
    np.minimum.at(age, cell, (end - stream.t).astype(np.float64))
    surface = np.exp(age / -max((end - start) * TAU_SHARE, 1e-9)).reshape(2, height, width)
    return np.stack([*surface, surface.max(axis=0)], axis=-1).astype(np.float32)


def _frame(stream: EventStream, window_us: tuple[float, float]) -> np.ndarray:
    return event_frame(stream, window_us).astype(np.float32) / 255


_DRAWINGS: Mapping[str, tuple[str, Callable[[EventStream, tuple[float, float]], np.ndarray]]] = (
    MappingProxyType(
        {
            "event_frame": ("frame (positive, negative, recency)", _frame),
            "event_voxel": (f"voxel grid of {VOXEL_BINS} moments", event_voxel),
            "event_surface": ("time surface (positive, negative, any)", event_surface),
        }
    )
)


def _encode_picture(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    encoded = image.encode(raw, inputs, options)
    notes = encoded.notes
    if encoded.image.ndim == 2:
        notes += (
            "This picture of events has one channel, which is repeated; an event image has three, such as "
            "positive events, negative events and recency.",
        )
    return replace(encoded, interpolation="nearest", notes=notes)


def _encode_counts(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode counts of events per polarity as `event_frame` does; without times, recency is 0.

    A third channel, of a stack of histograms, is the recency in 0..1.
    """
    if inputs.encoding not in ("event_frame", "image") and inputs.modality == "event":
        raise InputError(
            f"{raw.name}: a histogram of events has no times, and the encoding {inputs.encoding} needs them; "
            "give the event stream"
        )
    if options.columns not in ("auto", "np", "pn"):
        raise InputError(
            f"columns {options.columns!r}: a histogram of events has two channels; give np (negative, "
            "positive), pn, or auto"
        )
    counts = np.nan_to_num(raw.data[..., :2].astype(np.float32), posinf=0, neginf=0)
    if options.columns != "pn":
        counts = counts[..., ::-1]
    are_scaled = bool((counts % 1).any()) and counts.max() <= 1
    drawn = counts if are_scaled else np.log1p(counts) / math.log1p(COUNT_SATURATION)
    frame = np.zeros((*counts.shape[:2], 3), np.float32)
    frame[..., :2] = np.clip(drawn, 0, 1)
    notes: tuple[str, ...] = ()
    if raw.data.shape[2] == 3:
        recency = raw.data[..., 2]
        frame[..., 2] = np.where(recency > 0, (1 + 254 * recency) / 255, 0)
    else:
        notes = ("A histogram of events has no times: the channel of recency is 0, unlike in training.",)
    if options.window_ms is not None:
        notes += ("The time window was not used: a histogram has no milliseconds; cut the array instead.",)
    sure = "guess" if options.columns == "auto" else "certain"
    order = "positive, negative" if options.columns == "pn" else "negative, positive"
    if sure == "guess":
        notes += (
            "The first channel was taken for negative events, as most libraries count them. Say columns pn "
            "if it holds the positive ones.",
        )
    facts = {
        "channels": f"{order} events ({sure})",
        "events": f"{counts.sum():,.0f}" if not are_scaled else "scaled to 0..1 in the file",
        "pixels with events": f"{counts.any(axis=-1).mean():.1%}",
    }
    summary = "scaled histogram of events" if are_scaled else f"histogram of {facts['events']} events"
    display = _visible(frame, 0.0)
    return Encoded(frame, display, summary, facts, interpolation="nearest", notes=notes)


def _window(stream: EventStream, first: float, inputs: InputConfig, options: XOptions) -> tuple[float, float]:
    """Start and end of the window in the stream's microseconds."""
    if options.window_ms is not None:
        start, end = (first + 1e3 * edge for edge in options.window_ms)
        return start, end
    low, high = stream.t.min().item(), stream.t.max().item()
    if inputs.event_window_ms is not None:
        return high - 1e3 * inputs.event_window_ms, high
    return low, high


def _cut(stream: EventStream, window_us: tuple[float, float]) -> EventStream:
    inside = (stream.t >= window_us[0]) & (stream.t <= window_us[1])
    if inside.all():
        return stream
    parts = (values[inside] for values in (stream.x, stream.y, stream.t, stream.polarity))
    return EventStream(*parts, stream.size_hw)


def _over_time(stream: EventStream, first: float, last: float) -> Histogram:
    """Histogram of events over the recording, in ms from its first event; 0 where it was not read."""
    span = max(last - first, 1e-3)
    step = (stream.t - first) * (HISTOGRAM_BINS / span)
    counts = np.bincount(np.clip(step.astype(np.intp), 0, HISTOGRAM_BINS - 1), minlength=HISTOGRAM_BINS)
    return Histogram(counts, np.linspace(0, span / 1e3, HISTOGRAM_BINS + 1), "ms")


def _visible(drawn: np.ndarray, neutral: float) -> np.ndarray:
    """(H, W, 3) uint8, brightened about `neutral` where most would be too faint to be seen."""
    strength = np.abs(drawn - neutral).max(axis=-1)
    upper = np.quantile(strength[strength > 0], 0.99) if strength.any() else 1
    gain = max(1, _VISIBLE / 255 * (1 - neutral) / upper)
    return to_bytes(neutral + (drawn - neutral) * gain)
