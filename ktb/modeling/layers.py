"""Small parts that backbones, prompts and fusion share: adapters, stream handling, initialisation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def split_streams(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """(2B, …) with the rgb samples first → (B, …) rgb and (B, …) x."""
    rgb, x = tokens.unflatten(0, (2, -1)).unbind()  # unlike chunk, also where the batch is a symbol
    return rgb, x


class Reach(NamedTuple):
    """How far an output depends on its input, in cells of its own grid, if cut at multiples of `step`."""

    cells: int
    step: int


def run_block(block: nn.Module, tensor: Tensor, *args: Any, recompute: bool) -> Tensor:
    """A block's output; with `recompute`, and where gradients are wanted, under gradient checkpointing."""
    if recompute and torch.is_grad_enabled() and tensor.requires_grad:
        return checkpoint(block, tensor, *args, use_reentrant=False)
    return block(tensor, *args)


def prefer_chunks(tensor: Tensor) -> bool:
    """Whether to do large work in parts that fit the cache: on a processor, unless a graph is being recorded.

    A graph would get a copy of the work for every part.
    """
    recorded = torch.jit.is_tracing() or torch.compiler.is_compiling()
    return tensor.device.type == "cpu" and not recorded


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
    """Kaiming uniform (a = √5) and zero bias: the start of every down-projection."""
    nn.init.kaiming_uniform_(linear.weight, a=math.sqrt(5))
    nn.init.zeros_(linear.bias)


class TokenNorm(nn.LayerNorm):
    """LayerNorm over the channels of (…, C), as rows of one table, which OpenVINO computes in one step."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.flatten(0, -2)).view(tokens.shape)


class Adapter(nn.Module):
    """A bottleneck, Linear → ReLU → Dropout → Linear, whose output starts at zero; see `StreamAdapters`."""

    def __init__(self, dim: int, rank: int, dropout: float = 0.1):
        super().__init__()
        self.down = nn.Linear(dim, rank)
        self.up = nn.Linear(rank, dim)
        self.dropout = nn.Dropout(dropout)
        init_down(self.down)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)


class StreamAdapters(nn.Module):
    """One adapter for each stream of a (2B, …, C) batch whose first half is rgb (reference section 2)."""

    def __init__(self, dim: int, rank: int):
        super().__init__()
        self.rgb = Adapter(dim, rank)
        self.x = Adapter(dim, rank)

    def forward(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """tokens, residual (2B, …, C) → residual + 0.5·adapter(tokens), both streams in one product."""
        streams = tokens.reshape(2, -1, tokens.shape[-1])
        hidden = self.rgb.dropout(self._both("down", streams).relu())
        return residual.add(self._both("up", hidden).view(residual.shape), alpha=0.5)

    def _both(self, name: str, streams: Tensor) -> Tensor:
        """One linear layer of each adapter, (2, N, C) → (2, N, C')."""
        layers = getattr(self.rgb, name), getattr(self.x, name)
        weights = torch.stack([layer.weight for layer in layers]).transpose(1, 2)
        biases = torch.stack([layer.bias for layer in layers])[:, None]
        return torch.baddbmm(biases, streams, weights)


class NoAdapters(nn.Module):
    """Stands where a configuration leaves the adapters out: the residual stays as it is."""

    def forward(self, tokens: Tensor, residual: Tensor) -> Tensor:
        return residual


def stream_adapters(dim: int, rank: int, wanted: bool) -> StreamAdapters | NoAdapters:
    """The module beside a frozen block."""
    return StreamAdapters(dim, rank) if wanted else NoAdapters()


def require_matching(expected: Mapping[str, Tensor], given: Mapping[str, Tensor], what: str) -> None:
    """Check names and shapes of a state dict.

    Raises:
        ValueError: with the first missing, unexpected and wrongly shaped tensors by name.
    """
    missing = [name for name in expected if name not in given]
    extra = [name for name in given if name not in expected]
    shapes = [
        f"{name} is {tuple(given[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    found = [("missing", missing), ("unexpected", extra), ("wrong shape", shapes)]
    if problems := [f"{kind} ({len(names)}): {'; '.join(names[:5])}" for kind, names in found if names]:
        raise ValueError(f"{what} do not fit the network. " + " | ".join(problems))
