"""The order of bytes in images, doubted where neighbouring pixels say so."""

from dataclasses import replace

import numpy as np

from ktb.inputs.events.stream import EventStream
from ktb.inputs.histogram import ends
from ktb.inputs.limits import InputError
from ktb.inputs.options import ByteOrder, XOptions
from ktb.inputs.types import RawX

_ENDS = (0, 65535, 32768, 32767, 128, 65407, 255)  # no-data values in either order
_ROUGH, _SMOOTH = 4.0, 0.25
_ENOUGH = 1000  # pairs of neighbours
_FEW, _MANY = 4, 24  # different values of one byte
_PAIRS = 400_000
_SANE = (1e-6, 1e9)  # magnitudes of measurements in any unit
_SWAPPED = (
    "The bytes of each value were in the wrong order, as neighbouring pixels show: as stored they jump by "
    "multiples of 256. They were swapped. Say stored if they were right (Byte order on the page, "
    "--byte-order on the command line)."
)


def in_order(raw: RawX, options: XOptions) -> RawX:
    """A raw X in the byte order that the user says, else swapped with a note if it looks swapped.

    Raises:
        InputError: a swap of values of one byte, or of events.
    """
    data, said = raw.data, options.byte_order
    if said == "stored" or (said == "auto" and (isinstance(data, EventStream) or not looks_swapped(data))):
        return raw
    if isinstance(data, EventStream) or data.dtype.itemsize == 1:
        raise InputError(f"{raw.name}: values of one byte, or events, have no byte order; leave it auto")
    sure = "certain" if said == "swapped" else "likely"
    facts = {**raw.facts, "byte order": f"swapped ({sure})"}
    notes = (*raw.notes, _SWAPPED) if said == "auto" else raw.notes
    return replace(raw, data=np.ascontiguousarray(data).byteswap(), facts=facts, notes=notes)


def order_of(data: np.ndarray) -> ByteOrder:
    """ "stored" or "swapped" if neighbouring pixels tell the order of bytes, else "auto"."""
    if looks_swapped(data):
        return "swapped"
    tells = data.dtype.kind in "ui" and data.dtype.itemsize == 2 and looks_swapped(data.byteswap())
    return "stored" if tells else "auto"


def looks_swapped(data: np.ndarray) -> bool:
    """Whether the bytes of each value are in the wrong order.

    16-bit integers: either neighbours differ little for the spread of the values only after a swap, or the
    values jump by multiples of 256 alone, from another start than 0. 32-bit floats: most values are absurd
    as stored.

    Args:
        data: (H, W) or (H, W, C); for other types the answer is no.
    """
    if data.dtype == np.float32:
        return _floats_look_swapped(data)
    if data.dtype.kind not in "ui" or data.dtype.itemsize != 2 or data.ndim not in (2, 3):
        return False
    first, second = _neighbours(data.view(np.uint16))
    if first.size < _ENOUGH:
        return False
    lower, upper = np.unique(first & 255), np.unique(first >> 8)
    if lower.size <= _FEW and upper.size >= _MANY and not np.isin(lower, (0, 127, 128, 255)).any():
        return True
    if not (lower.size > _FEW and upper.size > 1):
        return False  # 8 bits, in whichever byte
    as_stored = _roughness(first, second)
    swapped = _roughness(first.byteswap(), second.byteswap())
    return swapped < _SMOOTH and as_stored > _ROUGH * swapped


def _floats_look_swapped(data: np.ndarray) -> bool:
    """Whether hardly any value is a measurement as stored, and nearly all are after a swap."""
    taken = data.ravel()[:: max(1, data.size // _PAIRS)]
    return _sane_share(taken) < 0.5 and _sane_share(taken.byteswap()) > 0.95


def _sane_share(values: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):
        size = np.abs(values)
        return float(np.mean((values == 0) | np.isnan(values) | ((size > _SANE[0]) & (size < _SANE[1]))))


def _neighbours(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values of pairs of pixels side by side, without pairs of no-data values: two (N,) uint16."""
    if data.ndim == 3:
        data = data[..., 0]
    rows = data[:: max(1, data.size // _PAIRS)]
    first, second = rows[:, :-1].ravel(), rows[:, 1:].ravel()
    measured = ~(np.isin(first, _ENDS) | np.isin(second, _ENDS))
    return first[measured], second[measured]


def _roughness(first: np.ndarray, second: np.ndarray) -> float:
    """Mean difference of neighbours as a share of the values' spread; 1/3 and more for random values."""
    low, high = ends(first, 1, 99)
    steps = np.abs(first.astype(np.int32) - second)
    return float(steps.mean() / max(high - low, 1.0))
