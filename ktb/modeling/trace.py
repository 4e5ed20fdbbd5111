"""Fusion traces: compact tensors of one level, from which attention is computed on demand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ktb.modeling.position_bias import position_bias, query_axis

MAX_ATTENTION_ENTRIES = 16_000_000  # scores held at once while a whole map is computed
MAX_CPU_ENTRIES = 1_000_000  # fit the CPU's cache: several times faster


@dataclass(frozen=True)
class AttentionSummary:
    """Summary of whole attention maps; B batch, M heads, 2n points, (h, w) the level's grid."""

    balance: Tensor  # (B, M, h, w) in [0, 1]: fraction of the attention on x
    entropy: Tensor  # (B, M, h, w) in [0, 1]: normalised by log 2n, 1 = uniform
    received: Tensor  # (B, M, 2n): attention per point, mean over the positions; sums to 1


@dataclass(frozen=True)
class FusionTrace:
    """Tensors of one DSCF level; B batch, M heads, G groups, n points per stream, d channels per head.

    Coordinates are (y, x) in [-1, 1], align-corners. The first n of the 2n points are rgb-led, the others
    x-led. The norms are those of the fused feature's summands. Beside a residual they are taken after the
    fusion's last layer `up`, in the space of the residual; without one before it.
    """

    query: Tensor  # (B, M, h·w, d)
    key: Tensor  # (B, M, 2n, d)
    sampling_points: Tensor  # (B, G, 2n, 2)
    reference_points: Tensor  # (2n, 2), points before their offsets
    sampling_offsets: Tensor  # (B, G, 2n, 2), raw; points = clamp(reference + offset, -1, 1)
    modality_weights: Tensor  # (B, 2, 2n): w_rgb and w_x, summing to 1
    bias_table: Tensor  # (M, 119, 159)
    query_hw: tuple[int, int]
    point_hw: tuple[int, int]  # h', w'; n = h'·w'
    attended_norm: Tensor  # (B, h, w): ‖α ⊙ attended‖ per position
    context_norm: Tensor  # (B, h, w): ‖ι ⊙ z‖ per position
    residual_norm: Tensor | None = None  # (B, h, w): norm of the mean of both streams; None without residual

    @torch.no_grad()
    def attention(self, query_indices: Tensor) -> Tensor:
        """Attention weights of some queries, (B, M, Q, 2n), each row summing to 1.

        Args:
            query_indices: (Q,) integers y·w + x into the level's grid.

        Raises:
            ValueError: for an index outside the grid.
        """
        height, width = self.query_hw
        indices = torch.as_tensor(query_indices, device=self.query.device).long().reshape(-1)
        if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < height * width:
            raise ValueError(
                f"query index {int(indices.min())}..{int(indices.max())} is outside this level's "
                f"{height}×{width} grid; give y·{width} + x with values 0 to {height * width - 1}."
            )
        return self._scores(indices).softmax(dim=-1)

    @torch.no_grad()
    def summary(self) -> AttentionSummary:
        """Balance and entropy per head and position and attention per point, in one pass.

        Memory is bounded: positions are processed in chunks, and no chunk's attention is kept.
        """
        weight_x = self.modality_weights[:, 1].float()
        balances, entropies = [], []
        received = torch.zeros(self.key.shape[:3], device=self.key.device)
        for indices in self._query_chunks():
            scores = self._scores(indices)
            attention = scores.softmax(dim=-1)
            received += attention.sum(dim=2)
            balances.append(torch.einsum("bmqn,bn->bmq", attention, weight_x))
            # −Σ a·log a = log Σ eˢ − Σ a·s saves the logarithm of every entry
            spread = scores.logsumexp(dim=-1) - torch.einsum("bmqn,bmqn->bmq", attention, scores)
            entropies.append(spread / math.log(self.key.shape[2]))
        return AttentionSummary(
            balance=torch.cat(balances, dim=-1).unflatten(-1, self.query_hw),
            entropy=torch.cat(entropies, dim=-1).clamp(0, 1).unflatten(-1, self.query_hw),
            received=received / self.query.shape[2],
        )

    @torch.no_grad()
    def balance(self) -> Tensor:
        """Fraction of each position's attention on x: Σ a·w_x over the points, mean over the heads.

        Returns:
            (B, h, w) in [0, 1]; 0.5 where both sensors contribute equally.
        """
        return self.summary().balance.mean(dim=1)

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """Normalised attention entropy (B, M, h, w) in [0, 1]; 1 is uniform, that is uninformative."""
        return self.summary().entropy

    def _scores(self, indices: Tensor) -> Tensor:
        """Attention scores of some queries before the softmax, (B, M, Q, 2n) float32."""
        rows, columns = (query_axis(side, self.query.device) for side in self.query_hw)
        query_y, query_x = rows[indices // self.query_hw[1]], columns[indices % self.query_hw[1]]
        bias = position_bias(self.bias_table, query_y, query_x, self.sampling_points)
        scores = self.query[:, :, indices].float() @ self.key.float().transpose(-1, -2)
        return torch.add(bias, scores, alpha=self.query.shape[-1] ** -0.5)

    def _query_chunks(self) -> Iterator[Tensor]:
        batch, heads, queries, _ = self.query.shape
        on_cpu = self.query.device.type == "cpu"
        entries = min(MAX_ATTENTION_ENTRIES, MAX_CPU_ENTRIES) if on_cpu else MAX_ATTENTION_ENTRIES
        size = max(1, entries // (batch * heads * self.key.shape[2]))
        yield from torch.arange(queries, device=self.query.device).split(size)
