"""Maps of one fusion level: sensor balance, attention entropy and importance of the points."""

from __future__ import annotations

import torch
from torch import Tensor

from ktb.analysis.pixel import as_array, fused_shares, require_single
from ktb.analysis.types import UNIFORM_ENTROPY, LevelMaps
from ktb.modeling.trace import FusionTrace

MAX_SPLAT_VALUES = 4_000_000  # footprint values held at once


@torch.no_grad()
def level_maps(
    trace: FusionTrace,
    level: int,
    network_hw: tuple[int, int],
    prompts: Tensor | None = None,
    x_is_missing: bool = False,
) -> LevelMaps:
    """Compute all maps of one level in one pass over its attention, with bounded memory.

    Args:
        trace: of a single pair.
        level: index of the level, stored in the result.
        network_hw: (height, width) of the network's inputs.
        prompts: this level's entry of `Prediction.prompts`, (1, 2, h, w).
        x_is_missing: the network ran without X; stored in the result.

    Raises:
        ValueError: the trace has more than one pair.
    """
    require_single(trace)
    summary = trace.summary()
    groups, count = trace.sampling_points.shape[1:3]
    received = summary.received[0].unflatten(0, (groups, -1)).mean(dim=1)  # G, 2n; each group adds up to 1
    points = trace.sampling_points[0].float()
    importance = received * count
    scale = trace.query_hw[0] * trace.query_hw[1] / (groups * count)  # cells per point
    splat = [_splat(points, values, trace) * scale for values in (importance, torch.ones_like(importance))]
    prompt_rgb, prompt_x = (None, None) if prompts is None else map(as_array, prompts[0])
    balance, entropy = summary.balance[0], summary.entropy[0]
    sparse, residual = fused_shares(trace)
    return LevelMaps(
        level=level,
        stride=round(network_hw[0] / trace.query_hw[0]),
        balance=as_array(balance.mean(dim=0)),
        head_balance=as_array(balance),
        entropy=as_array(entropy),
        sparse_share=as_array(sparse[0]),
        points=as_array(points),
        references=as_array(trace.reference_points.expand_as(points)),
        weight_x=as_array(trace.modality_weights[0, 1]),
        importance=as_array(importance),
        importance_map=as_array(splat[0]),
        density_map=as_array(splat[1]),
        prompt_rgb=prompt_rgb,
        prompt_x=prompt_x,
        is_uniform=float(entropy.mean()) >= UNIFORM_ENTROPY,
        residual_share=None if residual is None else as_array(residual[0]),
        x_is_missing=x_is_missing,
    )


def _splat(points: Tensor, values: Tensor, trace: FusionTrace) -> Tensor:
    """Splat values (G, 2n) at their points onto the grid; the map (h, w) preserves their sum.

    Each point has a tent kernel as wide as the spacing of the reference points, so that evenly spaced points
    give a constant map on a grid of any size.
    """
    places, weights = points.reshape(-1, 2), values.reshape(-1)
    height, width = trace.query_hw
    block = max(1, MAX_SPLAT_VALUES // (height + width))
    total = torch.zeros(height, width, device=points.device)
    for place, weight in zip(places.split(block), weights.split(block)):
        rows = _tents(place[:, 0], height, trace.point_hw[0])
        columns = _tents(place[:, 1], width, trace.point_hw[1])
        total += (rows * weight[:, None]).T @ columns
    return total


def _tents(coordinates: Tensor, cells: int, points: int) -> Tensor:
    """Kernel weights (P, cells) along one axis for coordinates (P,) in [-1, 1]; each row sums to 1."""
    spacing = max(1.0, (cells - 1) / (points - 1)) if points > 1 else float(cells)
    centres = (coordinates + 1) / 2 * (cells - 1)
    distance = (torch.arange(cells, device=coordinates.device) - centres[:, None]).abs()
    tent = (1 - distance / spacing).clamp(min=0)
    return tent / tent.sum(dim=1, keepdim=True)
