"""MAPA: modality-aware prompts, one module per stage (reference section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ktb.modeling.layers import init_down, init_linear, split_streams


class ModalityPrompt(nn.Module):
    """Mix both streams through a bottleneck and add the result to each stream with its own modulation.

    Args:
        dim: channels C of the tokens.
        rank: channels r of the bottleneck.
        zero_start: initialise `up` to zero, so that pretrained features are unchanged at step 0.
    """

    def __init__(self, dim: int, rank: int, zero_start: bool = False):
        super().__init__()
        self.down_rgb = nn.Linear(dim, rank)
        self.down_x = nn.Linear(dim, rank)
        self.fuse = nn.Linear(2 * rank, rank)
        self.up = nn.Linear(rank, dim)
        for stream in ("rgb", "x"):
            self.register_parameter(f"gamma_{stream}", nn.Parameter(1 + 0.02 * torch.randn(dim)))
            self.register_parameter(f"beta_{stream}", nn.Parameter(0.02 * torch.randn(dim)))
        init_down(self.down_rgb)
        init_down(self.down_x)
        self.fuse.apply(init_linear)
        self.up.apply(init_linear)
        if zero_start:
            nn.init.zeros_(self.up.weight)
            for beta in (self.beta_rgb, self.beta_x):
                nn.init.zeros_(beta)

    def forward(self, tokens: Tensor) -> Tensor:
        """Add prompts to tokens (2B, h, w, C), rgb samples first; the shape is unchanged.

        All operations are linear, so adjacent matrices are multiplied first: `fuse` with both `down`, and
        `up` with each stream's modulation u + (u·γ + β) = u·(1 + γ) + β.
        """
        rgb, x = split_streams(tokens)
        fuse_rgb, fuse_x = self.fuse.weight.chunk(2, dim=1)
        bias = self.fuse.bias + fuse_rgb @ self.down_rgb.bias + fuse_x @ self.down_x.bias
        mixed = F.linear(rgb, fuse_rgb @ self.down_rgb.weight, bias)
        mixed = mixed + F.linear(x, fuse_x @ self.down_x.weight)
        prompts = [
            self._prompt(mixed, self.gamma_rgb, self.beta_rgb),
            self._prompt(mixed, self.gamma_x, self.beta_x),
        ]
        return tokens + torch.cat(prompts)

    def _prompt(self, mixed: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """The prompt of one stream from the bottleneck's features (B, h, w, r)."""
        # 1.0, not 1: the ONNX exporter of torch 2.8 and 2.9 cannot add an integer to a parameter
        return F.linear(mixed, (1.0 + gamma)[:, None] * self.up.weight, (1.0 + gamma) * self.up.bias + beta)
