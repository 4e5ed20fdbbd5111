"""Post-processing: labels and confidences tile by tile, never holding full-size upsampled logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MAX_TILE_VALUES = 1_000_000  # logits per tile: fits the CPU's cache
MAX_GPU_TILE_VALUES = 64_000_000  # enough to keep a GPU busy
TILE_COLUMNS = 320
Size = tuple[int, int]


def labels_and_confidence(
    logits: Tensor,
    size_hw: Size,
    values_at_once: int | None = None,
    via_hw: Size | None = None,
    temperature: float = 1.0,
    at: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Tensor, Tensor]:
    """Labels (H, W) uint8 and their probabilities (H, W) float32 from logits (1, K, h, w), on their device.

    Args:
        size_hw: (H, W); the logits are upsampled as by `F.interpolate(mode="bilinear")`.
        values_at_once: number of upsampled logits per tile; by default, as suits the device.
        via_hw: an intermediate size, to which the logits are upsampled first.
        temperature: divisor of the logits before the softmax; the labels do not depend on it.
        at: increasing rows (h,) and columns (w,) of size_hw; only these are computed, (h, w).
    """
    device = logits.device
    found_hw = size_hw if at is None else tuple(map(len, at))
    label = torch.empty(found_hw, dtype=torch.uint8, device=device)
    confidence = torch.empty(found_hw, device=device)
    steps = [step for step in (via_hw, size_hw) if step is not None]
    most = values_at_once or (MAX_TILE_VALUES if device.type == "cpu" else MAX_GPU_TILE_VALUES)
    for rows, columns, values in _upsampled_tiles(logits[0].float(), steps, most, at):
        highest, index = values.max(dim=1)
        label[rows, columns] = index
        below = values.sub_(highest[:, None])
        below = below if temperature == 1 else below.div_(temperature)
        confidence[rows, columns] = below.exp_().sum(dim=1).reciprocal()
    return label, confidence


def second_best(
    logits: Tensor,
    size_hw: Size,
    values_at_once: int | None = None,
    via_hw: Size | None = None,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """The second-best class (H, W) uint8 and the margin (H, W) float32, as `labels_and_confidence`.

    The margin is the difference of the two highest probabilities, 0..1; with one class it is 1.
    """
    device = logits.device
    second = torch.zeros(size_hw, dtype=torch.uint8, device=device)
    margin = torch.ones(size_hw, device=device)
    steps = [step for step in (via_hw, size_hw) if step is not None]
    most = values_at_once or (MAX_TILE_VALUES if device.type == "cpu" else MAX_GPU_TILE_VALUES)
    if logits.shape[1] > 1:
        for rows, columns, values in _upsampled_tiles(logits[0].float(), steps, most):
            best, index = (values / temperature).softmax(dim=1).topk(2, dim=1)
            second[rows, columns] = index[:, 1]
            margin[rows, columns] = best[:, 0] - best[:, 1]
    return second, margin


def logits_at(
    logits: Tensor, rows: Sequence[int], columns: Sequence[int], size_hw: Size, via_hw: Size | None = None
) -> Tensor:
    """Logits (K, R, C) float32 at R rows and C columns of the upsampled logits; sizes as above."""
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


def _upsampled_tiles(
    logits: Tensor, steps: Sequence[Size], most: int, at: tuple[np.ndarray, np.ndarray] | None = None
) -> Iterator[tuple[slice, slice, Tensor]]:
    """Tiles of logits (K, h, w) upsampled to each size in turn: rows, columns, (rows, K, columns).

    With `at`, of its rows and columns of the last size, counted anew.

    Every step is linear and separable, so all steps combine into one matrix for the rows and one for the
    columns. A tile uses the nonzero section of each.
    """
    classes, height, width = logits.shape
    heights, widths = zip(*steps)
    down, across = _weights(height, heights), _weights(width, widths)
    if at is not None:
        down, across = down[at[0]], across[at[1]]
    final_h, final_w = len(down), len(across)
    rows_at_once = max(1, most // (classes * min(final_w, TILE_COLUMNS)))
    for columns in _slices(final_w, TILE_COLUMNS):
        weights, used = _part(across, columns)
        wide = logits[:, :, used] @ weights.T.to(logits.device)
        wide = wide.transpose(0, 1).flatten(1)  # h, K × columns
        for rows in _slices(final_h, rows_at_once):
            weights, used = _part(down, rows)
            tile = weights.to(logits.device) @ wide[used]
            yield rows, columns, tile.unflatten(1, (classes, -1))


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


def _slices(length: int, most: int) -> Iterator[slice]:
    return (slice(start, min(start + most, length)) for start in range(0, length, most))
