"""SegFormer heads (reference section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ktb.layers import init_linear


class SegFormerHead(nn.Module):
    """Four feature maps → logits at the first level's size.

    Projection, upsampling and the 1×1 fuse are linear and commute, so each level's projection is first
    multiplied with its slice of the fuse: the wide concatenation at full size never exists.
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
        """feats: per level (B, h_i, w_i, C_i) → logits (B, K, h_0, w_0)."""
        size = feats[0].shape[1:3]
        fuse_parts = self.fuse.weight.flatten(1).chunk(len(feats), dim=1)  # levels 3, 2, 1, 0: (e, e) each
        total = None
        for feat, proj, fuse in zip(feats, self.proj, reversed(fuse_parts)):
            folded = F.linear(feat, fuse @ proj.weight, fuse @ proj.bias).permute(0, 3, 1, 2)
            if folded.shape[-2:] != size:
                folded = F.interpolate(folded, size=size, mode="bilinear", align_corners=False)
            total = folded if total is None else total + folded
        return self.classifier(self.dropout(torch.relu(self.norm(total))))
