"""Position bias of DSCF: a learned table per head, sampled bilinearly (reference section 4, step 5)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ktb.modeling.layers import prefer_chunks


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
    # Samples of a batch lie side by side along the grid, so that no table is copied per sample.
    axis = 0 if prefer_chunks(points) else -1  # of (x, y): on the CPU, a plane each is four times as fast
    queries = torch.stack(torch.broadcast_tensors(query_x, query_y)).flatten(1)[:, None, None, :, None]
    by_group = points.float().flip(-1).permute(3, 1, 0, 2)[:, :, :, None]  # (x, y), G, B, 1, N
    grid = 0.5 * queries.movedim(0, axis) - 0.5 * by_group.movedim(0, axis)  # (x, y) and G, B, Q, N
    places = grid.movedim(axis, -1).flatten(1, 2)  # G, B·Q, N, (x, y)
    tables = table.float().unflatten(0, (groups, -1))
    bias = F.grid_sample(tables, places, mode="bilinear", align_corners=True)  # G, M/G, B·Q, N
    return bias.unflatten(2, (batch, -1)).permute(2, 0, 1, 3, 4).flatten(1, 2)
