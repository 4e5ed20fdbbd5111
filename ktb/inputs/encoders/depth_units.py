"""Units of stored depth, and detection of a file's unit."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from ktb.inputs.types import Confidence

NEAR_DARK, NEAR_BRIGHT = "8-bit near dark (255 = 10 m)", "8-bit near bright"

DEPTH_UNITS: Mapping[str, str] = MappingProxyType({
    "mm": "millimetres", "0.1mm": "tenths of a millimetre", "cm": "centimetres",
    "1/5000m": "1/5000 m (TUM)", "1/256m": "1/256 m (KITTI)", "m": "metres",
    NEAR_DARK: "8-bit, near dark, 255 = 10 m", NEAR_BRIGHT: "8-bit, near bright, 1 = 10 m",
    "sun": "bit-rotated millimetres (SUN RGB-D)",
})  # fmt: skip
"""Units of a depth file and their names for display; "auto" guesses among them."""

PER_METRE: Mapping[str, float] = MappingProxyType(
    {"mm": 1000.0, "0.1mm": 10_000.0, "cm": 100.0, "1/5000m": 5000.0, "1/256m": 256.0, "m": 1.0}
)

_FEW_LEVELS = 32  # with fewer, a common divisor may be chance


def guess_unit(raw: np.ndarray, valid: np.ndarray, levels: np.ndarray | None) -> tuple[str, Confidence, str]:
    """Unit, confidence, and what the guess rests on; the rule of
    `ktb.inputs.encoders.depth.read_depth_metres`.

    Bounds are medians of rooms and streets, 0.3 to 20 m.

    Args:
        raw: (H, W) numbers; valid: (H, W) bool, True somewhere.
        levels: the different measured values in ascending order, None for other than 16-bit integers.
    """
    values = raw[valid]
    median, top = float(np.median(values)), float(values.max())
    if raw.dtype.kind == "f":
        return _guess_float(median, top)
    if top <= 255:
        rises = below_to_above(raw, valid) > 1
        where = "brighter" if rises else "darker, or no brighter,"
        why = f"values up to {top:.0f}, {where} at the bottom, where the floor is near"
        return (NEAR_BRIGHT if rises else NEAR_DARK), "guess", why
    if levels is not None and len(levels) >= _FEW_LEVELS:
        if np.mean(levels % 8 == 0) >= 0.99:
            return "sun", "likely", "levels are multiples of 8, as bits rotated by 3 make them"
        if np.gcd.reduce(levels) == 5 and median >= 1500:
            return "1/5000m", "likely", "levels are multiples of 5, as TUM's scale makes them of millimetres"
    found = f"integers with a median of {median:,.0f}"
    if top < 65536 and raw.shape[1] >= 2.5 * raw.shape[0] and 77 <= median <= 25_600:
        return "1/256m", "guess", f"at least 2.5 times as wide as high, as KITTI's pictures; {found}"
    if median > 10_000:
        return "0.1mm", "guess", f"{found}: more than 10 m if these were millimetres"
    return "mm", ("likely" if median >= 300 else "guess"), found


def _guess_float(median: float, top: float) -> tuple[str, Confidence, str]:
    found = f"floats with a median of {median:.4g}"
    if median > 100:
        # Between 100 and 500 they may be centimetres as well.
        return "mm", ("likely" if median >= 500 else "guess"), f"{found}: too far for metres"
    if top <= 1:
        return "m", "guess", f"{found}, none above 1: near measurements, or a normalised map"
    return "m", "likely", found


def below_to_above(raw: np.ndarray, valid: np.ndarray) -> float:
    """Median of the lowest fifth of the rows over that of the uppermost; 1 where one has no measurement.

    Of the 1,122 indoor frames of NYU at hand, depth rises downwards in 2.5 %.
    """
    rows = max(1, raw.shape[0] // 5)
    upper, lower = raw[:rows][valid[:rows]], raw[-rows:][valid[-rows:]]
    return float(np.median(lower) / np.median(upper)) if upper.size and lower.size else 1.0
