"""Post-processing: labels and confidences tile by tile, never holding full-size upsampled logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MAX_TILE_VALUES = 500_000  # logits per tile: fits the CPU's cache
MAX_GPU_TILE_VALUES = 64_000_000  # enough to keep a GPU busy
TILE_COLUMNS = 160
ROUNDING = 2.0**-16  # bound of the relative error of an upsampled logit, with a wide margin
Size = tuple[int, int]


class Tile(NamedTuple):
    """A part of the upsampled logits: its place, its classes (C,) in order, its values (rows, C, columns)."""

    rows: slice
    columns: slice
    classes: Tensor
    values: Tensor


class Upsampling:
    """Bilinear upsampling of logits (1, K, h, w) in float32, tile by tile.

    Every step is linear and separable, so all steps combine into one matrix for the rows and one for the
    columns. A tile uses the nonzero section of each.

    Args:
        size_hw: (H, W); the logits are upsampled as by `F.interpolate(mode="bilinear")`.
        via_hw: an intermediate size, to which the logits are upsampled first.
        at: increasing rows (h,) and columns (w,) of size_hw; only these are computed.
        values_at_once: number of upsampled logits per tile; by default, as suits the device.

    Attributes:
        found_hw: the size of what is computed.
    """

    def __init__(
        self,
        logits: Tensor,
        size_hw: Size,
        via_hw: Size | None = None,
        at: tuple[np.ndarray, np.ndarray] | None = None,
        values_at_once: int | None = None,
    ):
        self.logits = logits[0].float()
        classes, height, width = self.logits.shape
        heights, widths = zip(*(step for step in (via_hw, size_hw) if step is not None))
        self._down, self._across = _weights(height, heights), _weights(width, widths)
        if at is not None:
            self._down, self._across = self._down[at[0]], self._across[at[1]]
        self.found_hw = len(self._down), len(self._across)
        self._down, self._across = self._down.to(logits.device), self._across.to(logits.device)
        most = values_at_once or (MAX_TILE_VALUES if logits.device.type == "cpu" else MAX_GPU_TILE_VALUES)
        self._rows_at_once = max(1, most // (classes * min(self.found_hw[1], TILE_COLUMNS)))

    def tiles(self, winners_only: bool = False) -> Iterator[Tile]:
        """All tiles; with `winners_only`, each without the classes that are the best nowhere in it."""
        classes = torch.arange(len(self.logits), device=self.logits.device)
        may_win = self._may_win() if winners_only else None
        by_row = self.logits.transpose(0, 1).contiguous()  # h, K, w
        sections = [
            (rows, *_part(self._down, rows)) for rows in _slices(self.found_hw[0], self._rows_at_once)
        ]
        for columns in _slices(self.found_hw[1], TILE_COLUMNS):
            weights, near = _part(self._across, columns)
            wide = by_row[:, :, near] @ weights.T  # h, K, columns
            for rows, weights, used in sections:
                part = wide[used]
                if may_win is not None:
                    classes = may_win[:, used, near].flatten(1).any(dim=1).nonzero()[:, 0]
                    part = part[:, classes]
                values = weights @ part.flatten(1)
                yield Tile(rows, columns, classes, values.unflatten(1, (len(classes), -1)))

    def _may_win(self) -> Tensor:
        """Whether a class may be the best somewhere in the window that starts at a position, (K, h, w) bool.

        An upsampled logit is a convex combination of the logits of a window. So a class whose highest logit
        in the window is below the lowest logit of another class is not the best there. Where all logits of
        the window have the same best class by far, no other class remains.
        """
        highest = lowest = self.logits
        for dim, size in zip((-2, -1), (_reach(self._down), _reach(self._across))):
            highest = _sliding(torch.maximum, highest, dim, size)
            lowest = _sliding(torch.minimum, lowest, dim, size)
        margin = ROUNDING * self.logits.abs().amax()
        return ~(highest < lowest.amax(dim=0) - margin)  # true for NaN


def labels_of(upsampling: Upsampling) -> Tensor:
    """The best class (H, W) uint8 of the upsampled logits, on their device; the first one of a tie."""
    label = torch.empty(upsampling.found_hw, dtype=torch.uint8, device=upsampling.logits.device)
    for tile in upsampling.tiles(winners_only=True):
        index = tile.values.max(dim=1).indices
        label[tile.rows, tile.columns] = tile.classes.index_select(0, index.flatten()).view_as(index)
    return label


def confidence_of(upsampling: Upsampling, temperature: float = 1.0) -> Tensor:
    """The probability (H, W) float32 of the best class, on the logits' device.

    temperature: divisor of the upsampled logits before the softmax.
    """
    confidence = torch.empty(upsampling.found_hw, device=upsampling.logits.device)
    for tile in upsampling.tiles():
        below = tile.values.sub_(tile.values.amax(dim=1, keepdim=True))
        scaled = below.mul_(math.log2(math.e) / temperature)  # exp2 takes half the time of exp
        confidence[tile.rows, tile.columns] = scaled.exp2_().sum(dim=1).reciprocal()
    return confidence


def second_best(
    logits: Tensor,
    size_hw: Size,
    values_at_once: int | None = None,
    via_hw: Size | None = None,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """The second-best class (H, W) uint8 and the margin (H, W) float32; arguments as of `Upsampling`.

    The margin is the difference of the two highest probabilities, 0..1; with one class it is 1.
    """
    device = logits.device
    second = torch.zeros(size_hw, dtype=torch.uint8, device=device)
    margin = torch.ones(size_hw, device=device)
    if logits.shape[1] > 1:
        for tile in Upsampling(logits, size_hw, via_hw, values_at_once=values_at_once).tiles():
            best, index = (tile.values / temperature).softmax(dim=1).topk(2, dim=1)
            second[tile.rows, tile.columns] = index[:, 1]
            margin[tile.rows, tile.columns] = best[:, 0] - best[:, 1]
    return second, margin


def logits_at(
    logits: Tensor, rows: Sequence[int], columns: Sequence[int], size_hw: Size, via_hw: Size | None = None
) -> Tensor:
    """Logits (K, R, C) float32 at R rows and C columns of the upsampled logits; sizes as of `Upsampling`."""
    steps = [step for step in (via_hw, size_hw) if step is not None]
    _, height, width = logits[0].shape
    down, across = (
        _weights(source, sides)[list(chosen)].to(logits.device)
        for source, sides, chosen in zip((height, width), zip(*steps), (rows, columns))
    )
    return down @ (logits[0].float() @ across.T)


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors to the CPU; from a GPU in one transfer."""
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return list(tensors)
    order = sorted(range(len(tensors)), key=lambda i: -tensors[i].element_size())  # keeps each tensor aligned
    flat = torch.cat([tensors[i].contiguous().flatten().view(torch.uint8) for i in order]).cpu()
    parts = zip(order, flat.split([tensors[i].nbytes for i in order]))
    found = {i: part.view(tensors[i].dtype).view(tensors[i].shape) for i, part in parts}
    return [found[i] for i in range(len(tensors))]


def _weights(source: int, sides: Sequence[int]) -> Tensor:
    """Interpolation weights (side, source) of `source` positions for each position of the last side."""
    weights = torch.eye(source)[:, None]
    for side in sides:
        weights = F.interpolate(weights, size=side, mode="linear", align_corners=False)
    return weights[:, 0].T


def _part(weights: Tensor, rows: slice) -> tuple[Tensor, slice]:
    """Some rows of the weights, cropped to their nonzero columns, and the span of these columns."""
    positions = weights[rows].any(dim=0).nonzero()
    used = slice(int(positions[0]), int(positions[-1]) + 1)
    return weights[rows, used], used


def _reach(weights: Tensor) -> int:
    """Length of the longest span of nonzero weights of a row."""
    used = (weights != 0).int()
    first, last = used.argmax(dim=1), weights.shape[1] - 1 - used.flip(1).argmax(dim=1)
    return int((last - first).max()) + 1


def _sliding(extreme: Callable[[Tensor, Tensor], Tensor], values: Tensor, dim: int, size: int) -> Tensor:
    """The extreme of `size` values from each position of a dimension on, of fewer at its end."""
    length = values.shape[dim]
    found = values.clone()
    for start in range(1, size):
        part = found.narrow(dim, 0, length - start)
        extreme(part, values.narrow(dim, start, length - start), out=part)
    return found


def _slices(length: int, most: int) -> Iterator[slice]:
    return (slice(start, min(start + most, length)) for start in range(0, length, most))
