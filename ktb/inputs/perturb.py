"""Deterministic perturbations of images: darkening, blur, translation."""

from __future__ import annotations

import cv2
import numpy as np


def to_linear(srgb: np.ndarray) -> np.ndarray:
    """sRGB values 0..1 as linear light 0..1 (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light 0..1 as sRGB values 0..1; the inverse of `to_linear`."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def darkened(rgb: np.ndarray, fraction: float) -> np.ndarray:
    """Darken (H, W, 3) uint8 sRGB by a fraction (0..1) of its linear light."""
    if not fraction:
        return rgb
    light = to_linear(np.arange(256) / 255) * (1 - fraction)
    return np.rint(255 * to_srgb(light)).astype(np.uint8)[rgb]


def blurred(image: np.ndarray, sigma: float, side: int = 0) -> np.ndarray:
    """Blur (H, W[, C]) by a Gaussian of `sigma` pixels, with reflected borders.

    side: odd side of the kernel in pixels; 0 for cv2's choice from sigma and the dtype.
    """
    return cv2.GaussianBlur(image, (side, side), sigma) if sigma else image


def translated(values: np.ndarray, right: int, down: int, fill: float | tuple | None = None) -> np.ndarray:
    """Translate (H, W[, C]) by whole pixels; pixels shifted out of the image are lost.

    fill: value of uncovered pixels; None repeats the border.
    """
    height, width = values.shape[:2]
    rows, columns = np.arange(height) - down, np.arange(width) - right
    out = values[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    if fill is not None:
        out[(rows < 0) | (rows >= height)] = fill
        out[:, (columns < 0) | (columns >= width)] = fill
    return out


def missing_pixels(size_hw: tuple[int, int], fraction: float, seed: int = 0) -> np.ndarray:
    """Exactly round(fraction · H · W) single pixels, (H, W) bool, the same ones for the same seed."""
    lost = np.zeros(size_hw, bool)
    count = round(fraction * lost.size)
    lost.ravel()[np.random.default_rng(seed).permutation(lost.size)[:count]] = True
    return lost


def missing_areas(size_hw: tuple[int, int], fraction: float, seed: int = 0) -> np.ndarray:
    """Areas with smooth outlines that cover about a fraction of an image, (H, W) bool."""
    if not fraction:
        return np.zeros(size_hw, bool)
    height, width = size_hw
    cells = np.random.default_rng(seed).standard_normal((7, max(2, round(7 * width / height))), np.float32)
    field = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    return field > np.quantile(field, 1 - fraction)


def dead_sector(size_hw: tuple[int, int], fraction: float) -> np.ndarray:
    """The right part of an image, (H, W) bool."""
    lost = np.zeros(size_hw, bool)
    lost[:, size_hw[1] - round(fraction * size_hw[1]) :] = True
    return lost


def noisy(image: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    """Add Gaussian noise to (H, W, C) float32; equal channels stay equal, the range of values is kept."""
    if not sigma:
        return image
    rng, noise = np.random.default_rng(seed), []
    for index in range(image.shape[2]):
        twin = next((i for i in range(index) if np.array_equal(image[..., i], image[..., index])), None)
        noise.append(rng.standard_normal(image.shape[:2], np.float32) if twin is None else noise[twin])
    low = -1.0 if image.min() < 0 else 0.0
    return np.clip(image + np.float32(sigma) * np.stack(noise, axis=-1), low, 1).astype(np.float32)
