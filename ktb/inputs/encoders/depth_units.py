"""Units of stored depth, scales beside them, and detection of a file's unit."""

import re
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from ktb.inputs.histogram import ends
from ktb.inputs.limits import InputError
from ktb.inputs.types import Confidence
from ktb.modalities import NEAR_DARK
from ktb.utils.text import did_you_mean

NEAR_BRIGHT = "8-bit near bright"

DEPTH_UNITS: Mapping[str, str] = MappingProxyType({
    "mm": "millimetres", "0.1mm": "tenths of a millimetre", "cm": "centimetres",
    "1/5000m": "1/5000 m (TUM)", "1/256m": "1/256 m (KITTI)", "m": "metres",
    NEAR_DARK: "8-bit, near dark, 255 = 10 m", NEAR_BRIGHT: "8-bit, near bright, 1 = 10 m",
    "sun": "bit-rotated millimetres (SUN RGB-D)",
})  # fmt: skip
"""Units of a depth file and their names for display; "auto" guesses among them. `depth_unit` adds scales."""

PER_METRE: Mapping[str, float] = MappingProxyType(
    {"mm": 1000.0, "0.1mm": 10_000.0, "cm": 100.0, "1/5000m": 5000.0, "1/256m": 256.0, "m": 1.0}
)

SCALES = "a scale, as levels per metre (6553.5 or 1/6553.5m) or as the size of a level (0.25mm)"
"""What a unit may be in addition to the keys of DEPTH_UNITS, for messages."""

_FEW_LEVELS = 32  # with fewer, a common divisor may be chance
_SCENE_MEDIANS = (0.3, 20.0)  # metres, of rooms and streets
_SCENE_END = 1.0  # metres: something in a room or street is farther away
_NEAR_CENTIMETRES, _NEAR_MILLIMETRES = 30.0, 200.0  # floats whose near tenth is beyond these
_SKY_SHARE, _SKY_GAP = 0.01, 4
_WIDE = 2.5  # width over height of KITTI's images
_METRES = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "µm": 1e-6, "μm": 1e-6}
_SCALE = re.compile(r"(1[/:])?(\d+(?:[.,]\d*)?(?:e[+-]?\d+)?)(/m|m|cm|mm|um|µm|μm)?", re.IGNORECASE)
_PER_METRE_BOUNDS = (0.01, 1e9)


def depth_unit(said: str | float) -> str:
    """The unit of depth that a user said: a key of DEPTH_UNITS, or "1/NUMBERm" for any other scale.

    A scale is a number of levels per metre ("6553.5", "6553.5/m", "1/6553.5m") or the size of a level
    ("0.25mm", "0.00025m"). A bare number below 1 is the size of a level in metres, as nothing else is usual.

    Raises:
        InputError: it is neither a unit nor a scale.
    """
    if said in DEPTH_UNITS:
        return str(said)
    found = _SCALE.fullmatch(re.sub(r"\s+", "", str(said)))
    number = float(found[2].replace(",", ".")) if found else 0.0
    if found and number > 1e-12:
        part, suffix = found[1], (found[3] or "").lower()
        if suffix == "/m" or (not suffix and (part or number > 1)):
            levels = number
        else:
            size = (1 / number if part else number) * _METRES[suffix or "m"]
            levels = 1 / size
        if (suffix != "/m" or not part) and _PER_METRE_BOUNDS[0] <= levels <= _PER_METRE_BOUNDS[1]:
            return _canonical(levels)
    near = did_you_mean(str(said), DEPTH_UNITS)
    raise InputError(
        f"depth unit {said!r}: choose auto or one of {', '.join(DEPTH_UNITS)}; or {SCALES}.{near}"
    )


def _canonical(levels: float) -> str:
    """The unit of so many levels per metre: a key of PER_METRE, or "1/NUMBERm" with 12 digits."""
    same = (unit for unit, known in PER_METRE.items() if abs(levels / known - 1) < 1e-9)
    return next(same, f"1/{levels:.12g}m")


def per_metre(unit: str) -> float:
    """Levels per metre of a unit from `depth_unit` that is a scale."""
    return PER_METRE.get(unit) or float(unit.removeprefix("1/").removesuffix("m"))


def depth_unit_name(unit: str) -> str:
    """The name for display of a unit from `depth_unit`."""
    if unit in DEPTH_UNITS:
        return DEPTH_UNITS[unit]
    levels = per_metre(unit)
    return f"1/{levels:.7g} m, {1000 / levels:.4g} mm per level"


def guess_unit(raw: np.ndarray, valid: np.ndarray, levels: np.ndarray | None) -> tuple[str, Confidence, str]:
    """Unit, confidence, and what the guess rests on; the rule of
    `ktb.inputs.encoders.depth.read_depth_metres`.

    "likely": in every other unit the scene would be no room and no street (a median of 0.3 to 20 m), or the
    levels rule it out.

    Args:
        raw: (H, W) numbers; valid: (H, W) bool, True somewhere, False for the sky.
        levels: the different measured values in ascending order, None for other than 16-bit integers.
    """
    values = raw[valid]
    median, (near, far) = float(np.median(values)), ends(values, 10, 99)
    if raw.dtype.kind == "f":
        return _guess_float(near, median, far)
    if values.max() <= 255:
        rises = below_to_above(raw, valid) > 1
        where = "brighter" if rises else "darker, or no brighter,"
        why = f"values up to {values.max():.0f}, {where} at the bottom, where the floor is near"
        return (NEAR_BRIGHT if rises else NEAR_DARK), "guess", why
    if levels is not None and len(levels) >= _FEW_LEVELS:
        if np.mean(levels % 8 == 0) >= 0.99:
            return "sun", "likely", "levels are multiples of 8, as bits rotated by 3 make them"
        if np.gcd.reduce(levels) == 5 and median >= 1500:
            return "1/5000m", "likely", "levels are multiples of 5, as TUM's scale makes them of millimetres"
    found = f"integers with a median of {median:,.0f}"
    is_wide = raw.shape[1] >= _WIDE * raw.shape[0]
    if values.max() < 65536 and is_wide and 77 <= median <= 25_600:
        return "1/256m", "guess", f"at least 2.5 times as wide as high, as KITTI's pictures; {found}"
    if median > 10_000:
        return "0.1mm", "guess", f"{found}: more than 10 m if these were millimetres"
    return "mm", *_certainty("mm", ("cm", "0.1mm"), found, median, far)


def _guess_float(near: float, median: float, far: float) -> tuple[str, Confidence, str]:
    """The unit of floats by their near tenth: much of the image may be sky."""
    found = f"floats with a median of {median:,.4g}"
    if near > _NEAR_MILLIMETRES:
        return "mm", *_certainty("mm", ("cm",), f"{found}, the near tenth too far for metres", median, far)
    if near > _NEAR_CENTIMETRES:
        return "cm", "guess", f"{found}: too far for metres of a room or street, too near for millimetres"
    if far <= 1:
        return "m", "guess", f"{found}, hardly any above 1: near measurements, or a normalised map"
    return "m", *_certainty("m", ("cm", "mm"), found, median, far)


def _certainty(
    unit: str, others: tuple[str, ...], found: str, median: float, far: float
) -> tuple[Confidence, str]:
    """Confidence in a unit, and why: which other units would show a room or street as well."""
    scenes = [other for other in others if _is_scene(median / PER_METRE[other], far / PER_METRE[other])]
    is_scene = _is_scene(median / PER_METRE[unit], far / PER_METRE[unit])
    if not scenes:
        return ("likely" if is_scene else "guess"), found
    as_others = ", ".join(f"{median / PER_METRE[other]:.3g} m in {DEPTH_UNITS[other]}" for other in scenes)
    return "guess", f"{found}: {median / PER_METRE[unit]:.3g} m in {DEPTH_UNITS[unit]}, but {as_others}"


def _is_scene(median: float, far: float) -> bool:
    return _SCENE_MEDIANS[0] <= median <= _SCENE_MEDIANS[1] and far >= _SCENE_END


def find_sky(values: np.ndarray) -> float | None:
    """The constant that renderers and sensors write for what is beyond reach, None without one.

    It is the highest value, fills 1 % of the measured pixels or more, and lies far beyond all others. It is
    far away, but no distance: a unit must not be guessed from it. 8-bit images have none.

    Args:
        values: (N,) the measured ones, N > 0.
    """
    if values.dtype.itemsize == 1:
        return None
    top = values.max()
    count = np.count_nonzero(values == top)
    if count == values.size or count < _SKY_SHARE * values.size:
        return None
    others = values[values < top]
    return top.item() if float(top) > _SKY_GAP * float(others.max()) else None


def below_to_above(raw: np.ndarray, valid: np.ndarray) -> float:
    """Median of the lowest fifth of the rows over that of the uppermost; 1 where one has no measurement.

    Of the 1,122 indoor frames of NYU at hand, depth rises downwards in 2.5 %.
    """
    rows = max(1, raw.shape[0] // 5)
    upper, lower = raw[:rows][valid[:rows]], raw[-rows:][valid[-rows:]]
    return float(np.median(lower) / np.median(upper)) if upper.size and lower.size else 1.0
