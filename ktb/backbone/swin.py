"""Frozen Swin with an adapter per stream and block (reference section 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp
from timm.models.swin_transformer import PatchMerging, WindowAttention, window_partition, window_reverse
from torch import Tensor, nn

from ktb.config import SwinConfig
from ktb.layers import require_matching, stream_adapters

SHIFT_PENALTY = -100.0
UNUSED_TIMM_TENSORS = ("norm.", "head.")


class PatchEmbed(nn.Module):
    """4×4 stride-4 convolution and LayerNorm; zero-pads bottom and right to a multiple of 4."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, 4)
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, ⌈H/4⌉, ⌈W/4⌉, C)."""
        height, width = image.shape[-2:]
        image = F.pad(image, (0, -width % 4, 0, -height % 4))
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class SwinBlock(nn.Module):
    """Window attention, MLP and one adapter per stream (reference section 2)."""

    def __init__(
        self, dim: int, num_heads: int, window: int, shift: int, adapters: nn.Module, drop_path: float
    ):
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, num_heads, window_size=window)
        self.attn.fused_attn = True
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)
        self.adapters = adapters
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, shift_mask: Tensor) -> Tensor:
        """tokens (2B, h, w, C); shift_mask (windows, N, N), used by shifted blocks only."""
        tokens = tokens + self.drop_path(self._window_attention(self.norm1(tokens), shift_mask))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens))) + 0.5 * self.adapters(tokens)

    def _window_attention(self, tokens: Tensor, shift_mask: Tensor) -> Tensor:
        height, width, dim = tokens.shape[1:]
        size, shift = self.window, self.shift
        # Padding comes before the roll: timm's own block rolls first, which differs wherever it pads.
        padded = F.pad(tokens, (0, 0, 0, -width % size, 0, -height % size))
        padded_hw = padded.shape[1:3]
        if shift:
            padded = padded.roll((-shift, -shift), dims=(1, 2))
        windows = window_partition(padded, (size, size)).view(-1, size * size, dim)
        windows = self.attn(windows, mask=shift_mask if shift else None)
        padded = window_reverse(windows.view(-1, size, size, dim), (size, size), *padded_hw)
        if shift:
            padded = padded.roll((shift, shift), dims=(1, 2))
        return padded[:, :height, :width]


def shift_mask(height: int, width: int, window: int, like: Tensor) -> Tensor:
    """−100 between positions of different shift regions: (windows, window², window²) in `like`'s dtype."""
    shift = window // 2
    regions = torch.zeros(1, -(-height // window) * window, -(-width // window) * window, 1)
    bands = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    for number, (rows, columns) in enumerate((r, c) for r in bands for c in bands):
        regions[:, rows, columns] = number
    windows = window_partition(regions, (window, window)).flatten(1)
    different = windows[:, None] != windows[:, :, None]
    return torch.zeros(different.shape, dtype=like.dtype, device=like.device).masked_fill_(
        different.to(like.device), SHIFT_PENALTY
    )


class SwinStage(nn.Module):
    """Patch merging (but not in the first stage) and the blocks of one stage."""

    def __init__(self, config: SwinConfig, level: int, drop_paths: list[float]):
        super().__init__()
        dim = config.stage_dims[level]
        self.downsample = PatchMerging(dim // 2) if level else nn.Identity()
        self.blocks = nn.ModuleList(
            SwinBlock(
                dim=dim,
                num_heads=config.num_heads[level],
                window=config.window_size,
                shift=config.window_size // 2 if index % 2 else 0,
                adapters=stream_adapters(dim, config.adapter_ranks[level], config.adapters),
                drop_path=drop_path,
            )
            for index, drop_path in enumerate(drop_paths)
        )


class SwinBackbone(nn.Module):
    """Frozen Swin shared by both streams; the X patch embedding and the adapters train."""

    def __init__(self, config: SwinConfig):
        super().__init__()
        self.window = config.window_size
        self.patch_embed = PatchEmbed(config.embed_dim)
        self.patch_embed_x = PatchEmbed(config.embed_dim)
        # Always on the CPU, so that the network can be built on "meta", where shapes are all that exists.
        rates = torch.linspace(0, config.drop_path, sum(config.depths), device="cpu").split(config.depths)
        self.stages = nn.ModuleList(
            SwinStage(config, level, paths.tolist()) for level, paths in enumerate(rates)
        )
        self.start_x_from_rgb()
        self.requires_grad_(False)
        self.patch_embed_x.requires_grad_(True)
        for stage in self.stages:
            for block in stage.blocks:
                block.adapters.requires_grad_(True)

    def start_x_from_rgb(self) -> None:
        """Start the X patch embedding as a copy of the pretrained one."""
        self.patch_embed_x.load_state_dict(self.patch_embed.state_dict())

    def embed(self, rgb: Tensor, modal_x: Tensor) -> Tensor:
        return torch.cat([self.patch_embed(rgb), self.patch_embed_x(modal_x)])

    def downsample(self, tokens: Tensor, level: int) -> Tensor:
        return self.stages[level].downsample(tokens)

    def blocks(self, tokens: Tensor, level: int) -> Tensor:
        mask = shift_mask(*tokens.shape[1:3], self.window, tokens)
        for block in self.stages[level].blocks:
            tokens = block(tokens, mask)
        return tokens

    def freeze_statistics(self) -> None:
        """Swin keeps no running statistics; stochastic depth and dropout act in training as usual."""

    @staticmethod
    def timm_name(config: SwinConfig) -> str:
        """The timm model whose weights fit, ValueError if there is none."""
        sizes = {128: "base", 192: "large"}
        if config.embed_dim not in sizes or config.window_size != 12:
            raise ValueError(
                f"timm has no Swin with embed_dim {config.embed_dim} and window {config.window_size} "
                f"pretrained on ImageNet-22k; give a local file with fitting weights."
            )
        return f"swin_{sizes[config.embed_dim]}_patch4_window12_384.ms_in22k"

    def load_timm(self, state: Mapping[str, Tensor]) -> None:
        """Load pretrained tensors in timm's names and start the X patch embedding as a copy.

        Raises:
            ValueError: naming the first tensors that are missing, left over or of another shape.
        """
        ours = {
            re.sub(r"^layers\.", "stages.", name): tensor
            for name, tensor in state.items()
            if not name.startswith(UNUSED_TIMM_TENSORS) and not name.endswith(("_index", "attn_mask"))
        }
        frozen = {n: p for n, p in self.state_dict().items() if not re.search(r"adapters|patch_embed_x", n)}
        require_matching(frozen, ours, "the pretrained Swin weights")
        self.load_state_dict({**self.state_dict(), **ours})
        self.start_x_from_rgb()
