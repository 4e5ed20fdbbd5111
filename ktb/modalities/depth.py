"""Depth of any unit as metres, its holes, and the network's image of it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np

from ktb.config import InputConfig
from ktb.modalities.encoded import Encoded, histogram
from ktb.modalities.limits import InputError, check_layout
from ktb.modalities.options import XOptions
from ktb.modalities.raw import RawX

Confidence = Literal["certain", "likely", "guess"]

NEAR_DARK, NEAR_BRIGHT = "8-bit near dark (255 = 10 m)", "8-bit near bright"

DEPTH_UNITS: Mapping[str, str] = MappingProxyType({
    "mm": "millimetres", "0.1mm": "tenths of a millimetre", "1/5000m": "1/5000 m (TUM)",
    "1/256m": "1/256 m (KITTI)", "m": "metres", NEAR_DARK: "8-bit, near dark, 255 = 10 m",
    NEAR_BRIGHT: "8-bit, near bright, 1 = 10 m", "sun": "bit-rotated millimetres (SUN RGB-D)",
})  # fmt: skip
"""Units of a depth file and their names for display; "auto" guesses among them."""

_PER_METRE = {"mm": 1000.0, "0.1mm": 10_000.0, "1/5000m": 5000.0, "1/256m": 256.0, "m": 1.0, NEAR_DARK: 25.5}


@dataclass(frozen=True)
class DepthReading:
    """A depth map in metres, and how sure its unit is ("certain": chosen by the user).

    Attributes:
        metres: (H, W) float32, NaN where there is no measurement.
        unit: a key of DEPTH_UNITS.
        minimum, median, maximum: of the measured pixels, in metres.
        hole_share: 0..1.
    """

    metres: np.ndarray
    unit: str
    confidence: Confidence
    minimum: float
    median: float
    maximum: float
    hole_share: float


def read_depth_metres(raw: np.ndarray, unit: str = "auto") -> DepthReading:
    """Depth values as metres. 0, negative, 65535, NaN and infinite values are holes.

    unit "auto" guesses, first rule that fits:
        Values up to 255: near dark; near bright if the lower third of the picture (the near floor) is 1.25
        times as bright as the upper one.
        Float: metres, or mm if the median is above 100.
        16-bit: all levels multiples of 8 -> "sun"; of exactly 5 -> "1/5000m" (TUM scales millimetres by 5);
        at least 2.5 times as wide as high -> "1/256m"; median up to 10 000 -> "mm"; above -> "0.1mm". The
        multiples count only among 32 levels or more.

    Args:
        raw: (H, W), or (H, W, C) with equal channels; integers or floats.
        unit: "auto" or a key of DEPTH_UNITS.

    Raises:
        InputError: unknown unit, a unit that does not fit the dtype, a colour picture, or no measurement.
    """
    raw = _one_channel(_check_array(raw))
    if unit != "auto" and unit not in DEPTH_UNITS:
        raise InputError(f"depth unit {unit!r}: choose auto or one of {', '.join(DEPTH_UNITS)}")
    values = raw.astype(np.float32)
    valid = np.isfinite(values) & (values > 0) & (values != 65535)
    if not valid.any():
        raise InputError("the depth map has no measurement: all is 0, 65535, NaN or negative; check the file")
    unit, confidence = _guess_unit(raw, valid) if unit == "auto" else (unit, "certain")
    if unit in (NEAR_DARK, NEAR_BRIGHT) and values[valid].max() > 255:
        found = f"{values[valid].max():g}"
        raise InputError(f"unit {unit!r} is for values up to 255, found {found}; choose mm or auto")
    if unit == "sun":
        if raw.dtype.kind == "f" or values[valid].max() > 65535:
            raise InputError(f"unit 'sun' is for 16-bit integers, found {raw.dtype}; choose m, mm or auto")
        bits = np.where(valid, raw, 0).astype(np.uint16)
        metres = ((bits >> 3) | (bits << 13)).astype(np.float32) / 1000
    else:
        # Near bright: 255 is at least half a level away from the camera, so that it stays a measurement.
        metres = np.maximum(256 - values, 0.5) / 25.5 if unit == NEAR_BRIGHT else values / _PER_METRE[unit]
    metres = np.where(valid, metres, np.nan).astype(np.float32)
    low, middle, high = (float(f(metres[valid])) for f in (np.min, np.median, np.max))
    return DepthReading(metres, unit, confidence, low, middle, high, 1 - float(valid.mean()))


def fill_holes(metres: np.ndarray) -> np.ndarray:
    """Give every NaN the value of the nearest measured pixel.

    metres: (H, W) or (H, W, C) float32, stays as it is; returns a new array.

    Raises:
        InputError: no pixel has a value.
    """
    hole = np.isnan(metres) if metres.ndim == 2 else np.isnan(metres).any(axis=-1)
    if hole.all():
        raise InputError("the depth map has only holes, nothing to fill from; check the file and its unit")
    _, nearest = cv2.distanceTransformWithLabels(
        hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of = np.zeros((int(nearest.max()) + 1, *metres.shape[2:]), np.float32)
    value_of[nearest[~hole]] = metres[~hole]
    return value_of[nearest]


def encode_depth(metres: np.ndarray, max_metres: float = 10.0) -> np.ndarray:
    """Depth without holes (H, W) in metres -> (H, W, 3) float32: metres / max_metres, cut to 0..1.

    With 10 m this equals 8-bit depth of 25.5 levels per metre, divided by 255.

    Raises:
        InputError: NaN in metres, or max_metres is not a positive number.
    """
    if not (math.isfinite(max_metres) and max_metres > 0):
        raise InputError(f"max_metres = {max_metres}: give a positive distance in metres, such as 10")
    if np.isnan(metres).any():
        raise InputError("the depth map has holes (NaN); call fill_holes first")
    return np.repeat(np.clip(metres / max_metres, 0, 1).astype(np.float32)[..., None], 3, axis=-1)


def _check_array(raw: np.ndarray) -> np.ndarray:
    check_layout(raw.shape, raw.dtype)
    return raw.squeeze()


def _one_channel(raw: np.ndarray) -> np.ndarray:
    if raw.ndim == 2:
        return raw
    tolerance = 4 if raw.dtype == np.uint8 else 0  # JPEG does not keep equal channels equal
    if not np.quantile(np.ptp(raw[..., :3], axis=-1), 0.999) <= tolerance:
        raise InputError(
            "this depth map is in colour: it looks like a colourised depth map or an HHA picture. Give the "
            "measured depth (16-bit PNG, or .npy in metres), or say that X is HHA or a plain picture"
        )
    return raw[..., 0]


def _guess_unit(raw: np.ndarray, valid: np.ndarray) -> tuple[str, Confidence]:
    """The rule in read_depth_metres; bounds are medians of rooms and streets, 0.3 to 20 m."""
    values = raw[valid]
    median, top = float(np.median(values)), float(values.max())
    if raw.dtype.kind == "f":
        # A maximum of exactly 1 may as well be a normalised map.
        return ("mm", "likely") if median > 100 else ("m", "guess" if top == 1 else "likely")
    if top <= 255:
        third = raw.shape[0] // 3
        upper, lower = (part[part > 0] for part in (raw[:third], raw[-third:]))
        bright_below = upper.size and lower.size and np.median(lower) >= 1.25 * np.median(upper)
        return (NEAR_BRIGHT if bright_below else NEAR_DARK), "guess"
    if top < 65536:
        levels = np.flatnonzero(np.bincount(values.astype(np.uint16)))
        if len(levels) >= 32 and np.mean(levels % 8 == 0) >= 0.99:
            return "sun", "likely"
        if len(levels) >= 32 and np.gcd.reduce(levels) == 5 and median >= 1500:
            return "1/5000m", "likely"
        if raw.shape[1] >= 2.5 * raw.shape[0] and 77 <= median <= 25_600:
            return "1/256m", "guess"
    if median > 10_000:
        return "0.1mm", "guess"
    return "mm", ("likely" if median >= 300 else "guess")


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Depth for a checkpoint of encoding "depth"; holes stay NaN, they are filled at the photograph's size.

    Raises:
        InputError: as `read_depth_metres`.
    """
    depth = read_depth_metres(raw.data, options.unit)
    image = np.clip(depth.metres / inputs.max_metres, 0, 1)
    facts = {
        "unit": f"{DEPTH_UNITS[depth.unit]} ({depth.confidence})",
        "range": f"{depth.minimum:.2f} / {depth.median:.2f} / {depth.maximum:.2f} m (min / median / max)",
        "holes": f"{100 * depth.hole_share:.1f} %",
    }
    summary = f"{facts['unit']}: {facts['range']}, {facts['holes']} holes"
    return Encoded(
        image,
        depth.metres,
        summary,
        facts,
        histogram(depth.metres, "m"),
        interpolation="nearest",
        depth=depth,
        far_is_bright=False,
    )
