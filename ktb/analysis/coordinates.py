"""Places in an image, in the grid of a level and in its coordinates, and the points worth drawing."""

from __future__ import annotations

import numpy as np

from ktb.analysis.types import PixelView


def at_of_pixel(pixel: tuple[float, float], size_hw: tuple[int, int]) -> tuple[float, float]:
    """A pixel (y, x) of an image as fractions of it: the pixel's centre, ((y + ½)/H, (x + ½)/W)."""
    return (pixel[0] + 0.5) / size_hw[0], (pixel[1] + 0.5) / size_hw[1]


def cell_at(grid_hw: tuple[int, int], at: tuple[float, float]) -> tuple[int, int]:
    """The cell (row, column) of a grid over the whole image that holds a place.

    Args:
        at: (y, x) as fractions 0..1 of the image; cell i of h covers i/h up to (i + 1)/h, 1 is the last.

    Raises:
        ValueError: for a place outside the image.
    """
    if not all(0 <= fraction <= 1 for fraction in at):
        raise ValueError(f"place {tuple(at)} is outside the image; give (y, x) as fractions from 0 to 1.")
    row, column = (min(int(fraction * size), size - 1) for fraction, size in zip(at, grid_hw))
    return row, column


def place_in_image(points: np.ndarray, grid_hw: tuple[int, int]) -> np.ndarray:
    """Coordinates (…, 2) of a level as (y, x) fractions of the image.

    A level's coordinates are align-corners: -1 and 1 are the centres of its first and last cells, which lie
    half a cell inside the image. References that start outside give fractions below 0 or above 1.
    """
    grid = np.asarray(grid_hw, dtype=np.float32)
    return ((np.asarray(points) + 1) / 2 * (grid - 1) + 0.5) / grid


def strongest(view: PixelView, count: int = 15) -> np.ndarray:
    """Indices of the points with the most attention, largest first; ties in the order of the points."""
    return np.argsort(-view.attention, kind="stable")[:count]
