"""Images behind a linear polarizer: several files as one input, and their Stokes parameters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ktb.inputs.encoders.depth import require_picture
from ktb.inputs.encoders.image import one_channel
from ktb.inputs.limits import InputError, check_bytes
from ktb.inputs.types import RawX

ANGLES = (0, 45, 90, 135)
"""Polarizer angles in degrees, in the order of the channels of a four-channel array."""

OF_ONE_PAIR = "remove files of another pair, and save those of this one in one size and type"
_MEAN = (1 / 3, 1 / 3, 1 / 3)
_ALLOWANCE = 1.001  # rounding may lift a sine above 1


@dataclass(frozen=True, eq=False)
class Stokes:
    """Linear Stokes parameters (H, W) float32 of polarizer images; NaN without light.

    S0 = I0 + I90, S1 = I0 - I90, S2 = I45 - I135. `saturated`: share of pixels that are white in a picture;
    `disagreement`: how much I45 + I135 differs from S0 on average, as a share.
    """

    s0: np.ndarray
    s1: np.ndarray
    s2: np.ndarray
    saturated: float
    disagreement: float

    @property
    def degree(self) -> np.ndarray:
        """Degree of linear polarization, sqrt(S1² + S2²) / S0, at most 1."""
        return np.minimum(np.hypot(self.s1, self.s2) / self.s0, 1)

    @property
    def double_angle(self) -> np.ndarray:
        """Twice the angle of linear polarization, in radians: atan2(S2, S1)."""
        return np.arctan2(self.s2, self.s1)


def stokes(intensities: np.ndarray, name: str = "the pictures behind a polarizer") -> Stokes:
    """Stokes parameters of (H, W, 4) intensities at 0, 45, 90 and 135 degrees, integers or floats.

    Raises:
        InputError: negative values, or no light at all.
    """
    i0, i45, i90, i135 = (np.ascontiguousarray(i, np.float32) for i in np.moveaxis(intensities, -1, 0))
    if min(np.nanmin(i) for i in (i0, i45, i90, i135)) < 0:
        raise InputError(f"{name}: negative intensities; give the pictures as the camera stored them")
    s0 = i0 + i90
    lit = (s0 > 0) & np.isfinite(s0 + i45 + i135)
    if not lit.any():
        raise InputError(f"{name}: no pixel has light at 0 and 90 degrees; check the files")
    s0 = np.where(lit, s0, np.float32(np.nan))
    other = np.abs(i45 + i135 - s0)
    disagreement = float(np.nansum(other) / np.nansum(s0))
    white = _white(intensities)
    saturated = 0.0 if white is None else float((intensities >= white).any(axis=-1).mean())
    hole = s0 * 0
    return Stokes(s0, i0 - i90 + hole, i45 - i135 + hole, saturated, disagreement)


def join_files(parts: Sequence[RawX]) -> RawX:
    """Combine several files into one input.

    Four pictures become kind "angles", (H, W, 4): the angles are the numbers 0, 45, 90 and 135 in the names,
    such as glass_45.tif, i90.png or pol000.png. Two become kind "sin_cos", (H, W, 2): sine and cosine of
    twice the angle of polarization; which is which say the words sin and cos in the names, else the order.
    Colour pictures count by the mean of their channels.

    Raises:
        InputError: sizes or types that differ, names without the angles, two files that are no sine and
            cosine, files that are no pictures.
    """
    names = ", ".join(part.name for part in parts)
    for part in parts:
        require_picture(part, "one of several pictures")
    if len({part.size_hw for part in parts}) > 1:
        sizes = ", ".join(f"{part.name} {part.size_hw[1]} x {part.size_hw[0]}" for part in parts)
        raise InputError(f"the files of one X input differ in size: {sizes}; {OF_ONE_PAIR}")
    if len({part.data.dtype for part in parts}) > 1:
        types = ", ".join(f"{part.name} {part.data.dtype}" for part in parts)
        raise InputError(f"the files of one X input differ in type: {types}; {OF_ONE_PAIR}")
    if len(parts) not in (2, 4):
        raise InputError(
            f"{len(parts)} files ({names}) are no X input; give one, two or four, and {OF_ONE_PAIR}"
        )
    check_bytes(sum(part.data.nbytes for part in parts), names)
    channels = [one_channel(part.data, _MEAN) for part in parts]
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    if any(colour for _, colour in channels):
        notes += ("The pictures behind the polarizer are in colour: the mean of their channels is used.",)
    planes = [plane for plane, _ in channels]
    format_ = f"{len(parts)} x {parts[0].format}"
    if len(parts) == 4:
        order = _angle_order([part.name for part in parts])
        facts = {"angles": ", ".join(f"{a}°: {parts[i].name}" for a, i in zip(ANGLES, order))}
        data = np.stack([planes[i] for i in order], axis=-1)
        return RawX(data, format_, parts[order[0]].name, "angles", facts, notes)
    order, sure = _sine_first(parts, planes, names)
    if not sure:
        notes += (
            f"{parts[0].name} was taken for the sine, as it was given first, the other for the cosine.",
        )
    facts = {"files": f"sine: {parts[order[0]].name}, cosine: {parts[order[1]].name}"}
    data = np.stack([planes[i] for i in order], axis=-1)
    return RawX(data, format_, parts[order[0]].name, "sin_cos", facts, notes)


def require_sine(values: np.ndarray, name: str) -> None:
    """InputError unless the values are floats in -1..1, NaN aside."""
    if values.dtype.kind != "f":
        raise InputError(f"{name}: sine and cosine as {values.dtype}; give floats in -1..1")
    if np.isnan(values).all():
        raise InputError(f"{name}: all is NaN; check the file")
    low, high = np.nanmin(values), np.nanmax(values)
    if low < -_ALLOWANCE or high > _ALLOWANCE:
        raise InputError(f"{name}: values {low:g}..{high:g} are no sine or cosine, which are -1 to 1")


def _angle_order(names: Sequence[str]) -> list[int]:
    """Assign names to 0, 45, 90 and 135 degrees by their last number that yields exactly these."""
    numbers = [[int(digits) for digits in re.findall(r"\d+", _stem(name))] for name in names]
    for place in range(1, min(map(len, numbers)) + 1):
        found = [row[-place] for row in numbers]
        if sorted(found) == list(ANGLES):
            return [found.index(angle) for angle in ANGLES]
    raise InputError(
        f"the names {', '.join(names)} do not tell the angles of the polarizer; name the files by them, such "
        "as glass_0.png, glass_45.png, glass_90.png and glass_135.png"
    )


def _sine_first(parts: Sequence[RawX], planes: Sequence[np.ndarray], names: str) -> tuple[list[int], bool]:
    """The order with the sine first, and whether the names determine it."""
    words = [tuple(word in _stem(part.name).lower() for word in ("sin", "cos")) for part in parts]
    sure = words in ([(True, False), (False, True)], [(False, True), (True, False)])
    is_pair = sure or all(plane.dtype.kind == "f" for plane in planes)
    if is_pair:
        for plane, part in zip(planes, parts):
            require_sine(plane, part.name)
        off = np.abs(planes[0].astype(np.float32) ** 2 + planes[1].astype(np.float32) ** 2 - 1)
        is_pair = sure or np.nanmedian(off) < 0.05
    if not is_pair:
        raise InputError(
            f"{names}: two files as X must be the sine and the cosine of twice the angle of polarization, "
            "and these are not; remove the file of another pair, or give four pictures behind a polarizer"
        )
    return ([1, 0] if sure and words[0][1] else [0, 1]), sure


def _stem(name: str) -> str:
    return re.sub(r"\.[A-Za-z]\w*$", "", name)


def _white(intensities: np.ndarray) -> float | None:
    """The saturation value of an 8, 10, 12, 14 or 16-bit sensor, if any pixel reaches it."""
    top = float(np.nanmax(intensities))
    if intensities.dtype.kind == "f":
        return top if top in (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0) else None
    bits = next((b for b in (8, 10, 12, 14, 16) if top < 2**b), None)
    # Sensors of 12 bits often fill the upper ones of 16: their white is 4095 x 16.
    return top if bits is not None and top >= 0.995 * (2**bits - 1) else None
