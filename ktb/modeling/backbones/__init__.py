"""Frozen backbones by stage; the only package that uses timm's internals.

A backbone is an `nn.Module` that takes both streams as one (2B, …) batch, rgb samples first, and implements
`Backbone`. Tokens are (2B, h, w, C) throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from ktb.config import BACKBONES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ktb.modeling.layers import Reach


class Backbone(Protocol):
    """Interface of a backbone, constructed from its configuration.

    Blocks run through `ktb.modeling.layers.run_block` for gradient checkpointing. A static method `timm_name`
    returns the name of a configuration's pretrained weights (ValueError if there are none).
    """

    def embed(self, rgb: Tensor, modal_x: Tensor) -> Tensor:
        """Embed rgb and X images (B, 3, H, W) as tokens (2B, H/4, W/4, C)."""
        ...

    def downsample(self, tokens: Tensor, level: int) -> Tensor:
        """Apply the downsampling at the start of a stage."""
        ...

    def blocks(self, tokens: Tensor, level: int) -> Tensor:
        """Run the frozen blocks of a stage with their adapters."""
        ...

    def reach(self, level: int | None) -> Reach:
        """Receptive field of a stage or of the patch embedding (None), for tiling."""
        ...

    def timed_modules(self) -> Iterator[tuple[str, nn.Module, str]]:
        """Name, module and method of each component that a benchmark times."""
        ...

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Enable or disable gradient checkpointing of the blocks."""
        ...

    def freeze_statistics(self) -> None:
        """Put frozen modules in evaluation mode, so that running statistics do not change."""
        ...

    def load_timm(self, state: Mapping[str, Tensor]) -> None:
        """Load pretrained tensors in timm's names; ValueError for tensors that do not match."""
        ...


def backbone_class(kind: str) -> type[Backbone]:
    """The backbone class of a configuration, from the registry."""
    return BACKBONES[kind].network_class
