"""Frozen tf_efficientnet_lite0, 1 or 2 with adapters parallel to its residual blocks, for laptops."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import timm
import torch
from torch import Tensor, nn

from ktb.config import LiteConfig
from ktb.modeling.layers import Reach, require_matching, run_block, stream_adapters


class LiteStage(nn.Module):
    """A stage: a strided block, then inverted residual blocks with adapters."""

    def __init__(self, entry: nn.Module, blocks: list[nn.Module], rank: int, adapters: bool):
        super().__init__()
        self.downsample = entry
        self.frozen = nn.ModuleList(blocks)
        # A block that changes the number of channels has no residual path for an adapter.
        self.adapters = nn.ModuleDict(
            {
                str(index): stream_adapters(block.conv_pwl.out_channels, rank, adapters)
                for index, block in enumerate(blocks)
                if block.has_skip
            }
        )

    def forward(self, tokens: Tensor, recompute: bool = False) -> Tensor:
        """Run the blocks; `recompute` as in `ktb.modeling.layers.run_block`."""
        for index, block in enumerate(self.frozen):
            after = as_tokens(run_block(block, as_image(tokens), recompute=recompute))
            tokens = self.adapters[str(index)](tokens, after) if block.has_skip else after
        return tokens


def as_image(tokens: Tensor) -> Tensor:
    """Channels-last view (B, C, h, w) of tokens (B, h, w, C)."""
    return tokens.permute(0, 3, 1, 2)


def as_tokens(image: Tensor) -> Tensor:
    """Tokens (B, h, w, C) of an image (B, C, h, w)."""
    return image.permute(0, 2, 3, 1)


class LiteBackbone(nn.Module):
    """Frozen tf_efficientnet_lite0, 1 or 2 shared by both streams.

    The patch embedding comprises the layers up to stride 4 (24 channels); X has a trainable copy of it.
    """

    def __init__(self, config: LiteConfig, net: nn.Module | None = None):
        super().__init__()
        self.config = config
        self.grad_checkpointing = False
        net = net or _random_net(config)
        b = net.blocks
        self.patch_embed = nn.Sequential(net.conv_stem, net.bn1, b[0][0], b[1][0])
        self.patch_embed_x = copy.deepcopy(self.patch_embed)
        layout = [
            (nn.Identity(), [*b[1][1:]]),
            (b[2][0], [*b[2][1:]]),
            (b[3][0], [*b[3][1:], *b[4]]),
            (b[5][0], [*b[5][1:], *b[6]]),
        ]
        self.stages = nn.ModuleList(
            LiteStage(entry, blocks, rank, config.adapters)
            for (entry, blocks), rank in zip(layout, config.adapter_ranks)
        )
        self.requires_grad_(False)
        self.patch_embed_x.requires_grad_(True)
        for stage in self.stages:
            stage.adapters.requires_grad_(True)

    def start_x_from_rgb(self) -> None:
        """Initialise the X patch embedding as a copy of the pretrained one."""
        self.patch_embed_x.load_state_dict(self.patch_embed.state_dict())

    def embed(self, rgb: Tensor, modal_x: Tensor) -> Tensor:
        images = (image.contiguous(memory_format=torch.channels_last) for image in (rgb, modal_x))
        embeds = (self.patch_embed, self.patch_embed_x)
        return torch.cat([as_tokens(embed(image)) for embed, image in zip(embeds, images)])

    def downsample(self, tokens: Tensor, level: int) -> Tensor:
        return as_tokens(self.stages[level].downsample(as_image(tokens)))

    def blocks(self, tokens: Tensor, level: int) -> Tensor:
        return self.stages[level](tokens, self.grad_checkpointing)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Enable or disable gradient checkpointing of the frozen blocks."""
        self.grad_checkpointing = enable

    def reach(self, level: int | None) -> Reach:
        """Receptive field of a stage or of the patch embedding (None), for even sizes."""
        part = self.patch_embed if level is None else self.stages[level]
        return Reach(sum(m.kernel_size[0] // 2 for m in part.modules() if isinstance(m, nn.Conv2d)), 1)

    def timed_modules(self) -> Iterator[tuple[str, nn.Module, str]]:
        """Name, module and method of each component that a benchmark times."""
        for embed in (self.patch_embed, self.patch_embed_x):
            yield "patch embedding", embed, "forward"
        for stage in self.stages:
            for block in (stage.downsample, *stage.frozen):
                yield "frozen blocks", block, "forward"
            for adapters in stage.adapters.values():
                yield "adapters", adapters, "forward"

    def freeze_statistics(self) -> None:
        """Keep the frozen batch norms in evaluation mode."""
        self.patch_embed.eval()
        for stage in self.stages:
            stage.downsample.eval()
            stage.frozen.eval()

    @staticmethod
    def timm_name(config: LiteConfig) -> str:
        """Name of the timm model with matching weights."""
        return f"tf_efficientnet_lite{config.size}.in1k"

    def load_timm(self, state: Mapping[str, Tensor]) -> None:
        """Load pretrained tensors in timm's names and initialise the X patch embedding as a copy.

        Raises:
            ValueError: naming the first missing and unexpected tensors and those with a shape mismatch.
        """
        net = _random_net(self.config)
        what = f"the pretrained EfficientNet-Lite{self.config.size} weights"
        require_matching(net.state_dict(), state, what)
        net.load_state_dict(state)
        pretrained = LiteBackbone(self.config, net)
        self.patch_embed.load_state_dict(pretrained.patch_embed.state_dict())
        for ours, theirs in zip(self.stages, pretrained.stages):
            ours.downsample.load_state_dict(theirs.downsample.state_dict())
            ours.frozen.load_state_dict(theirs.frozen.state_dict())
        self.start_x_from_rgb()


def _random_net(config: LiteConfig) -> nn.Module:
    """timm's network of the configured size with random weights."""
    return timm.create_model(f"tf_efficientnet_lite{config.size}", pretrained=False)
