"""Units of all modalities: the allowed ones, their canonical spelling, and their names for display."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from ktb.config import Stored
from ktb.inputs.encoders.depth_units import DEPTH_UNITS, depth_unit, depth_unit_name
from ktb.inputs.encoders.polarization import AOLP_UNITS, DOLP_UNITS
from ktb.inputs.encoders.thermal import THERMAL_UNITS, thermal_unit, thermal_unit_name
from ktb.inputs.events.stream import EventStream
from ktb.inputs.limits import InputError
from ktb.inputs.types import RawX
from ktb.modalities import MODALITIES, Modality
from ktb.utils.text import did_you_mean

_SAMPLE = 50_000  # pixels that tell the kind of numbers
_MOST_METRES = 100  # whole floats up to this may be measurements, above they are levels

UNITS: Mapping[Modality, Mapping[str, str]] = MappingProxyType(
    {
        "depth": DEPTH_UNITS,
        "hha": DEPTH_UNITS,
        "thermal": THERMAL_UNITS,
        "dolp": DOLP_UNITS,
        "aolp": AOLP_UNITS,
    }
)
"""Units and their names by modality, in addition to "auto"; depth and thermal also take scales."""


def checked_unit(modality: Modality, said: str | float) -> str:
    """The canonical spelling of a unit that a user said for X of a modality.

    Raises:
        InputError: the modality has no units, or this is none of them.
    """
    if said == "auto":
        return "auto"
    if modality in ("depth", "hha"):
        return depth_unit(said)
    if modality == "thermal":
        return thermal_unit(str(said))
    units = UNITS.get(modality, {})
    if said in units:
        return str(said)
    noun = MODALITIES[modality].noun
    if not units:
        raise InputError(f"unit {said!r}: X as {noun} has no unit; leave it out")
    near = did_you_mean(str(said), units)
    raise InputError(f"unit {said!r} is none of {noun}; choose auto or one of {', '.join(units)}.{near}")


def unit_name(modality: Modality, unit: str) -> str:
    """The name for display of a unit from `checked_unit`."""
    if modality in ("depth", "hha"):
        return depth_unit_name(unit)
    if modality == "thermal":
        return thermal_unit_name(unit)
    return UNITS.get(modality, {}).get(unit, unit)


def kind_of(raw: RawX) -> Stored:
    """The kind of numbers of a raw X, to which a unit belongs; "any" for events."""
    if isinstance(raw.data, EventStream):
        return "any"
    data = raw.data
    sample = data.reshape(-1)[:: max(1, data.size // _SAMPLE)]
    if data.dtype.kind == "f":
        finite = sample[np.isfinite(sample)]
        is_whole = finite.size and not (finite % 1).any() and finite.max() > _MOST_METRES
        return "levels" if is_whole else "float"
    return "8-bit" if data.dtype.itemsize == 1 or _is_eight_in_sixteen(data, sample) else "levels"


def _is_eight_in_sixteen(data: np.ndarray, sample: np.ndarray) -> bool:
    if data.dtype != np.uint16:
        return False
    factor = next((factor for factor in (257, 256) if not (sample % factor).any()), None)
    return factor is not None and not (data % factor).any() and np.unique(data).size >= 16
