"""MAPA: modality-aware prompts, one per stage (reference section 3). Its adapters live in the blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ktb.layers import init_down, init_linear, split_streams


class ModalityPrompt(nn.Module):
    """Mix both streams through a bottleneck and add the result, modulated per stream, to each of them.

    Args:
        dim: channels C of the tokens.
        rank: channels r of the bottleneck.
        zero_start: start with `up` at zero, which leaves pretrained features untouched at step 0.
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
        """tokens (2B, h, w, C), rgb samples first → the same shape."""
        rgb, x = split_streams(tokens)
        prompt = self.up(self.fuse(torch.cat([self.down_rgb(rgb), self.down_x(x)], dim=-1)))
        rgb = rgb + prompt + (prompt * self.gamma_rgb + self.beta_rgb)
        x = x + prompt + (prompt * self.gamma_x + self.beta_x)
        return torch.cat([rgb, x])
