"""What the inspection of one level gives, as plain arrays that can be drawn or stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNIFORM_ENTROPY = 0.97
"""Attention above this normalised entropy says next to nothing about where it looked."""


@dataclass(frozen=True, eq=False)
class PixelView:
    """Where one position of a level looked, for one head or the mean over all heads.

    Attributes:
        level, head: head is None for the mean over the heads.
        position: (row, column) of the level's grid that holds the pixel; grid_hw: the grid's size.
        points: (P, 2) as (y, x) in [-1, 1], align-corners; of one head the 2n points of its group, else all
            groups' points, group after group.
        references: (P, 2), where the points started.
        attention: (P,), adding up to 1.
        weight_x: (P,) 0..1, the modality weight of x at the point; that of rgb is the rest.
        x_led: (P,) bool, whether the x stream chose the point.
        balance: share of the attention that goes to x, Σ attention · weight_x.
        entropy: of the attention, 0..1, 1 = uniform; effective_points: its exponential, 1..2n (mean over the
            heads if head is None).
        sparse_share: share of the fused feature that came through the attention, ‖α ⊙ attended‖ against
            ‖ι ⊙ z‖: a / (a + b).
        points_per_head: 2n, the most that effective_points can be.
    """

    level: int
    head: int | None
    position: tuple[int, int]
    grid_hw: tuple[int, int]
    points: np.ndarray
    references: np.ndarray
    attention: np.ndarray
    weight_x: np.ndarray
    x_led: np.ndarray
    balance: float
    entropy: float
    effective_points: float
    sparse_share: float
    points_per_head: int


@dataclass(frozen=True, eq=False)
class LevelMaps:
    """Maps of one level; (h, w) is the level's grid, (h', w') its grid of points, M heads, G groups.

    Attributes:
        balance: (h, w) 0..1, mean over the heads; head_balance: (M, h, w).
        entropy: (M, h, w) 0..1.
        sparse_share: (h, w) 0..1, as in `PixelView`.
        points, references, offsets: (G, 2n, 2) as (y, x); the first n are rgb-led. offsets are those that
            were used: points - references.
        weight_x: (2n,) modality weight of x at the points.
        importance: (G, 2n) attention that a point received, mean over its group's heads and all positions,
            times 2n: 1 = as much as any.
        importance_map, density_map: (h, w), importance and number of points splatted bilinearly, as tents
            as wide as the undisplaced points are apart; in points per cell times the cells per point: both
            have mean 1, and an even spread is 1 everywhere.
        prompt_rgb, prompt_x: (h, w) ‖change by the prompt‖ / ‖token‖, None without prompts.
        is_uniform: attention is so even that maps of it carry no information.
    """

    level: int
    stride: int
    balance: np.ndarray
    head_balance: np.ndarray
    entropy: np.ndarray
    sparse_share: np.ndarray
    points: np.ndarray
    references: np.ndarray
    offsets: np.ndarray
    weight_x: np.ndarray
    importance: np.ndarray
    importance_map: np.ndarray
    density_map: np.ndarray
    prompt_rgb: np.ndarray | None
    prompt_x: np.ndarray | None
    is_uniform: bool


@dataclass(frozen=True, eq=False)
class Attribution:
    """What a score reacts to: input × gradient after patch embedding, summed over the channels.

    Attributes:
        score: what was differentiated, such as "fused logit of wall at (120, 310)".
        rgb, x: (h, w) signed, at the token grid; their sums over the map are `total_rgb` and `total_x`.
        share_x: Σ|x| / (Σ|rgb| + Σ|x|), 0..1.
        without_x, without_rgb: change of the score when that sensor's tokens are zeroed (score without -
            score with): what really happens.
    """

    score: str
    value: float
    rgb: np.ndarray
    x: np.ndarray
    total_rgb: float
    total_x: float
    share_x: float
    without_x: float
    without_rgb: float


@dataclass(frozen=True)
class PixelShares:
    """Where one position's fused feature came from, 0..1 each, adding up to 1.

    The fused feature is α ⊙ attended + ι ⊙ z. Its attended part is split between the sensors by the balance
    of the attention, that is by the weights of the mixture, not by the sizes of what was mixed. z, the
    context, is convolved from both streams together: nothing in the network splits it.
    """

    rgb: float
    x: float
    context: float


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
