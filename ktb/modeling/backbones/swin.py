"""Frozen Swin with an adapter per stream and block (reference section 2)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import torch
import torch.nn.functional as F
from timm.layers import DropPath, Mlp, trunc_normal_
from timm.models.swin_transformer import PatchMerging
from torch import Tensor, nn

from ktb.config import SwinConfig
from ktb.modeling.backbones.windows import (
    BOTTOM,
    RIGHT,
    WindowLayout,
    relative_positions,
    shift_penalty,
    window_layout,
)
from ktb.modeling.layers import (
    Reach,
    TokenNorm,
    prefer_chunks,
    require_matching,
    run_block,
    stream_adapters,
)
from ktb.modeling.memo import Memo

TOKENS_AT_ONCE = 2400  # through an MLP: fits the CPU's cache, large enough for fast products
KEPT_LAYOUTS = 16  # four levels, plain and shifted, for two image sizes
UNUSED_TIMM_TENSORS = ("norm.", "head.")


class PatchEmbed(nn.Module):
    """Patch embedding: 4×4 stride-4 convolution and LayerNorm, zero-padded bottom and right."""

    def __init__(self, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, 4, 4)
        self.norm = TokenNorm(dim)

    def forward(self, image: Tensor) -> Tensor:
        """Embed (B, 3, H, W) as tokens (B, ⌈H/4⌉, ⌈W/4⌉, C)."""
        height, width = image.shape[-2:]
        image = F.pad(image, (0, -width % 4, 0, -height % 4))
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class AttentionWeights(nn.Module):
    """Parameters of one block's window attention in timm's names; `SwinBlock` uses them.

    relative_position_bias_table: ((2·window - 1)², heads), one bias per offset between two positions;
    relative_position_index: (window², window²) int64, the row of each pair of positions.
    """

    relative_position_index: Tensor

    def __init__(self, dim: int, num_heads: int, window: int):
        super().__init__()
        self.dim, self.num_heads, self.scale = dim, num_heads, (dim // num_heads) ** -0.5
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, num_heads))
        self.register_buffer("relative_position_index", relative_positions(window), persistent=False)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        trunc_normal_(self.relative_position_bias_table, std=0.02)


class SwinBlock(nn.Module):
    """Window attention, MLP and one adapter per stream (reference section 2)."""

    def __init__(
        self, dim: int, num_heads: int, window: int, shift: int, adapters: nn.Module, drop_path: float
    ):
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = TokenNorm(dim)
        self.attn = AttentionWeights(dim, num_heads, window)
        self.norm2 = TokenNorm(dim)
        self.mlp = Mlp(dim, 4 * dim)
        self.adapters = adapters
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, layout: WindowLayout) -> Tensor:
        """Run the block on tokens (2B, h, w, C); `layout` is shifted if this block shifts its windows."""
        tokens = tokens + self.drop_path(self.window_attention(self.norm1(tokens), layout))
        return self.adapters(tokens, self.feed_forward(tokens))

    def feed_forward(self, tokens: Tensor) -> Tensor:
        """The MLP and its residual."""
        if self.training or torch.is_grad_enabled() or not prefer_chunks(tokens):
            return tokens + self.drop_path(self.mlp(self.norm2(tokens)))
        result = tokens.clone(memory_format=torch.contiguous_format)
        for part in result.view(-1, tokens.shape[-1]).split(TOKENS_AT_ONCE):
            part.add_(self.mlp(self.norm2(part)))
        return result

    def window_attention(self, tokens: Tensor, layout: WindowLayout) -> Tensor:
        """Window attention; the projections run once per token, only the attention in padded windows."""
        flat = tokens.flatten(1, 2)
        if layout.padded:
            flat = F.pad(flat, (0, 0, 0, 1))  # the zero token of padded positions
        qkv = self._projections(flat)
        biases = self._position_biases(qkv[0].dtype)
        groups = [
            self._attend([tensor.index_select(1, at) for tensor in qkv], biases[kind])
            for kind, at in layout.groups
        ]
        attended = groups[0] if len(groups) == 1 else torch.cat(groups, dim=1)
        attended = self.attn.proj(attended.index_select(1, layout.back))
        return attended.unflatten(1, tokens.shape[1:3])

    def _projections(self, tokens: Tensor) -> list[Tensor]:
        """Scaled queries, keys and values (2B, N, C), each contiguous."""
        qkv = self.attn.qkv
        (weight, *weights), (bias, *biases) = qkv.weight.chunk(3), qkv.bias.chunk(3)
        weights, biases = [weight * self.attn.scale, *weights], [bias * self.attn.scale, *biases]
        return [F.linear(tokens, weight, bias) for weight, bias in zip(weights, biases)]

    def _attend(self, qkv: list[Tensor], bias: Tensor) -> Tensor:
        """Attention within windows: scaled queries, keys and values (2B, windows·N, C) → the same shape."""
        shape = -1, self.window**2, self.attn.num_heads, self.attn.dim // self.attn.num_heads
        query, key, value = (t.view(shape).transpose(1, 2) for t in qkv)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
        return attended.transpose(1, 2).reshape(qkv[0].shape)

    def _position_biases(self, dtype: torch.dtype) -> dict[int, Tensor]:
        """Relative position bias plus attention mask per kind of window: (1, M, N, N)."""
        table = self.attn.relative_position_bias_table
        bias = table[self.attn.relative_position_index.flatten()].T.unflatten(1, (self.window**2, -1))
        bias = bias.contiguous()  # required by the fused kernels of GPUs
        kinds = range(1 + (RIGHT | BOTTOM)) if self.shift else (0,)
        penalties = {kind: shift_penalty(kind, self.window, self.shift, table.device) for kind in kinds}
        return {kind: (bias + penalty)[None].to(dtype) for kind, penalty in penalties.items()}


class SwinStage(nn.Module):
    """One stage: patch merging (except in the first stage) and blocks."""

    def __init__(self, config: SwinConfig, level: int, drop_paths: list[float]):
        super().__init__()
        dim = config.stage_dims[level]
        self.downsample = PatchMerging(dim // 2, norm_layer=TokenNorm) if level else nn.Identity()
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
        self.grad_checkpointing = False
        self._layouts = Memo(KEPT_LAYOUTS)
        self.patch_embed = PatchEmbed(config.embed_dim)
        self.patch_embed_x = PatchEmbed(config.embed_dim)
        # Computed on the CPU, so that the network can be built on the device "meta".
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
        """Initialise the X patch embedding as a copy of the pretrained one."""
        self.patch_embed_x.load_state_dict(self.patch_embed.state_dict())

    def embed(self, rgb: Tensor, modal_x: Tensor) -> Tensor:
        return torch.cat([self.patch_embed(rgb), self.patch_embed_x(modal_x)])

    def downsample(self, tokens: Tensor, level: int) -> Tensor:
        return self.stages[level].downsample(tokens)

    def blocks(self, tokens: Tensor, level: int) -> Tensor:
        layouts = {}
        for block in self.stages[level].blocks:
            if block.shift not in layouts:
                layouts[block.shift] = self._layout(*tokens.shape[1:3], block.shift, tokens.device)
            tokens = run_block(block, tokens, layouts[block.shift], recompute=self.grad_checkpointing)
        return tokens

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Enable or disable gradient checkpointing of the blocks."""
        self.grad_checkpointing = enable

    def _layout(self, height: int, width: int, shift: int, device: torch.device) -> WindowLayout:
        arguments = (height, width, self.window, shift, device)
        return self._layouts.get(arguments, lambda: window_layout(*arguments))

    def reach(self, level: int | None) -> Reach:
        """Receptive field of a stage or of the patch embedding (None): a window per shifted block."""
        if level is None:
            return Reach(0, 1)
        return Reach(self.window * (len(self.stages[level].blocks) // 2), self.window)

    def timed_modules(self) -> Iterator[tuple[str, nn.Module, str]]:
        """Name, module and method of each component that a benchmark times."""
        for embed in (self.patch_embed, self.patch_embed_x):
            yield "patch embedding", embed, "forward"
        for level, stage in enumerate(self.stages):
            if level:
                yield "patch merging", stage.downsample, "forward"
            for block in stage.blocks:
                yield "window attention", block, "window_attention"
                yield "MLP", block, "feed_forward"
                yield "adapters", block.adapters, "forward"

    def freeze_statistics(self) -> None:
        """Do nothing: Swin has no running statistics; stochastic depth and dropout are active in training."""

    @staticmethod
    def timm_name(config: SwinConfig) -> str:
        """Name of the timm model with matching weights; ValueError if there is none."""
        sizes = {128: "base", 192: "large"}
        if config.embed_dim not in sizes or config.window_size != 12:
            raise ValueError(
                f"timm has no Swin with embed_dim {config.embed_dim} and window {config.window_size} "
                f"pretrained on ImageNet-22k; give a local file with matching weights."
            )
        return f"swin_{sizes[config.embed_dim]}_patch4_window12_384.ms_in22k"

    def load_timm(self, state: Mapping[str, Tensor]) -> None:
        """Load pretrained tensors in timm's names and initialise the X patch embedding as a copy.

        Raises:
            ValueError: naming the first missing and unexpected tensors and those with a shape mismatch.
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
