"""Layers shared by backbones, prompts and fusion: adapters, stream handling, initialisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def split_streams(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Split (2B, …), rgb samples first, into rgb (B, …) and x (B, …)."""
    rgb, x = tokens.unflatten(0, (2, -1)).unbind()  # chunk fails for a symbolic batch size
    return rgb, x


class Reach(NamedTuple):
    """Receptive field of an output in cells of its grid, if its input is cut at multiples of `step`."""

    cells: int
    step: int


def run_block(block: nn.Module, tensor: Tensor, *args: Any, recompute: bool) -> Tensor:
    """Run a block, with gradient checkpointing if `recompute` and gradients are enabled."""
    if recompute and torch.is_grad_enabled() and tensor.requires_grad:
        return checkpoint(block, tensor, *args, use_reentrant=False)
    return block(tensor, *args)


def prefer_chunks(tensor: Tensor) -> bool:
    """Whether to process in cache-sized chunks (CPU only, not while exporting).

    An exported graph would contain a copy of the operations for every chunk.
    """
    exporting = torch.jit.is_tracing() or torch.compiler.is_compiling()
    return tensor.device.type == "cpu" and not exporting


def init_linear(module: nn.Module) -> None:
    """Truncated normal 0.02 and zero bias for linear layers and 1×1 convolutions, He (fan out) otherwise."""
    if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.weight.shape[0] * module.weight[0, 0].numel() // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def init_down(linear: nn.Linear) -> None:
    """Kaiming uniform (a = √5) and zero bias, for every down-projection."""
    nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
    nn.init.zeros_(linear.bias)


class TokenNorm(nn.LayerNorm):
    """LayerNorm over the channels of (…, C), flattened to (N, C) because OpenVINO fuses that form."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.flatten(0, -2)).view(tokens.shape)


class Adapter(nn.Module):
    """Bottleneck Linear → ReLU → Dropout → Linear with a zero-initialised output; see `StreamAdapters`."""

    def __init__(self, dim: int, rank: int, dropout: float = 0.1):
        super().__init__()
        self.down = nn.Linear(dim, rank)
        self.up = nn.Linear(rank, dim)
        self.dropout = nn.Dropout(dropout)
        init_down(self.down)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)


class StreamAdapters(nn.Module):
    """One adapter per stream of a (2B, …, C) batch, rgb samples first (reference section 2)."""

    def __init__(self, dim: int, rank: int):
        super().__init__()
        self.rgb = Adapter(dim, rank)
        self.x = Adapter(dim, rank)

    def forward(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """residual + 0.5·adapter(tokens) for tokens and residual (2B, …, C), both streams in one product."""
        streams = tokens.reshape(2, -1, tokens.shape[-1])
        hidden = self.rgb.dropout(self._both("down", streams).relu())
        return residual.add(self._both("up", hidden).view(residual.shape), alpha=0.5)

    def _both(self, name: str, streams: Tensor) -> Tensor:
        """Apply the same linear layer of each adapter: (2, N, C) → (2, N, C')."""
        layers = getattr(self.rgb, name), getattr(self.x, name)
        weights = torch.stack([layer.weight for layer in layers]).transpose(1, 2)
        biases = torch.stack([layer.bias for layer in layers])[:, None]
        return torch.baddbmm(biases, streams, weights)


class NoAdapters(nn.Module):
    """Ablation of the adapters: returns the residual unchanged."""

    def forward(self, tokens: Tensor, residual: Tensor) -> Tensor:
        return residual


def stream_adapters(dim: int, rank: int, wanted: bool) -> StreamAdapters | NoAdapters:
    """The adapters parallel to a frozen block, or their ablation."""
    return StreamAdapters(dim, rank) if wanted else NoAdapters()


def require_matching(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> None:
    """Require a state dict to match in names and shapes.

    Raises:
        ValueError: naming the first missing and unexpected tensors and those with a shape mismatch.
    """
    missing = [name for name in expected if name not in given]
    extra = [name for name in given if name not in expected]
    shapes = [
        f"{name} is {tuple(given[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    found = [("missing", missing), ("unexpected", extra), ("shape mismatch", shapes)]
    if problems := [f"{kind} ({len(names)}): {'; '.join(names[:5])}" for kind, names in found if names]:
        raise ValueError(f"{what} do not fit the network. " + " | ".join(problems))
