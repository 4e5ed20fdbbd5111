"""The learned position bias of DSCF: one table per head, read bilinearly (reference section 4, step 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def query_axis(length: int, device: torch.device) -> Tensor:
    """Query coordinates along one axis, (length,) float32 in [-1, 1]; 0 where the axis has one position."""
    if length == 1:
        return torch.zeros(1, device=device)
    return torch.linspace(-1, 1, length, device=device)


def query_positions(height: int, width: int, device: torch.device) -> Tensor:
    """All query coordinates (h·w, 2) as (y, x) in [-1, 1], row by row."""
    axes = query_axis(height, device), query_axis(width, device)
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)


def position_bias(table: Tensor, queries: Tensor, points: Tensor) -> Tensor:
    """Read the table at half the displacement from every point to every query.

    Args:
        table: (M, 119, 159), one per head; head k uses the points of group ⌊k/(M/G)⌋.
        queries: (Q, 2) as (y, x) in [-1, 1].
        points: (B, G, N, 2) as (y, x) in [-1, 1].

    Returns:
        (B, M, Q, N) in the table's dtype.
    """
    batch, groups, num_points, _ = points.shape
    heads = table.shape[0]
    half_queries, half_points = 0.5 * queries.flip(-1), 0.5 * points.flip(-1)  # grid_sample wants (x, y)
    grid = (half_queries[:, None] - half_points[:, :, None]).flatten(0, 1)  # B·G, Q, N, 2
    tables = table.unflatten(0, (groups, heads // groups)).repeat(batch, 1, 1, 1)
    bias = F.grid_sample(tables.float(), grid, mode="bilinear", align_corners=True)
    return bias.view(batch, heads, len(queries), num_points).to(table.dtype)


def distance_prior(height: int, width: int, sigmas: Tensor, floor: float = -6.0) -> Tensor:
    """Tables (M, height, width) that favour near points: max(−d²/2σ², floor), d in coordinates of [-1, 1]."""
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None]
    return (-(y**2 + x**2) / (2 * sigmas[:, None, None] ** 2)).clamp(min=floor)
