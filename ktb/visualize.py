"""Draw label maps, scalar maps and points as (H, W, 3) uint8 RGB images, without torch."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

Cmap = Literal["sequential", "diverging", "signed"]
Color = tuple[int, int, int]

NO_VALUE_RGB: Color = (128, 128, 128)  # NaN in a scalar map
IGNORE_RGB: Color = (0, 0, 0)  # pixels with ignore_index

# "diverging": blue (rgb) over a light centre to orange (x); "signed": purple (against) to
# green (for). Both ends of a map are equally dark.
_ANCHORS: dict[str, tuple[str, ...]] = {
    "sequential": ("#160b2e", "#2b2a72", "#1f5c9e", "#15899a", "#3fb486", "#9fd35f", "#fdf2a6"),
    "diverging": ("#114689", "#2f74c0", "#8db9e3", "#f5f4f1", "#f3b27a", "#d9701f", "#7b3305"),
    "signed": ("#471b66", "#8a48ad", "#c8a8dc", "#f5f4f1", "#a3d3a9", "#2f8f57", "#0a3f20"),
}
_AT_ONCE = 2**16  # values to colour at once: the steps between then stay in the processor's cache
_LAST = 254  # last index of a colour table; even, so that the middle colour is an entry of its own


@lru_cache(maxsize=len(_ANCHORS))
def _lut(cmap: str) -> np.ndarray:
    """Colour table (255, 3) uint8, interpolated in CIELAB with lightness linear in the value."""
    if cmap not in _ANCHORS:
        raise ValueError(f"cmap {cmap!r}: choose one of {', '.join(_ANCHORS)}")
    anchors = np.array([[int(h[i : i + 2], 16) for i in (1, 3, 5)] for h in _ANCHORS[cmap]], np.float32)
    lab = cv2.cvtColor(anchors[None] / 255, cv2.COLOR_RGB2Lab)[0]
    travel = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(lab[:, 0])))])
    middle = -1 if cmap == "sequential" else len(lab) // 2
    position = np.interp(travel, [0, travel[middle], travel[-1]], [0, 0.5 if middle > 0 else 1, 1])
    steps = np.linspace(0, 1, _LAST + 1)
    joined = np.stack([np.interp(steps, position, lab[:, c]) for c in range(3)], axis=-1).astype(np.float32)
    rgb = cv2.cvtColor(joined[None], cv2.COLOR_Lab2RGB)[0]
    lut = np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    lut.setflags(write=False)
    return lut


def color_table(cmap: Cmap) -> np.ndarray:
    """The colours of a map from its lowest to its highest value, (255, 3) uint8 RGB."""
    return _lut(cmap).copy()


def _check_rgb(image: np.ndarray, what: str) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"{what} has shape {image.shape} and dtype {image.dtype}; give (H, W, 3) uint8 RGB")


def colorize_labels(
    label: np.ndarray, palette: Sequence[Color] | np.ndarray, ignore_index: int = 255
) -> np.ndarray:
    """Colour a label map.

    Args:
        label: (H, W) integers in 0..K-1, or ignore_index.
        palette: K colours, 0..255 RGB.
        ignore_index: drawn in IGNORE_RGB; takes precedence over a class of the same index.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: `label` is not an integer map, or has a class outside the palette.
    """
    if label.ndim != 2 or label.dtype.kind not in "iu":
        raise ValueError(f"label has shape {label.shape} and dtype {label.dtype}; give (H, W) integers")
    colors = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)
    ignored = label == ignore_index
    known = ignored | ((label >= 0) & (label < len(colors)))
    if not known.all():
        raise ValueError(
            f"label {int(label[~known][0])}: the palette has {len(colors)} colours, so labels are "
            f"0..{len(colors) - 1} or ignore_index {ignore_index}; give the palette of the head's dataset"
        )
    table = np.concatenate([colors, np.array([IGNORE_RGB], np.uint8)])
    return table[np.where(ignored, len(colors), label)]


def overlay(
    photo: np.ndarray, colour: np.ndarray, opacity: float, valid: np.ndarray | None = None
) -> np.ndarray:
    """Blend `colour` over the RGB image `photo`: opacity 0 gives the image exactly, 1 the colours exactly.

    Args:
        photo, colour: (H, W, 3) uint8 RGB of the same size.
        opacity: 0..1.
        valid: (H, W) bool; where False, the RGB image is unchanged.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ValueError: the sizes differ, a dtype is wrong, or the opacity is outside 0..1.
    """
    _check_rgb(photo, "photo")
    _check_rgb(colour, "colour")
    if photo.shape != colour.shape or (valid is not None and valid.shape != photo.shape[:2]):
        raise ValueError(
            f"photo {photo.shape[:2]}, colour {colour.shape[:2]}"
            + (f", valid {valid.shape}" if valid is not None else "")
            + " (height, width): bring them to one size first"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity = {opacity}: choose 0 (only the photo) .. 1 (only the colours)")
    mixed = cv2.addWeighted(photo, 1 - opacity, colour, opacity, 0)
    return mixed if valid is None else np.where(valid.astype(bool)[..., None], mixed, photo)


def scalar_to_colors(values: np.ndarray, vmin: float, vmax: float, cmap: Cmap = "sequential") -> np.ndarray:
    """Colour a scalar array; NaN becomes NO_VALUE_RGB, values outside the range take the end colours.

    Args:
        values: (...) numbers.
        vmin: value of the first colour: dark ("sequential") or blue, the rgb side ("diverging").
        vmax: value of the last colour: light, or orange, the x side. vmin > vmax reverses the map.
        cmap: "sequential" or "diverging"; the middle of "diverging" is nearly white.

    Returns:
        (..., 3) uint8 RGB. If vmin equals vmax, all values take the middle colour.

    Raises:
        ValueError: the cmap is unknown, or a limit is not finite.
    """
    table = np.concatenate([_lut(cmap), [NO_VALUE_RGB]]).astype(np.uint8)
    if not (np.isfinite(vmin) and np.isfinite(vmax)):
        raise ValueError(f"vmin = {vmin}, vmax = {vmax}: both must be finite numbers")
    values = np.asarray(values, dtype=np.float32)
    span = float(vmax) - float(vmin)
    flat, colors = values.reshape(-1), np.empty((values.size, 3), np.uint8)
    for start in range(0, flat.size, _AT_ONCE):
        part = flat[start : start + _AT_ONCE]
        position = (part - np.float32(vmin)) / np.float32(span) if span else np.full_like(part, 0.5)
        position = np.rint(np.clip(position, 0, 1) * _LAST)
        index = np.where(np.isnan(part), _LAST + 1, position).astype(np.uint8)
        # OpenCV's table look-up is several times as fast as NumPy's.
        colors[start : start + _AT_ONCE] = cv2.applyColorMap(index[None], table[:, None])[0]
    return colors.reshape(*values.shape, 3)


def outline_boundaries(label: np.ndarray, image: np.ndarray, color: Color = (255, 255, 255)) -> np.ndarray:
    """Draw the borders between labels into an image; the line width scales with the image.

    Args:
        label: (H, W) integers.
        image: (H, W, 3) uint8 RGB.
        color: of the lines, 0..255 RGB.

    Returns:
        (H, W, 3) uint8 RGB, a new array.

    Raises:
        ValueError: `label` and `image` differ in size.
    """
    _check_rgb(image, "image")
    if label.shape != image.shape[:2]:
        raise ValueError(f"label {label.shape}, image {image.shape[:2]} (height, width): use one size")
    border = np.zeros(label.shape, np.uint8)
    border[:, :-1] |= label[:, :-1] != label[:, 1:]
    border[:-1] |= label[:-1] != label[1:]
    thickness = max(1, round(min(label.shape) / 500))
    if thickness > 1:
        border = cv2.dilate(border, np.ones((thickness, thickness), np.uint8))
    out = image.copy()
    out[border.astype(bool)] = color
    return out


def draw_tag(image: np.ndarray, text: str) -> np.ndarray:
    """Draw a line of text on a dark box in the lower left corner; a new (H, W, 3) uint8 RGB array."""
    _check_rgb(image, "image")
    picture = Image.fromarray(image)
    pen, size = ImageDraw.Draw(picture), max(10, min(image.shape[:2]) // 24)
    font, pad = ImageFont.load_default(size=size), size // 2
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    start = image.shape[0] - (bottom - top) - 2 * pad
    pen.rectangle((0, start, right - left + 2 * pad, image.shape[0]), fill=(24, 24, 28))
    pen.text((pad - left, start + pad - top), text, font=font, fill=(255, 190, 110))
    return np.asarray(picture)
