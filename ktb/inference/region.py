"""Regions of an image, in pixels, and the network's tokens that they cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np

Region: TypeAlias = np.ndarray | Sequence[float] | Sequence[Sequence[float]]
"""A mask (H, W) bool; a rectangle (left, top, right, bottom) in pixels, without its right column and bottom
row; or a polygon, at least three pixels (x, y), whose border belongs to it."""
MAX_POINTS = 1000
HOW = (
    "give a mask (H, W) bool, a rectangle (left, top, right, bottom) in pixels, or a polygon of 3 to "
    f"{MAX_POINTS:,} pixels (x, y)"
)


def region_mask(region: Region, size_hw: tuple[int, int]) -> np.ndarray:
    """The pixels of a region, (H, W) bool.

    Args:
        size_hw: (height, width) of the RGB image.

    Raises:
        ValueError: the region is of no known form, empty, or not inside the image.
    """
    try:
        given = np.asarray(region)
        numbers = given if given.dtype == bool else given.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"the region is not readable: {HOW}.") from error
    if numbers.dtype == bool:
        mask = _same_size(numbers, size_hw)
    elif numbers.shape == (4,):
        mask = _rectangle(numbers, size_hw)
    elif numbers.ndim == 2 and numbers.shape[1] == 2 and 3 <= len(numbers) <= MAX_POINTS:
        mask = _polygon(numbers, size_hw)
    else:
        raise ValueError(f"the region has the shape {numbers.shape}: {HOW}.")
    if not mask.any():
        raise ValueError("the region is empty: nothing would be ablated. Choose at least one pixel.")
    return mask


def region_tokens(mask: np.ndarray, grid_hw: tuple[int, int]) -> np.ndarray:
    """The tokens whose cells overlap a region of pixels at all, (h, w) bool.

    Both grids cover the same image. No token that is kept lies over a pixel of the region; a token at its
    border also covers pixels outside.

    Args:
        mask: (H, W) bool.
        grid_hw: (h, w), the grid of the tokens.
    """
    counts = cv2.integral(mask.astype(np.uint8))  # H + 1, W + 1
    (top, bottom), (left, right) = (_cells(*sides) for sides in zip(grid_hw, mask.shape))
    inside = counts[bottom][:, right] - counts[top][:, right] - counts[bottom][:, left] + counts[top][:, left]
    return inside > 0


def _cells(cells: int, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """For each cell of a side, its first pixel and the one after its last."""
    index = np.arange(cells)
    return index * pixels // cells, -(-(index + 1) * pixels // cells)


def _same_size(mask: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    if mask.shape != tuple(size_hw):
        raise ValueError(
            f"the region is a mask of {mask.shape} (height, width), but the RGB image has {tuple(size_hw)}; "
            "give one of the same size."
        )
    return mask


def _rectangle(numbers: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    height, width = size_hw
    is_whole = np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()
    left, top, right, bottom = numbers
    if not (is_whole and 0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(
            f"the region {_listed(numbers)} is no rectangle in the image of {width} x {height} pixels: give "
            "whole numbers (left, top, right, bottom) with left < right and top < bottom."
        )
    mask = np.zeros(size_hw, bool)
    mask[int(top) : int(bottom), int(left) : int(right)] = True
    return mask


def _polygon(points: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    height, width = size_hw
    if not ((points >= 0) & (points <= (width - 1, height - 1))).all():
        raise ValueError(
            f"the region has points outside the image of {width} x {height} pixels: give pixels (x, y) with "
            f"x from 0 to {width - 1} and y from 0 to {height - 1}."
        )
    mask = np.zeros(size_hw, np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return mask.astype(bool)


def _listed(numbers: np.ndarray) -> str:
    return f"({', '.join(f'{number:g}' for number in numbers)})"
