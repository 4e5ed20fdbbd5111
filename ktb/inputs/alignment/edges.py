"""Edges of images, excluding holes and borders, and X's edges drawn over the RGB image."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from ktb.inputs.alignment.warp import stretch, warp
from ktb.inputs.encoders.depth import fill_holes
from ktb.inputs.limits import InputError, check_size
from ktb.inputs.validation import Matrix

OVERLAY_RGB = (255, 90, 0)
_RIM = 0.01
"""Depth into a hole, as a fraction of X's side, up to which its filling is trusted."""
_FAINT, _STRONG = 75, 97
"""Percentiles of edge strength that become visible and opaque in the overlay."""


@dataclass(frozen=True, eq=False)
class Layer:
    """An image (h, w) float32 without NaN, and its valid pixels (h, w) bool."""

    values: np.ndarray
    seen: np.ndarray

    def shrunk(self, size_hw: tuple[int, int]) -> "Layer":
        if self.values.shape == size_hw:
            return self
        values, seen = (
            cv2.resize(part, size_hw[::-1], interpolation=cv2.INTER_AREA)
            for part in (self.values, self.seen.astype(np.float32))
        )
        return Layer(values, seen > 0.5)


def place_layer(x: np.ndarray, matrix: np.ndarray, size_hw: tuple[int, int]) -> Layer:
    """Warp X to the RGB image's grid, averaged if that is coarser, with holes and uncovered pixels filled.

    Filled values near the rim of a hole are trusted, because depth cameras have holes along object edges.
    """
    step = max(
        1, max(x.shape) // (2 * max(size_hw))
    )  # thinned at most: what is averaged below must not be huge
    x, matrix = x[::step, ::step], matrix @ np.diag([step, step, 1.0])
    hole = np.isnan(x)
    deep = cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 3) > _RIM * max(x.shape)
    layer = Layer(fill_holes(x) if hole.any() else x, ~deep)
    scale = math.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    if scale < 0.7:
        size = tuple(max(8, round(side * scale)) for side in x.shape)
        layer, matrix = layer.shrunk(size), matrix @ stretch(size, x.shape)
    values = warp(layer.values, matrix, size_hw)
    outside = np.isnan(values)
    if outside.all():
        return Layer(np.zeros(size_hw, np.float32), ~outside)
    seen = warp(layer.seen.astype(np.uint8), matrix, size_hw, "nearest") > 0
    return Layer(fill_holes(values) if outside.any() else values, seen & ~outside)


def edges_of(layer: Layer, blur: float) -> tuple[np.ndarray, np.ndarray]:
    """Edge strength (h, w) float32 0..1, and the valid pixels.

    Strong edges saturate, so that the position of edges matters more than the sensor's contrast.
    """
    soft = cv2.GaussianBlur(layer.values, (0, 0), blur)
    strength = cv2.magnitude(*(cv2.Sobel(soft, cv2.CV_32F, *axes) for axes in ((1, 0), (0, 1))))
    usual = 2 * float(strength[layer.seen].mean()) if layer.seen.any() else 0.0
    return strength / (strength + max(usual, 1e-12)), layer.seen


def correlation(one: np.ndarray, two: np.ndarray, where: np.ndarray) -> float:
    """Pearson correlation, -1..1, over the selected pixels; 0 if one image is constant."""
    one, two = one[where], two[where]
    if one.size < 64:
        return 0.0
    one, two = one - one.mean(), two - two.mean()
    norm = math.sqrt(float(one @ one) * float(two @ two))
    return float(one @ two) / norm if norm > 1e-9 else 0.0


def as_grey(image: np.ndarray, name: str) -> np.ndarray:
    """Convert to (h, w) float32: images to 0..255, numbers unchanged with NaN for holes."""
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    elif image.ndim == 2 and image.dtype.kind in "uif" and name == "X":
        grey = np.where(np.isfinite(image), image, np.nan).astype(np.float32)
    else:
        wanted = "(H, W, 3) uint8" + (" or (H, W) numbers" if name == "X" else "")
        raise InputError(f"{name} has shape {image.shape} and dtype {image.dtype}; give {wanted}")
    check_size(grey.shape[1], grey.shape[0], name)
    return grey


def alignment_overlay(rgb: np.ndarray, x_preview: np.ndarray, matrix: Matrix | np.ndarray) -> np.ndarray:
    """Draw X's edges in orange over the grey RGB image, to inspect an alignment.

    Args:
        rgb: (H, W, 3) uint8.
        x_preview: as for `estimate_alignment`.
        matrix: 3 x 3, from X's pixels to the RGB image's.

    Returns:
        (H, W, 3) uint8.
    """
    photo, x = as_grey(rgb, "the RGB image"), as_grey(x_preview, "X")
    if np.isnan(x).all():
        raise InputError("X holds no measurement, there are no edges to draw; check the file")
    strength, seen = edges_of(
        place_layer(x, np.asarray(matrix), photo.shape), max(1.0, max(photo.shape) / 640)
    )
    low, high = np.percentile(strength[seen], (_FAINT, _STRONG)) if seen.any() else (0, 1)
    share = (np.clip((strength - low) / max(high - low, 1e-6), 0, 1) * seen)[..., None]
    ground = np.repeat(50 + 0.7 * photo[..., None], 3, axis=-1)
    return np.rint(ground * (1 - share) + np.float32(OVERLAY_RGB) * share).astype(np.uint8)
