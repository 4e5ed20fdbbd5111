"""Inspection of one pixel: its sampling points, their attention, and the sources of its fused feature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ktb.analysis.types import PixelShares, PixelView, cell_at
from ktb.modeling.trace import FusionTrace


def inspect_pixel(
    traces: Sequence[FusionTrace],
    level: int,
    at: tuple[float, float],
    head: int | None = None,
    x_is_missing: bool = False,
) -> PixelView:
    """Inspect the attention of one pixel at one level; computes one row of attention only.

    Args:
        traces: one per level, of a single pair.
        level: index of the level.
        at: (y, x) as fractions 0..1 of the image, see `at_of_pixel`; selects a cell of the level's grid.
        head: one head, which uses the points of group ⌊head / (M/G)⌋; None for all heads: the points of all
            groups, each with the attention of its group's heads divided by M.
        x_is_missing: the network ran without X; stored in the result.

    Raises:
        ValueError: the level or head does not exist, `at` is outside the image, or the traces have several
            pairs.
    """
    trace = _trace_of(traces, level)
    row, column = cell_at(trace.query_hw, at)
    attention = _attention_at(trace, (row, column))  # M, 2n
    heads, points = attention.shape
    groups = trace.sampling_points.shape[1]
    if head is not None and not 0 <= head < heads:
        raise ValueError(f"head {head} does not exist: level {level} has heads 0 to {heads - 1}.")
    if head is None:
        chosen = range(groups)
        weights = attention.unflatten(0, (groups, heads // groups)).sum(dim=1) / heads  # G, 2n
        rows = attention
    else:
        chosen = [head // (heads // groups)]
        weights = rows = attention[head : head + 1]
    entropies = torch.special.entr(rows).sum(dim=-1)
    sparse, residual = _shares_at(trace, (row, column))
    weight_x = np.tile(as_array(trace.modality_weights[0, 1]), len(chosen))
    spread = as_array(weights).reshape(-1)
    return PixelView(
        level=level,
        head=head,
        position=(row, column),
        grid_hw=trace.query_hw,
        points=as_array(trace.sampling_points[0, list(chosen)]).reshape(-1, 2),
        references=np.tile(as_array(trace.reference_points), (len(chosen), 1)),
        attention=spread,
        weight_x=weight_x,
        x_led=np.tile(np.arange(points) >= points // 2, len(chosen)),
        balance=float(spread @ weight_x),
        entropy=min(1.0, float(entropies.mean()) / math.log(points)),
        effective_points=float(entropies.exp().mean()),
        sparse_share=sparse,
        points_per_head=points,
        residual_share=None if trace.residual_norm is None else residual,
        x_is_missing=x_is_missing,
    )


def pixel_balances(traces: Sequence[FusionTrace], at: tuple[float, float]) -> list[float]:
    """Fraction of the pixel's attention on x per level, 0..1, mean over the heads."""
    return [_balance_at(trace, cell_at(trace.query_hw, at)) for trace in map(require_single, traces)]


def pixel_shares(
    traces: Sequence[FusionTrace], at: tuple[float, float], x_is_missing: bool = False
) -> list[PixelShares]:
    """Sources of the pixel's fused feature per level; without X all that is attended counts as rgb.

    Raises:
        ValueError: the pixel is outside the image, or the traces have several pairs.
    """
    shares = []
    for trace, balance in zip(traces, pixel_balances(traces, at)):
        sparse, residual = _shares_at(trace, cell_at(trace.query_hw, at))
        balance = 0.0 if x_is_missing else balance
        context = 1 - sparse - residual
        shares.append(PixelShares(sparse * (1 - balance), sparse * balance, context, residual))
    return shares


def fused_shares(trace: FusionTrace) -> tuple[Tensor, Tensor | None]:
    """Fractions (B, h, w) of the fused feature from the attention and from the residual, None without one.

    The rest is context. Where all norms are 0, so are both fractions.
    """
    norms = [trace.attended_norm, trace.context_norm]
    norms += [] if trace.residual_norm is None else [trace.residual_norm]
    total = torch.stack([norm.float() for norm in norms]).sum(dim=0)
    total = total.clamp(min=torch.finfo(torch.float32).tiny)
    residual = None if trace.residual_norm is None else trace.residual_norm.float() / total
    return trace.attended_norm.float() / total, residual


def require_single(trace: FusionTrace) -> FusionTrace:
    """The trace; ValueError unless it has exactly one pair."""
    if len(trace.query) != 1:
        raise ValueError(
            f"the trace holds {len(trace.query)} pairs; run the network on one pair at a time to inspect it."
        )
    return trace


def as_array(tensor: Tensor) -> np.ndarray:
    """As float32 on the CPU."""
    return tensor.detach().float().cpu().numpy()


def _trace_of(traces: Sequence[FusionTrace], level: int) -> FusionTrace:
    if not 0 <= level < len(traces):
        raise ValueError(f"level {level} does not exist: the trace has levels 0 to {len(traces) - 1}.")
    return require_single(traces[level])


def _attention_at(trace: FusionTrace, cell: tuple[int, int]) -> Tensor:
    index = cell[0] * trace.query_hw[1] + cell[1]
    return trace.attention(torch.tensor([index]))[0, :, 0]


def _balance_at(trace: FusionTrace, cell: tuple[int, int]) -> float:
    return float((_attention_at(trace, cell) @ trace.modality_weights[0, 1].float()).mean())


@torch.no_grad()
def _shares_at(trace: FusionTrace, cell: tuple[int, int]) -> tuple[float, float]:
    """Fractions of one position's fused feature from the attention and from the residual (0 without one)."""
    sparse, residual = fused_shares(trace)
    return float(sparse[0][cell]), 0.0 if residual is None else float(residual[0][cell])
