"""The frozen backbones by stage: the only place that knows timm's internals.

A backbone is an `nn.Module` that takes both streams as one (2B, …) batch, rgb samples first, and offers what
`Backbone` lists. Tokens are (2B, h, w, C) throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from ktb.config import BACKBONES

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ktb.modeling.layers import Reach


class Backbone(Protocol):
    """What the network asks of a backbone, made of its configuration.

    Blocks go through `ktb.modeling.layers.run_block`, for gradient checkpointing. A static method `timm_name`
    of a configuration gives the name of its pretrained weights (ValueError if there are none).
    """

    def embed(self, rgb: Tensor, modal_x: Tensor) -> Tensor:
        """Two images (B, 3, H, W) → tokens at stride 4."""
        ...

    def downsample(self, tokens: Tensor, level: int) -> Tensor:
        """The entry of a stage."""
        ...

    def blocks(self, tokens: Tensor, level: int) -> Tensor:
        """The frozen blocks of a stage with their adapters."""
        ...

    def reach(self, level: int | None) -> Reach:
        """How far a stage, or the patch embedding (None), looks: for tiles."""
        ...

    def timed_modules(self) -> Iterator[tuple[str, nn.Module, str]]:
        """Name, module and method of what a benchmark tells apart."""
        ...

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether blocks keep only their input for the backward pass and compute the rest again."""
        ...

    def freeze_statistics(self) -> None:
        """Keep running statistics of what is frozen as they are."""
        ...

    def load_timm(self, state: Mapping[str, Tensor]) -> None:
        """Load pretrained tensors in timm's names (ValueError for what does not fit)."""
        ...


def backbone_class(kind: str) -> type[Backbone]:
    """The backbone of a configuration's kind, as the registry names it."""
    return BACKBONES[kind].network_class
