"""Values that stand for "not measured": found before any unit or range is guessed."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ktb.inputs.histogram import ends

SENTINELS = frozenset(
    (-9999, -99999, -9999999, -999, -32768, -32767, -(2**31), -1e32, 9999, 99999, 32767, 65535, 2**31 - 1)
)
"""No-data values of GDAL, ESRI, photogrammetry programs and cameras."""
_ABSURD = 1e9  # no sensor's value; renderers and GDAL's float minimum
_GAP = 1 / 16  # of the other values' span: a known no-data value is farther from all others
_FILLER_GAP = 1.0  # likewise for a constant that is no known one
_FILLER_SHARES = 0.005, 0.5  # at the low and at the high end, where a sensor's range may end
_INNER_SHARE = 0.25  # of a constant among the other values
_INNER_LEAD = 20.0  # it is so many times as frequent as the next value
_MANY_VALUES = 64
_ENOUGH = 200_000  # pixels to look for the most frequent value
_MAX_KINDS = 4


@dataclass(frozen=True, eq=False)
class NoData:
    """Pixels without a measurement: (H, W) bool, and the constants that mark them, in words ("" for none)."""

    holes: np.ndarray
    what: str


def find_no_data(data: np.ndarray, zero: bool = False) -> NoData:
    """Find NaN, infinite and absurd values, known no-data values, and a constant that fills the image's rest.

    A known no-data value counts only if it is the lowest or highest value and far from all others; another
    constant at an end only if it is frequent and even farther. A constant among the other values counts
    if it fills a quarter of the image while these hardly repeat. 8-bit images have no such values.

    Args:
        data: (H, W) integers or floats.
        zero: whether 0 is a known no-data value; not where it is black.
    """
    holes = ~np.isfinite(data)
    if data.dtype.kind == "f":
        holes |= np.abs(data) >= _ABSURD
    if data.dtype.itemsize == 1 or holes.all():
        return NoData(holes, "")
    found = []
    for _ in range(_MAX_KINDS):
        value = next(_fillers(data, holes, zero), None)
        if value is None:
            break
        holes = holes | (data == value)
        found.append(f"{value:,.10g}")
    return NoData(holes, " and ".join(found))


def _fillers(data: np.ndarray, holes: np.ndarray, zero: bool) -> Iterator[float]:
    """Constants of the remaining pixels that are no measurements."""
    values = data[~holes]
    low, high = values.min(), values.max()
    if not low < high:
        return
    for end, is_low in ((low, True), (high, False)):
        is_other = values != end
        is_known = float(end) in SENTINELS or (zero and end == 0)
        is_frequent = values.size - np.count_nonzero(is_other) >= _FILLER_SHARES[not is_low] * data.size
        if not (is_known or is_frequent):
            continue
        others = values[is_other]
        span = _span(others)
        nearest = float(others.min() if is_low else others.max())
        gap = abs(nearest - float(end))
        if is_known and gap > _GAP * span:
            yield end.item()
        if is_frequent and gap > _FILLER_GAP * span and _varies(others):
            yield end.item()
    inner = _inner_constant(values, low, high)
    if inner is not None:
        yield inner


def _span(values: np.ndarray) -> float:
    """Span of nearly all values, at least 1 for numbers above 1: one outlier does not count."""
    low, high = ends(values, 0.5, 99.5)
    return max(high - low, 1.0 if max(abs(low), abs(high)) > 1 else 1e-3)


def _varies(values: np.ndarray) -> bool:
    return np.unique(values[:: max(1, values.size // _ENOUGH)]).size >= _MANY_VALUES


def _inner_constant(values: np.ndarray, low: np.generic, high: np.generic) -> float | None:
    """The constant strictly within the range that fills much of the image; a clamp lies at its end."""
    taken = values[:: max(1, values.size // _ENOUGH)]
    distinct, counts = np.unique(taken, return_counts=True)
    if distinct.size < _MANY_VALUES:
        return None
    most = int(counts.argmax())
    value, count = distinct[most], int(counts[most])
    counts[most] = 0
    leads = count >= _INNER_SHARE * taken.size and count >= _INNER_LEAD * int(counts.max())
    return value.item() if leads and low < value < high else None
