"""Fusion of one level: DSCF, dynamic sparse cross-modality fusion (reference section 4), or a plain mean."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ktb.modeling.layers import init_linear, prefer_chunks
from ktb.modeling.position_bias import position_bias, query_axis
from ktb.modeling.trace import FusionTrace

BIAS_TABLE_SIZE = (119, 159)
MAX_SCORES = 32_000_000  # attention scores held at once; larger maps are fused in chunks of query rows
MAX_CPU_SCORES = 800_000  # fit the CPU's cache: three times faster


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, H, W)."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def offset_net(channels: int, stride: int) -> nn.Sequential:
    """Depthwise 9×9 (strided) → LayerNorm → GELU → 1×1 to (Δy, Δx)."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 9, stride, padding=4, groups=channels),
        ChannelNorm(channels),
        nn.GELU(),
        nn.Conv2d(channels, 2, 1, bias=False),
    )


def reference_axis(length: int, device: torch.device) -> Tensor:
    """Reference point coordinates along one axis, (length,) in align-corners units; 0 for a single point."""
    if length == 1:
        return torch.zeros(1, device=device)
    return (torch.arange(length, device=device) + 0.5) / (length - 1) * 2 - 1


def reference_points(point_hw: tuple[int, int], device: torch.device) -> Tensor:
    """Reference points (2n, 2) as (y, x) of an (h', w') grid: n rgb-led points, then the same n for x."""
    axes = [reference_axis(side, device) for side in point_hw]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1).repeat(2, 1)


class MeanFusion(nn.Module):
    """Ablation baseline of DSCF: the mean of both streams, without weights or attention."""

    def forward(self, feats_rgb: Tensor, feats_x: Tensor, trace: bool = False) -> tuple[Tensor, None]:
        """Average feats_rgb and feats_x (B, h, w, C); the trace is None."""
        return 0.5 * (feats_rgb + feats_x), None


class DSCF(nn.Module):
    """Fuse the feature maps of both streams at one level by attention to sparse points sampled in both.

    Args:
        dim: channels C of the features.
        rank: channels c of the fusion.
        num_heads, groups, stride: M, G and the spacing s of the point grid.
        alpha: initial value of α, the weight of the attended features.
        residual: add the mean of both streams to the output; `up` starts at zero, so that the fusion starts
            as the mean.
    """

    def __init__(
        self,
        dim: int,
        rank: int,
        num_heads: int,
        groups: int,
        stride: int,
        alpha: float,
        residual: bool = False,
    ):
        super().__init__()
        self.num_heads, self.groups, self.residual = num_heads, groups, residual
        self.down_rgb = nn.Linear(dim, rank)
        self.down_x = nn.Linear(dim, rank)
        self.up = nn.Linear(rank, dim)
        self.context_conv = nn.Conv2d(2 * rank, rank, 3, padding=1)
        self.context_norm = nn.BatchNorm2d(rank)
        self.offsets_rgb = offset_net(rank // groups, stride)
        self.offsets_x = offset_net(rank // groups, stride)
        self.modality_net = nn.Sequential(nn.Conv2d(rank, rank, 1), nn.ReLU(), nn.Conv2d(rank, 2, 1))
        self.proj_q, self.proj_k, self.proj_v, self.proj_out = (nn.Conv2d(rank, rank, 1) for _ in range(4))
        self.bias_table = nn.Parameter(torch.empty(num_heads, *BIAS_TABLE_SIZE))
        self.alpha = nn.Parameter(torch.full((rank,), float(alpha)))
        self.iota = nn.Parameter(torch.ones(rank))
        self.apply(init_linear)
        nn.init.trunc_normal_(self.bias_table, std=0.01)
        if residual:
            nn.init.zeros_(self.up.weight)

    def forward(
        self, feats_rgb: Tensor, feats_x: Tensor, trace: bool = False
    ) -> tuple[Tensor, FusionTrace | None]:
        """Fuse feats_rgb and feats_x (B, h, w, C) to (B, h, w, C); also return a FusionTrace if `trace`."""
        low_rgb = self.down_rgb(feats_rgb).permute(0, 3, 1, 2)  # B, c, h, w
        low_x = self.down_x(feats_x).permute(0, 3, 1, 2)
        context = F.gelu(self.context_norm(self.context_conv(torch.cat([low_rgb, low_x], dim=1))))
        query_map = self.proj_q(context)
        points, reference, offsets, point_hw = self._sampling_points(low_rgb, low_x)
        sampled = self._sample(torch.stack([low_rgb, low_x, query_map], dim=1), points)
        weights = self.modality_net(sampled[:, 2]).softmax(dim=1)  # B, 2, 1, 2n
        mixed = weights[:, :1] * sampled[:, 0] + weights[:, 1:] * sampled[:, 1]  # B, c, 1, 2n
        query, key, value = map(self._heads, (query_map, self.proj_k(mixed), self.proj_v(mixed)))
        attended = self._attend(query, key, value, points, query_map.shape[-2:])
        sparse = self.alpha[:, None, None] * self.proj_out(attended)
        dense = self.iota[:, None, None] * context
        fused = self.up((sparse + dense).permute(0, 2, 3, 1))
        mean = 0.5 * (feats_rgb + feats_x) if self.residual else None
        if mean is not None:
            fused = fused + mean
        if not trace:
            return fused, None
        attended_norm, context_norm = self._norms(sparse, dense)
        return fused, FusionTrace(
            query=query,
            key=key,
            sampling_points=points,
            reference_points=reference,
            sampling_offsets=offsets,
            modality_weights=weights.squeeze(2),
            bias_table=self.bias_table.detach(),
            query_hw=tuple(query_map.shape[-2:]),
            point_hw=point_hw,
            attended_norm=attended_norm,
            context_norm=context_norm,
            residual_norm=None if mean is None else mean.norm(dim=-1),
        )

    def sensor_values(self, feats_rgb: Tensor, feats_x: Tensor, trace: FusionTrace) -> Tensor:
        """Parts of the points' values by sensor, (B, 2, M, 2n, d), rgb first, from the inputs of `forward`.

        The values are linear in both streams: with the bias of `proj_v`, the parts sum to them.
        """
        lows = (self.down_rgb(feats_rgb), self.down_x(feats_x))
        maps = torch.stack([low.permute(0, 3, 1, 2) for low in lows], dim=1)  # B, 2, c, h, w
        mixed = self._sample(maps, trace.sampling_points) * trace.modality_weights[:, :, None, None]
        parts = F.linear(mixed.movedim(2, -1), self.proj_v.weight[:, :, 0, 0])  # B, 2, 1, 2n, c
        return parts[:, :, 0].unflatten(-1, (self.num_heads, -1)).transpose(2, 3)

    def sparse_part(self, attended: Tensor) -> Tensor:
        """The fused feature's summand from an attended feature (…, c), without biases, as the trace's norms.

        Beside a residual it is taken after `up`, (…, C), else before it, (…, c).
        """
        sparse = self.alpha * F.linear(attended, self.proj_out.weight[:, :, 0, 0])
        return F.linear(sparse, self.up.weight) if self.residual else sparse

    def _norms(self, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Norms (B, h, w) of both summands (B, c, h, w): after `up` beside a residual, else before it."""
        if not self.residual:
            return sparse.norm(dim=1), dense.norm(dim=1)
        parts = (F.linear(part.permute(0, 2, 3, 1), self.up.weight) for part in (sparse, dense))
        attended, context = (part.norm(dim=-1) for part in parts)
        return attended, context

    def _sampling_points(
        self, low_rgb: Tensor, low_x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, tuple[int, int]]:
        """Points and offsets (B, G, 2n, 2) and references (2n, 2), rgb-led first; grid size (h', w')."""
        per_stream = []
        for low, net in ((low_rgb, self.offsets_rgb), (low_x, self.offsets_x)):
            grouped = low.unflatten(1, (self.groups, -1)).flatten(0, 1)  # B·G, c/G, h, w
            offsets = net(grouped).unflatten(0, (-1, self.groups))  # B, G, 2, h', w'
            per_stream.append(offsets.flatten(3).transpose(2, 3).float())
        point_hw = tuple(offsets.shape[-2:])
        reference = reference_points(point_hw, low_rgb.device)
        offsets = torch.cat(per_stream, dim=2)
        return (reference + offsets).clamp(-1, 1), reference, offsets, point_hw

    def _sample(self, maps: Tensor, points: Tensor) -> Tensor:
        """Sample maps (B, S, c, h, w) at each group's own points (B, G, 2n, 2): (B, S, c, 1, 2n)."""
        batch, count, _, height, width = maps.shape
        grouped = maps.unflatten(2, (self.groups, -1)).transpose(1, 2)  # B, G, S, c/G, h, w
        grid = points.flip(-1).flatten(0, 1)[:, None]  # B·G, 1, 2n, (x, y)
        flat = grouped.reshape(batch * self.groups, -1, height, width)
        sampled = F.grid_sample(flat.float(), grid, mode="bilinear", align_corners=True).to(maps.dtype)
        return sampled.view(batch, self.groups, count, -1, 1, sampled.shape[-1]).transpose(1, 2).flatten(2, 3)

    def _heads(self, image: Tensor) -> Tensor:
        """Split channels into heads: (B, c, h, w) → (B, M, h·w, c/M)."""
        return image.permute(0, 2, 3, 1).flatten(1, 2).unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def _attend(
        self, query: Tensor, key: Tensor, value: Tensor, points: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Attention of all positions to the points, (B, c, h, w), computed in chunks of query rows."""
        height, width = size
        if prefer_chunks(query):  # PyTorch's fused attention on the CPU needs the channels side by side
            query, key, value = (tensor.contiguous() for tensor in (query, key, value))
        query_y, query_x = query_axis(height, query.device)[:, None], query_axis(width, query.device)[None]
        rows = self._rows_at_once(query, key, width)
        blocks = []
        for part, at in zip(query.split(rows * width, dim=2), query_y.split(rows)):
            bias = position_bias(self.bias_table, at, query_x, points).to(query.dtype)
            attended = F.scaled_dot_product_attention(part, key, value, attn_mask=bias)
            blocks.append(attended.transpose(1, 2).flatten(2))  # B, Q, c
        return torch.cat(blocks, dim=1).unflatten(1, size).permute(0, 3, 1, 2)

    def _rows_at_once(self, query: Tensor, key: Tensor, width: int) -> int:
        scores = min(MAX_SCORES, MAX_CPU_SCORES) if prefer_chunks(query) else MAX_SCORES
        batch = query.shape[0]
        if isinstance(batch, torch.SymInt):  # an exported dynamic batch is chunked as one sample
            batch = 1
        return max(1, scores // (batch * self.num_heads * width * key.shape[2]))
