"""SegFormer heads (reference section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ktb.modeling.layers import init_linear


class SegFormerHead(nn.Module):
    """SegFormer head: logits at the first level's size from four feature maps.

    Projection, upsampling and the 1×1 fuse are linear and commute. Each level's projection is multiplied with
    its slice of the fuse first, which avoids the wide concatenation at full size. In evaluation mode the
    batch norm is folded into these products too.
    """

    def __init__(self, feature_dims: Sequence[int], width: int, num_classes: int, dropout: float = 0.1):
        super().__init__()
        self.proj = nn.ModuleList(nn.Linear(dim, width) for dim in feature_dims)
        self.fuse = nn.Conv2d(len(feature_dims) * width, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)
        self.apply(init_linear)

    def forward(self, feats: Sequence[Tensor]) -> Tensor:
        """Logits (B, K, h_0, w_0) of features (B, h_i, w_i, C_i), one per level."""
        size = feats[0].shape[1:3]
        total = None
        for feat, (weight, bias) in zip(feats, self._projections()):
            folded = F.linear(feat, weight, bias).permute(0, 3, 1, 2)
            if folded.shape[-2:] != size:
                folded = F.interpolate(folded, size=size, mode="bilinear", align_corners=False)
            total = folded if total is None else total + folded
        if self.norm.training:
            total = self.norm(total)
        hidden = self.dropout(torch.relu(total)).permute(0, 2, 3, 1)
        logits = F.linear(hidden, self.classifier.weight.flatten(1), self.classifier.bias)
        return logits.permute(0, 3, 1, 2)

    def _projections(self) -> list[tuple[Tensor, Tensor]]:
        """Fused weight and bias of every level's projection, including the batch norm in evaluation mode."""
        return self._fused_projections() if self.norm.training else self._normed_projections()

    def _fused_projections(self) -> list[tuple[Tensor, Tensor]]:
        parts = self.fuse.weight.flatten(1).chunk(len(self.proj), dim=1)  # levels 3, 2, 1, 0: (e, e) each
        return [(part @ proj.weight, part @ proj.bias) for proj, part in zip(self.proj, reversed(parts))]

    def _normed_projections(self) -> list[tuple[Tensor, Tensor]]:
        scale = self.norm.weight * torch.rsqrt(self.norm.running_var + self.norm.eps)
        folded = [(scale[:, None] * weight, scale * bias) for weight, bias in self._fused_projections()]
        weight, bias = folded[0]
        folded[0] = weight, bias + self.norm.bias - scale * self.norm.running_mean
        return folded
