"""Conversion of event columns to a validated `EventStream`, with notes for the user."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ktb.inputs.events.columns import (
    KNOWN_SENSORS,
    MICROSECONDS,
    UNIT_NAMES,
    Found,
    Sensor,
    check_count,
    sensor_size,
    time_unit,
)
from ktb.inputs.events.stream import EventStream
from ktb.inputs.limits import MAX_DROPPED, MAX_SENSOR_PIXELS, MAX_SIDE, InputError, check_size
from ktb.inputs.options import XOptions
from ktb.inputs.types import RawX

_OUTSIDE = 2**30
_STRAY = 1e-4  # of the events: damaged ones, no larger sensor
_REACH = 0.9  # of a sensor's sides, which its events reach
_GUESSES = ("likely", "a guess")


@dataclass(frozen=True)
class EventColumns:
    """The four columns of a file, and its metadata about them.

    Attributes:
        columns: "x", "y", "t", "p" -> (N,) numbers of one length.
        format: for display; name: of the file.
        order: of the columns, for display.
        unit: of the times if it is known; sensor_hw: height and width if they are known.
        notes: what the reader has to say.
        span: first and last time of the whole recording in the file's unit, if this is a part of it.
        facts: what else is to be shown.
        usual: the sensor that the layout's recordings usually have.
    """

    columns: Mapping[str, np.ndarray]
    format: str
    name: str
    order: Found
    unit: str | None = None
    sensor_hw: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    span: tuple[float, float] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    usual: Sensor | None = None


def build_events(recording: EventColumns, options: XOptions) -> RawX:
    """Check and convert: coordinates to integers within the sensor, times to microseconds, polarity to bool.

    Integer times in microseconds are kept; others count in microseconds from the recording's first event.

    Raises:
        InputError: no events or too many, columns of different lengths or that are no numbers, or more than
            1 % of the events outside the sensor or not finite.
    """
    name, columns = recording.name, dict(recording.columns)
    shapes = {role: column.shape for role, column in columns.items()}
    if len(set(shapes.values())) != 1 or columns["t"].ndim != 1:
        found = ", ".join(f"{role} {shape}" for role, shape in shapes.items())
        raise InputError(f"{name}: event arrays of shapes {found}; save four arrays of one length (N,)")
    for role, column in columns.items():
        if column.dtype.kind not in "uifb" or (column.dtype.kind == "b" and role != "p"):
            raise InputError(f"{name}: event {role} has dtype {column.dtype}; save numbers")
    count = len(columns["t"])
    check_count(count, name)

    notes, bad = list(recording.notes), {}
    xy = {}
    for role in ("x", "y"):
        xy[role], fractions = _coordinates(columns.pop(role), role, bad)
        if fractions:
            notes.append(f"Event {role} has fractions (rectified?); it was rounded to whole pixels.")
    t = columns.pop("t")
    if t.dtype.kind == "f" and not np.isfinite([t.min(), t.max()]).all():
        bad["time NaN or infinite"] = ~np.isfinite(t)
    polarity, convention = _polarity(columns.pop("p"), name, bad)
    said_hw, assumed_hw = options.sensor_hw, None
    if "sensor_hw" in options.assumed:
        said_hw, assumed_hw = None, recording.sensor_hw or _if_it_fits(xy, options.sensor_hw, notes)
    limit_hw = said_hw or assumed_hw or recording.sensor_hw or _plausible_limit(xy)
    _mark_outside(xy, limit_hw, bad)
    if bad:
        keep = _survivors(bad, count, limit_hw, name, notes)
        xy = {role: values[keep] for role, values in xy.items()}
        t, polarity = t[keep], polarity[keep]

    x, y = xy["x"], xy["y"]
    known = said_hw, recording.sensor_hw, recording.usual
    size_hw, how = sensor_size(int(x.max()), int(y.max()), *known)
    if assumed_hw and not recording.sensor_hw:
        size_hw, how = assumed_hw, "as in training"
    _check_sensor(size_hw, name)
    _check_times(t, name)
    unit = time_unit(t, options.time_unit, recording.unit, "time_unit" in options.assumed)
    if (t[1:] < t[:-1]).any():
        notes.append("The events are not in the order of their times; each is used at its own time.")
    t, span = _microseconds(t, unit.value, recording.span)
    stream = EventStream(x, y, t, polarity, size_hw, span)
    first, last = stream.span_us
    facts = {
        "events": f"{len(stream):,}",
        "columns": _sure(" ".join(recording.order.value), recording.order.surety),
        "polarity": convention,
        "time unit": _sure(UNIT_NAMES[unit.value], unit.surety),
        "time span": f"{(last - first) / 1e3:,.1f} ms",
        "sensor": f"{size_hw[1]} x {size_hw[0]} ({how})",
    }
    guessed: dict[str, str | tuple[int, int]] = {}
    if recording.order.surety in _GUESSES:
        guessed["columns"] = recording.order.value
    if unit.surety in _GUESSES:
        guessed["time_unit"] = unit.value
    if how.startswith("guessed"):
        guessed["sensor_hw"] = size_hw
    facts |= dict(recording.facts)
    return RawX(stream, recording.format, name, "events", facts, tuple(notes), guessed=guessed)


def _if_it_fits(
    xy: dict[str, np.ndarray], sensor_hw: tuple[int, int], notes: list[str]
) -> tuple[int, int] | None:
    """The sensor of the checkpoint's training, unless more than a few events are outside it."""
    outside = np.count_nonzero((xy["x"] >= sensor_hw[1]) | (xy["y"] >= sensor_hw[0]))
    if outside <= MAX_DROPPED * len(xy["x"]):
        return sensor_hw
    notes.append(
        f"{outside:,} events lie outside the sensor of the checkpoint's training, {sensor_hw[1]} x "
        f"{sensor_hw[0]}: these are of another sensor, whose size was guessed. Say it if that is wrong."
    )
    return None


def _sure(text: str, surety: str) -> str:
    return f"{text} ({surety})" if surety else text


def _coordinates(column: np.ndarray, role: str, bad: dict[str, np.ndarray]) -> tuple[np.ndarray, bool]:
    """Coordinates as integers of at most 4 bytes, and whether they were rounded; NaN goes to `bad`."""
    low, high = column.min(), column.max()
    if column.dtype.kind == "f":
        if not np.isfinite([low, high]).all():
            invalid = ~np.isfinite(column)
            bad[f"{role} NaN or infinite"] = invalid
            column = np.where(invalid, 0, column)
            low, high = column.min(), column.max()
        if low < -_OUTSIDE or high > _OUTSIDE:
            column = np.clip(column, -_OUTSIDE, _OUTSIDE)
        whole = column.astype(np.int32)
        if (whole != column).any():
            return np.rint(column).astype(np.int32), True
        column, low, high = whole, int(max(low, -_OUTSIDE)), int(min(high, _OUTSIDE))
    if column.dtype.itemsize <= 2:
        return column, False
    if int(low) < -_OUTSIDE or int(high) > _OUTSIDE:
        return np.clip(column, max(-_OUTSIDE, np.iinfo(column.dtype).min), _OUTSIDE).astype(np.int32), False
    fits = int(low) >= -(2**15) and int(high) < 2**15
    return column.astype(np.int16 if fits else np.int32, copy=False), False


def _polarity(column: np.ndarray, name: str, bad: dict[str, np.ndarray]) -> tuple[np.ndarray, str]:
    """Polarity as (N,) bool and how it was written; a few other values go to `bad`."""
    if column.dtype.kind == "b":
        return column, "false / true"
    positive = column == 1
    zero, minus = column == 0, column == -1
    zeros, minuses = np.count_nonzero(zero), np.count_nonzero(minus)
    other = ~(positive | (zero if zeros >= minuses else minus))
    share = np.count_nonzero(other) / len(column)
    if share > MAX_DROPPED:
        found = ", ".join(f"{value:g}" for value in np.unique(column[:10_000])[:5])
        raise InputError(f"{name}: event polarities such as {found}; give booleans, 0 and 1, or -1 and 1")
    if share:
        bad["polarity neither of two values"] = other
    if not zeros and not minuses:
        return positive, "only 1"
    return positive, "0 / 1" if zeros >= minuses else "-1 / 1"


def _plausible_limit(xy: dict[str, np.ndarray]) -> tuple[int, int]:
    """A sensor that a few stray events lie outside of; else the largest known one, or the largest image."""
    stray = _without_strays(xy)
    if stray is not None:
        return stray
    width, height = KNOWN_SENSORS[-1][:2]
    if int(xy["x"].max()) < width and int(xy["y"].max()) < height:
        return height, width
    outside = np.count_nonzero((xy["x"] >= width) | (xy["y"] >= height))
    return (height, width) if outside <= MAX_DROPPED * len(xy["x"]) else (MAX_SIDE, MAX_SIDE)


def _without_strays(xy: dict[str, np.ndarray]) -> tuple[int, int] | None:
    """The smallest known sensor whose whole area has events, if hardly any lie outside; None if none do."""
    x, y = xy["x"], xy["y"]
    for width, height, _ in KNOWN_SENSORS:
        if int(x.max()) < width and int(y.max()) < height:
            return None
        outside = (x >= width) | (y >= height)
        if np.count_nonzero(outside) <= _STRAY * len(x):
            reach = x.max(where=~outside, initial=0) / width, y.max(where=~outside, initial=0) / height
            return (height, width) if min(reach) >= _REACH else None
    return None


def _mark_outside(xy: dict[str, np.ndarray], limit_hw: tuple[int, int], bad: dict[str, np.ndarray]) -> None:
    for role, limit in zip("yx", limit_hw):
        values = xy[role]
        if int(values.min()) < 0 or int(values.max()) >= limit:
            bad[f"{role} outside 0..{limit - 1}"] = (values < 0) | (values >= limit)


def _survivors(
    bad: dict[str, np.ndarray], count: int, limit_hw: tuple[int, int], name: str, notes: list[str]
) -> np.ndarray:
    """Mask of the valid events and a note on the others; InputError if there are too many."""
    dropped = np.logical_or.reduce(list(bad.values()))
    number = int(np.count_nonzero(dropped))
    reasons = ", ".join(f"{np.count_nonzero(mask):,} with {reason}" for reason, mask in bad.items())
    if number > MAX_DROPPED * count or number == count:
        raise InputError(
            f"{name}: {number:,} of {count:,} events cannot be used ({reasons}); check the order of the "
            'columns and the size of the sensor, say them as columns "txyp" and sensor_hw (--columns and '
            "--sensor on the command line), or drop them"
        )
    notes.append(f"{number:,} of {count:,} events were left out: {reasons}.")
    return ~dropped


def _check_sensor(size_hw: tuple[int, int], name: str) -> None:
    height, width = size_hw
    check_size(width, height, f"{name}, the event sensor")
    if height * width > MAX_SENSOR_PIXELS:
        raise InputError(
            f"{name}: the events cover {width} x {height} pixels, more than any event camera has; check the "
            'order of the columns, say it as columns "txyp", and sensor_hw'
        )


def _check_times(t: np.ndarray, name: str) -> None:
    """Raise an InputError for times that overflow in microseconds."""
    low, high = t.min().item(), t.max().item()
    if high - low >= 2**62 or max(abs(low), abs(high)) >= 2**62:
        raise InputError(
            f"{name}: event times run from {low:g} to {high:g}; check the order of the columns, or say it as "
            'columns "txyp"'
        )


def _microseconds(
    t: np.ndarray, unit: str, span: tuple[float, float] | None
) -> tuple[np.ndarray, tuple[float, float] | None]:
    """Times and the recording's span in microseconds."""
    factor = MICROSECONDS[unit]
    if t.dtype.kind == "f":
        t = t.astype(np.float64, copy=False)
    if factor == 1:
        return t, span
    # the origin is taken away first: nanoseconds since 1970 do not fit into a float
    origin = t.min().item() if span is None else span[0]
    t = (t - origin if t.dtype.kind == "f" else t.astype(np.int64, copy=False) - int(origin)) * factor
    return t, None if span is None else (0.0, (span[1] - span[0]) * factor)
