"""Result types of the analysis as plain arrays, and conversions of image and level coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

UNIFORM_ENTROPY = 0.97
"""Attention above this normalised entropy is nearly uniform and therefore uninformative."""


@dataclass(frozen=True, eq=False)
class PixelView:
    """Attention of one position of a level, for one head or the mean over all heads.

    Attributes:
        level, head: head is None for the mean over the heads.
        position: (row, column) of the level's grid that contains the pixel; grid_hw: the grid's size.
        points: (P, 2) as (y, x) in [-1, 1], align-corners; the 2n points of the head's group, or the points
            of all groups, group by group.
        references: (P, 2), points before their offsets.
        attention: (P,), sums to 1.
        weight_x: (P,) 0..1, modality weight of x at the point; that of rgb is 1 - weight_x.
        x_led: (P,) bool, whether the x stream predicted the point's offset.
        balance: fraction of the attention on x, Σ attention · weight_x.
        entropy: normalised entropy of the attention, 0..1, 1 = uniform; effective_points: its exponential,
            1..2n (mean over the heads if head is None).
        sparse_share: fraction of the fused feature from the attention: a / (a + b + r) with a = ‖α ⊙
            attended‖, b = ‖ι ⊙ z‖, and r the norm of the residual, 0 without one. Beside a residual, a and b
            are taken after the fusion's last layer.
        points_per_head: 2n, the number of points that one head reads and the maximum of effective_points;
            P = 2n · `groups`.
        residual_share: fraction from the residual, r / (a + b + r); None if the fusion has none.
        x_is_missing: the network ran without X, so balance and weight_x do not describe a sensor.
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
    residual_share: float | None = None
    x_is_missing: bool = False

    @property
    def groups(self) -> int:
        """Number of groups whose points these are: 1 for one head."""
        return len(self.attention) // self.points_per_head


@dataclass(frozen=True, eq=False)
class LevelMaps:
    """Maps of one level; (h, w) is the level's grid, 2n its number of points per group, M heads, G groups.

    Attributes:
        balance: (h, w) 0..1, mean over the heads; head_balance: (M, h, w).
        entropy: (M, h, w) 0..1.
        sparse_share: (h, w) 0..1, as in `PixelView`.
        points, references: (G, 2n, 2) as (y, x); the first n are rgb-led. Points are clamped to [-1, 1],
            references are not: those of the last row and column lie half a step outside.
        weight_x: (2n,) modality weight of x at the points.
        importance: (G, 2n) attention per point, mean over its group's heads and all positions, times 2n: the
            mean is 1.
        importance_map, density_map: (h, w), importance and number of points, splatted with tent kernels as
            wide as the spacing of the reference points and normalised to mean 1; an even spread is 1
            everywhere.
        prompt_rgb, prompt_x: (h, w) ‖change by the prompt‖ / ‖token‖, None without prompts.
        is_uniform: whether the attention is so uniform that its maps carry no information.
        residual_share: (h, w) 0..1, as in `PixelView`; None if the fusion has no residual.
        x_is_missing: the network ran without X, so balance, weight_x and prompt_x do not describe a sensor.
    """

    level: int
    stride: int
    balance: np.ndarray
    head_balance: np.ndarray
    entropy: np.ndarray
    sparse_share: np.ndarray
    points: np.ndarray
    references: np.ndarray
    weight_x: np.ndarray
    importance: np.ndarray
    importance_map: np.ndarray
    density_map: np.ndarray
    prompt_rgb: np.ndarray | None
    prompt_x: np.ndarray | None
    is_uniform: bool
    residual_share: np.ndarray | None = None
    x_is_missing: bool = False

    @property
    def starts(self) -> np.ndarray:
        """Where the points would lie without offsets, (G, 2n, 2): the references, clamped as points are."""
        return np.clip(self.references, -1, 1)

    @property
    def offsets(self) -> np.ndarray:
        """Movement of the points by their offsets, (G, 2n, 2): points - starts; clamping alone is none."""
        return self.points - self.starts

    @property
    def distances(self) -> np.ndarray:
        """Length of `offsets` in positions of the level's grid, (G, 2n)."""
        cells = (np.array(self.balance.shape) - 1) / 2
        return np.linalg.norm(self.offsets * cells, axis=-1)

    @property
    def on_border(self) -> np.ndarray:
        """(G, 2n) bool, points on the border of the grid; most were clamped to it and would lie outside."""
        return (np.abs(self.points) >= 1).any(axis=-1)

    def group_of(self, head: int) -> int:
        """The group whose points a head reads."""
        return head * len(self.points) // len(self.head_balance)


@dataclass(frozen=True, eq=False)
class Attribution:
    """Attribution of a score: input × gradient after patch embedding, summed over the channels.

    Attributes:
        score: description of the score, such as "fused logit of wall at (120, 310)".
        rgb, x: (h, w) signed, on the token grid; their sums are `total_rgb` and `total_x`.
        share_x: Σ|x| / (Σ|rgb| + Σ|x|), 0..1.
        without_x, without_rgb: change of the score when that sensor is ablated (score without - score with).
        x_is_missing: the network ran without X: x is 0, and ablations describe no sensor.
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
    x_is_missing: bool = False


@dataclass(frozen=True)
class PixelShares:
    """Sources of one position's fused feature, 0..1 each; they sum to 1.

    The fused feature is α ⊙ attended + ι ⊙ z. The attended term is split between the sensors by the balance
    of the attention, that is by the modality weights and not by the norms of the features. The context z is
    convolved from both streams together and cannot be split. The residual is the mean of both streams, 0 if
    the fusion has none. Without X all that is attended counts as rgb.
    """

    rgb: float
    x: float
    context: float
    residual: float = 0.0


def at_of_pixel(pixel: tuple[float, float], size_hw: tuple[int, int]) -> tuple[float, float]:
    """Fractions of the image at the centre of a pixel (y, x): ((y + ½)/H, (x + ½)/W)."""
    return (pixel[0] + 0.5) / size_hw[0], (pixel[1] + 0.5) / size_hw[1]


def cell_at(grid_hw: tuple[int, int], at: tuple[float, float]) -> tuple[int, int]:
    """The cell (row, column), in a grid over the whole image, that contains a position.

    Args:
        at: (y, x) as fractions 0..1 of the image; cell i of h covers i/h up to (i + 1)/h, 1 is the last.

    Raises:
        ValueError: the position is outside the image.
    """
    if not all(0 <= fraction <= 1 for fraction in at):
        raise ValueError(f"position {tuple(at)} is outside the image; give (y, x) as fractions from 0 to 1.")
    row, column = (min(int(fraction * size), size - 1) for fraction, size in zip(at, grid_hw))
    return row, column


def place_in_image(points: np.ndarray, grid_hw: tuple[int, int]) -> np.ndarray:
    """Convert coordinates (…, 2) of a level to (y, x) fractions of the image.

    A level's coordinates are align-corners: -1 and 1 are the centres of its first and last cells, which are
    half a cell inside the image. References outside the image give fractions below 0 or above 1.
    """
    grid = np.asarray(grid_hw, dtype=np.float32)
    return ((np.asarray(points) + 1) / 2 * (grid - 1) + 0.5) / grid


def strongest(view: PixelView, count: int = 15) -> np.ndarray:
    """Indices of the points with the most attention, in descending order; ties in the order of the points."""
    return np.argsort(-view.attention, kind="stable")[:count]
