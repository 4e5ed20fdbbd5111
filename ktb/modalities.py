"""What an RGB or X file is, and how an X array becomes the three channels the network gets.

Way of an upload: `read_image_rgb` for the photo, `read_x` for the X array at full depth, `read_modal_x` for
the rest (unit, size, holes, channels, preview). What a user can get wrong raises ValueError with the remedy.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np

from ktb.config import Encoding
from ktb.image_files import check_layout, read_image_rgb, read_x
from ktb.visualize import scalar_to_colors

Confidence = Literal["certain", "likely", "guess"]

ASPECT_TOLERANCE = 0.02
NEAR_DARK, NEAR_BRIGHT = "8-bit near dark (255 = 10 m)", "8-bit near bright"

DEPTH_UNITS: Mapping[str, str] = MappingProxyType({
    "mm": "millimetres", "0.1mm": "tenths of a millimetre", "1/5000m": "1/5000 m (TUM)",
    "1/256m": "1/256 m (KITTI)", "m": "metres", NEAR_DARK: "8-bit, near dark, 255 = 10 m",
    NEAR_BRIGHT: "8-bit, near bright, 1 = 10 m", "sun": "bit-rotated millimetres (SUN RGB-D)",
})  # fmt: skip
"""Units of a depth file and their names for display; "auto" guesses among them."""

_PER_METRE = {"mm": 1000.0, "0.1mm": 10_000.0, "1/5000m": 5000.0, "1/256m": 256.0, "m": 1.0, NEAR_DARK: 25.5}


__all__ = [
    "DEPTH_UNITS",
    "NEAR_BRIGHT",
    "NEAR_DARK",
    "DepthOptions",
    "DepthReading",
    "Encoding",
    "XReading",
    "encode_depth",
    "encode_image",
    "fill_holes",
    "match_size",
    "read_depth_metres",
    "read_image_rgb",
    "read_modal_x",
    "read_x",
]


@dataclass(frozen=True)
class DepthOptions:
    """How depth becomes network input. max_metres: the distance that becomes 1.0; farther is cut to 1.0."""

    max_metres: float = 10.0


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


@dataclass(frozen=True)
class XReading:
    """An X input at the size of the RGB image.

    Attributes:
        image: (H, W, 3) float32 in 0..1, what the network gets.
        preview: (H, W, 3) uint8 RGB for display; depth is bright where near, grey where not measured.
        summary: one line.
        holes: (H, W) bool, or None if X is no depth.
        depth: its metres at the RGB size, its figures as measured at its own size; None if X is no depth.
    """

    image: np.ndarray
    preview: np.ndarray
    summary: str
    holes: np.ndarray | None
    depth: DepthReading | None


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
        ValueError: unknown unit, a unit that does not fit the dtype, a colour picture, or no measurement.
    """
    raw = _one_channel(_check_array(raw))
    if unit != "auto" and unit not in DEPTH_UNITS:
        raise ValueError(f"depth unit {unit!r}: choose auto or one of {', '.join(DEPTH_UNITS)}")
    values = raw.astype(np.float32)
    valid = np.isfinite(values) & (values > 0) & (values != 65535)
    if not valid.any():
        raise ValueError("the depth map has no measurement: all is 0, 65535, NaN or negative; check the file")
    unit, confidence = _guess_unit(raw, valid) if unit == "auto" else (unit, "certain")
    if unit in (NEAR_DARK, NEAR_BRIGHT) and values[valid].max() > 255:
        found = f"{values[valid].max():g}"
        raise ValueError(f"unit {unit!r} is for values up to 255, found {found}; choose mm or auto")
    if unit == "sun":
        if raw.dtype.kind == "f" or values[valid].max() > 65535:
            raise ValueError(f"unit 'sun' is for 16-bit integers, found {raw.dtype}; choose m, mm or auto")
        bits = np.where(valid, raw, 0).astype(np.uint16)
        metres = ((bits >> 3) | (bits << 13)).astype(np.float32) / 1000
    else:
        # Near bright: 255 is at least half a level away from the camera, so that it stays a measurement.
        metres = np.maximum(256 - values, 0.5) / 25.5 if unit == NEAR_BRIGHT else values / _PER_METRE[unit]
    metres = np.where(valid, metres, np.nan).astype(np.float32)
    low, middle, high = (float(f(metres[valid])) for f in (np.min, np.median, np.max))
    return DepthReading(metres, unit, confidence, low, middle, high, 1 - float(valid.mean()))


def fill_holes(metres: np.ndarray) -> np.ndarray:
    """Give every NaN the value of the nearest measured pixel. (H, W) float32, the input stays as it is.

    Raises:
        ValueError: no pixel has a value.
    """
    hole = np.isnan(metres)
    if hole.all():
        raise ValueError("the depth map has only holes, nothing to fill from; check the file and its unit")
    _, nearest = cv2.distanceTransformWithLabels(
        hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    value_of = np.zeros(int(nearest.max()) + 1, np.float32)
    value_of[nearest[~hole]] = metres[~hole]
    return value_of[nearest]


def encode_depth(metres: np.ndarray, max_metres: float = DepthOptions.max_metres) -> np.ndarray:
    """Depth without holes (H, W) in metres -> (H, W, 3) float32: metres / max_metres, cut to 0..1.

    With 10 m this equals 8-bit depth of 25.5 levels per metre, divided by 255.

    Raises:
        ValueError: NaN in metres, or max_metres is not a positive number.
    """
    if not (math.isfinite(max_metres) and max_metres > 0):
        raise ValueError(f"max_metres = {max_metres}: give a positive distance in metres, such as 10")
    if np.isnan(metres).any():
        raise ValueError("the depth map has holes (NaN); call fill_holes first")
    return np.repeat(np.clip(metres / max_metres, 0, 1).astype(np.float32)[..., None], 3, axis=-1)


def encode_image(raw: np.ndarray) -> np.ndarray:
    """An image of 1, 3 or 4 channels -> (H, W, 3) float32 in 0..1; one channel is repeated, alpha dropped.

    uint8 is divided by 255, uint16 by 65535; floats must be in 0..1 already.

    Raises:
        ValueError: another dtype or shape, or floats outside 0..1.
    """
    raw = _check_array(raw)
    if raw.dtype not in (np.uint8, np.uint16) and raw.dtype.kind != "f":
        raise ValueError(f"X image of dtype {raw.dtype}: give uint8, uint16, or floats in 0..1")
    if raw.dtype.kind == "f" and not (raw.min() >= 0 and raw.max() <= 1):  # false for NaN as well
        raise ValueError(
            f"X image with values {raw.min():g}..{raw.max():g}: floats must be in 0..1; divide by the "
            "sensor's maximum, or choose the encoding 'depth' if these are metres"
        )
    image = raw.astype(np.float32) / (np.iinfo(raw.dtype).max if raw.dtype.kind == "u" else 1)
    return np.repeat(image[..., None], 3, axis=-1) if image.ndim == 2 else image[..., :3]


def match_size(
    x: np.ndarray, size_hw: tuple[int, int], interpolation: Literal["nearest", "bilinear"]
) -> np.ndarray:
    """Resize (H, W) or (H, W, C) to size_hw (height, width), "nearest" for maps with holes.

    Raises:
        ValueError: the aspect ratios differ by more than 2 %.
    """
    (height, width), (to_height, to_width) = x.shape[:2], size_hw
    if abs(width * to_height / (height * to_width) - 1) > ASPECT_TOLERANCE:
        raise ValueError(
            f"the X input is {width} x {height} and the RGB image {to_width} x {to_height} (width x height): "
            "their proportions differ, so they cannot show the same view; crop both to the same view, or use "
            "an aligned pair"
        )
    if (height, width) == tuple(size_hw):
        return x
    mode = cv2.INTER_NEAREST_EXACT if interpolation == "nearest" else cv2.INTER_LINEAR
    return cv2.resize(x, (to_width, to_height), interpolation=mode)


def read_modal_x(
    raw: np.ndarray,
    encoding: Encoding,
    size_hw: tuple[int, int],
    unit: str = "auto",
    options: DepthOptions = DepthOptions(),
) -> XReading:
    """An X array as `read_x` gives it -> what the network gets, at the size of the RGB image.

    Args:
        raw: (H, W), (H, W, 3) or (H, W, 4).
        encoding: "depth" (metres, holes filled) or "image" (scaled to 0..1).
        size_hw: height and width of the RGB image.
        unit, options: for depth only.

    Raises:
        ValueError: unknown encoding, sizes that do not match, and what the functions above refuse.
    """
    if encoding == "image":
        image = match_size(encode_image(raw), size_hw, "bilinear")
        channels = raw.shape[2] if raw.ndim == 3 else 1
        low, middle, high = image.min(), np.median(image), image.max()
        summary = f"image, {raw.dtype}, {channels} channel{'s' * (channels > 1)}: "
        summary += f"{low:.2f} / {middle:.2f} / {high:.2f} of full scale (min / median / max)"
        return XReading(image, np.round(image * 255).astype(np.uint8), summary, None, None)
    if encoding != "depth":
        raise ValueError(f"encoding {encoding!r}: choose 'depth' or 'image'")
    depth = read_depth_metres(raw, unit)
    metres = match_size(depth.metres, size_hw, "nearest")
    image = encode_depth(fill_holes(metres), options.max_metres)
    near, far = np.nanpercentile(metres, (2, 98))
    preview = scalar_to_colors(metres, far, near)
    summary = (
        f"depth, {DEPTH_UNITS[depth.unit]} ({depth.confidence}): {depth.minimum:.2f} / {depth.median:.2f} / "
        f"{depth.maximum:.2f} m (min / median / max), {100 * depth.hole_share:.1f} % holes"
    )
    return XReading(image, preview, summary, np.isnan(metres), replace(depth, metres=metres))


def _check_array(raw: np.ndarray) -> np.ndarray:
    check_layout(raw.shape, raw.dtype)
    return raw.squeeze()


def _one_channel(raw: np.ndarray) -> np.ndarray:
    if raw.ndim == 2:
        return raw
    tolerance = 4 if raw.dtype == np.uint8 else 0  # JPEG does not keep equal channels equal
    if not np.quantile(np.ptp(raw[..., :3], axis=-1), 0.999) <= tolerance:
        raise ValueError(
            "this depth map is in colour: it looks like a colourised depth map or an HHA picture. Give the "
            "measured depth (16-bit PNG, or .npy in metres), or choose the encoding 'image' for an HHA model"
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
