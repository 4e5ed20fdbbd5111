"""Position bias of DSCF: a learned table per head, sampled bilinearly (reference section 4, step 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def query_axis(length: int, device: torch.device) -> Tensor:
    """Query coordinates along one axis, (length,) float32 in [-1, 1]; 0 where the axis has one position."""
    if length == 1:
        return torch.zeros(1, device=device)
    return torch.linspace(-1, 1, length, device=device)


def position_bias(table: Tensor, query_y: Tensor, query_x: Tensor, points: Tensor) -> Tensor:
    """Sample the table at half the displacement from every point to every query.

    Args:
        table: (M, 119, 159), one per head; head k uses the points of group ⌊k/(M/G)⌋.
        query_y, query_x: coordinates in [-1, 1] whose shapes broadcast to that of the Q queries: (Q,) and
            (Q,), or (rows, 1) and (1, columns) for a section of a grid.
        points: (B, G, N, 2) as (y, x) in [-1, 1].

    Returns:
        (B, M, Q, N) float32, queries in row-major order.
    """
    groups, batch = points.shape[1], points.shape[0]
    queries = torch.stack(torch.broadcast_tensors(query_x, query_y), dim=-1).reshape(-1, 1, 2)  # Q, 1, (x, y)
    # Samples of a batch lie side by side along the grid, so that no table is copied per sample.
    by_group = points.float().flip(-1).transpose(0, 1)[:, :, None]  # G, B, 1, N, (x, y)
    grid = (0.5 * queries - 0.5 * by_group).flatten(1, 2)  # G, B·Q, N, (x, y)
    tables = table.float().unflatten(0, (groups, -1))
    bias = F.grid_sample(tables, grid, mode="bilinear", align_corners=True)  # G, M/G, B·Q, N
    return bias.unflatten(2, (batch, -1)).permute(2, 0, 1, 3, 4).flatten(1, 2)
