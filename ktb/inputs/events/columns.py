"""Columns of an event recording: order, polarity, unit of time, and sensor size."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ktb.inputs.limits import MAX_EVENTS, MAX_SIDE, InputError

ALIASES: Mapping[str, tuple[str, ...]] = {
    "x": ("x", "xs", "x_pos", "col", "cols"),
    "y": ("y", "ys", "y_pos", "row", "rows"),
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps", "t_us", "t_ns", "t_s", "timestamp_us"),
    "p": ("p", "ps", "pol", "pols", "polarity", "polarities", "on"),
}
"""Names of the four columns, in small letters."""
KNOWN_SENSORS = (
    (128, 128, "DVS128"),
    (240, 180, "DAVIS240"),
    (304, 240, "ATIS"),
    (320, 240, "DVXplorer Lite"),
    (346, 260, "DAVIS346"),
    (320, 320, "GenX320"),
    (480, 360, "Prophesee Gen3"),
    (640, 480, "DVXplorer"),
    (1280, 720, "Prophesee Gen4"),
    (1280, 800, "CeleX-V"),
)
"""Width, height and name, small ones first: a guess takes the first that contains all events."""
MICROSECONDS = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
SAMPLE = 50_000
_REACHED = 0.98  # of both sides of a sensor
USUAL_RATE = (1e3, 1e8)
"""Events per second of a camera in use, from a still scene to the fastest read-out."""


@dataclass(frozen=True)
class Found:
    """A guessed or given value and its confidence ("" if certain)."""

    value: str
    surety: str = ""


class Sensor(NamedTuple):
    """Height and width that a layout's recordings usually have, and whose they are."""

    size_hw: tuple[int, int]
    label: str


def by_name(names: Sequence[str]) -> dict[str, str] | None:
    """{"x": name, "y": ..., "t": ..., "p": ...} among these names; None unless all four are there."""
    lower = {name.lower().strip().strip("#").strip(): name for name in reversed(names)}
    found = {
        role: next((lower[alias] for alias in aliases if alias in lower), None)
        for role, aliases in ALIASES.items()
    }
    return None if None in found.values() else found  # type: ignore[return-value]


def check_count(count: int, name: str) -> None:
    """Raise an InputError for no events, or for more than the limit."""
    if count < 1:
        raise InputError(f"{name}: holds no events; record or choose a longer part")
    if count > MAX_EVENTS:
        raise InputError(
            f"{name}: {count:,} events; at most {MAX_EVENTS:,} are taken: cut the recording, or store it as "
            "HDF5 (.h5), of which only the chosen window is read"
        )


def column_order(table: np.ndarray, said: str, name: str) -> Found:
    """Which column of a table (N, 4) is x, y, t (time) and p (polarity), such as "txyp".

    The polarity has no values but 0 and 1, or -1 and 1; the time grows from row to row; x stands before y,
    unless only the other way round gives the size of a known sensor.

    Raises:
        InputError: `said` is no order of the four letters, or nothing was said and nothing fits.
    """
    if said != "auto":
        if sorted(said.lower()) != sorted("xytp"):
            raise InputError(f'columns {said!r}: name each of x, y, t and p once, such as "txyp", or "auto"')
        return Found(said.lower())
    if table.shape[1] != 4:
        raise InputError(
            f"{name}: {table.shape[1]} columns; an event table has four: x, y, time and polarity in any order"
        )
    sample = table[:: max(1, len(table) // SAMPLE)].astype(np.float64)
    sample = sample[(np.abs(sample) < 2.0**63).all(axis=1)]  # false for NaN as well
    refused = InputError(
        f"{name}: cannot tell which of the four columns are x, y, time and polarity (they run "
        f'{_ranges(sample)}); say the order in columns, such as "txyp", or save named arrays x, y, t, p'
    )
    if not len(sample):
        raise refused
    polarity = [i for i in range(4) if _is_polarity(sample[:, i])]
    if not polarity:
        raise refused
    # the last column with both values; in a short recording others may be constant
    p = max(polarity, key=lambda i: (np.ptp(sample[:, i]) > 0, i))
    rest = [i for i in range(4) if i != p]
    t = max(rest, key=lambda i: _likeness_to_time(sample[:, i]))
    x, y = (i for i in rest if i != t)
    if min(sample[:, x].max(), sample[:, y].max()) < 0 or sample[:, [x, y]].max() > MAX_SIDE * 64:
        raise refused
    ordered = _likeness_to_time(sample[:, t])[0] and len(sample) > 4 and len(polarity) == 1
    width, height = (int(sample[:, i].max()) + 1 for i in (x, y))
    sizes = {sensor[:2] for sensor in KNOWN_SENSORS}
    if (height, width) in sizes and (width, height) not in sizes:
        x, y, ordered = y, x, False
    letters = {x: "x", y: "y", t: "t", p: "p"}
    return Found("".join(letters[i] for i in range(4)), "likely" if ordered else "a guess")


def has_polarity(table: np.ndarray, order: str) -> bool:
    """Whether the column of a table (N, 4) that should be the polarity can be one."""
    place = order.index("p")
    return table.shape[1] > place and _is_polarity(table[:: max(1, len(table) // SAMPLE), place])


def _ranges(sample: np.ndarray) -> str:
    if not len(sample):
        return "over nothing but NaN"
    return ", ".join(f"{low:g}..{high:g}" for low, high in zip(sample.min(axis=0), sample.max(axis=0)))


def _is_polarity(column: np.ndarray) -> bool:
    return bool(np.isin(column, (0, 1)).all() or np.isin(column, (-1, 1)).all())


def _likeness_to_time(column: np.ndarray) -> tuple[bool, bool, float]:
    """Sort key: never falls (but for some noise) and grows, has fractions, covers a wide range."""
    falls = np.count_nonzero(np.diff(column) < 0)
    grows = falls <= 0.001 * len(column) and column[-1] > column[0]
    return grows, bool((column % 1).any()), float(np.ptp(column))


def time_unit(t: np.ndarray, said: str, known: str | None, is_assumed: bool = False) -> Found:
    """The unit of times (N,) of any real dtype: "s", "ms", "us" or "ns", as said, known, or guessed.

    is_assumed: `said` is the checkpoint's, which counts less than what the file says.

    The guess weighs what rate of events each unit would mean, whether the numbers have fractions and how
    fine they are (cameras count microseconds), and whether they look like a clock's time since 1970.
    """
    if said != "auto" and said not in MICROSECONDS:
        raise InputError(f"time_unit {said!r}: choose one of auto, {', '.join(MICROSECONDS)}")
    if said != "auto" and not is_assumed:
        return Found(said)
    if known is not None:
        return Found(known)
    if said != "auto":
        return Found(said, "as in training")
    sample = t[:: max(1, len(t) // SAMPLE)].astype(np.float64)
    low, high = float(t.min()), float(t.max())
    whole = not (sample % 1).any()
    thousands = whole and high > low and not (sample % 1000).any()
    fine = {unit: _step_fits(sample, step) for unit, step in (("s", 1e-6), ("ms", 1e-3))}
    if whole:
        penalty = {"s": 4.0, "ms": 2.0, "us": 1.0 if thousands else 0.0, "ns": 0.0 if thousands else 1.5}
    else:
        penalty = {"s": 0.0, "ms": 0.3 if fine["ms"] else 2.0 if fine["s"] else 1.2, "us": 2.0, "ns": 3.0}
        penalty["s"] += 0.5 if fine["ms"] else 0.0 if fine["s"] else 0.2
    for unit, factor in MICROSECONDS.items():
        seconds = (high - low) * factor / 1e6
        if 0 < seconds < math.inf:
            rate = math.log10(len(t)) - math.log10(seconds)
            penalty[unit] += max(0.0, math.log10(USUAL_RATE[0]) - rate, rate - math.log10(USUAL_RATE[1]))
        if 1e9 <= low * factor / 1e6 <= 4e9:  # years 2001 to 2096
            penalty[unit] -= 2
    best, second = sorted(penalty, key=penalty.__getitem__)[:2]
    sure = high > low and penalty[second] - penalty[best] >= 1 and penalty[best] <= 1
    return Found(best, "likely" if sure else "a guess")


def _step_fits(sample: np.ndarray, step: float) -> bool:
    """Whether all values are multiples of a step, within their precision."""
    counts = sample / step
    blur = np.abs(sample).max() / step * 2.0**-50
    return blur < 0.1 and bool((np.abs(counts - np.rint(counts)) <= 1e-3 + blur).all())


def sensor_size(
    x_high: int,
    y_high: int,
    said: tuple[int, int] | None,
    known: tuple[int, int] | None,
    usual: Sensor | None = None,
) -> tuple[tuple[int, int], str]:
    """(height, width) as said, else as the file says, else as usual, else of the smallest known sensor.

    A usual or known sensor must hold all events; the usual one is not taken if events reach the borders of a
    smaller one.

    Returns the size and how it was found.
    """
    if said is not None:
        return said, "as said"
    if known is not None:
        return known, "from the file"
    for width, height, label in KNOWN_SENSORS:
        if x_high < width and y_high < height:
            is_reached = min((x_high + 1) / width, (y_high + 1) / height) > _REACHED
            if (
                usual is not None
                and not is_reached
                and x_high < usual.size_hw[1]
                and y_high < usual.size_hw[0]
            ):
                return usual.size_hw, f"guessed: {usual.label}"
            return (height, width), f"guessed: {label}"
    return (y_high + 1, x_high + 1), "guessed: what the events cover"
