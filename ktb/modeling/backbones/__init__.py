"""The frozen backbones by stage: the only place that knows timm's internals.

A backbone is an `nn.Module` that takes both streams as one (2B, …) batch, rgb samples first, and offers what
`Backbone` lists. Tokens are (2B, h, w, C) throughout.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ktb.modeling.backbones.efficientnet_lite import LiteBackbone
    from ktb.modeling.backbones.swin import SwinBackbone
    from ktb.modeling.layers import Reach


class Backbone(Protocol):
    """What the network asks of a backbone; a static method `timm_name` gives its pretrained weights' name."""

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

    def timed_parts(self) -> Iterator[tuple[str, nn.Module, str]]:
        """Name, module and method of what a benchmark tells apart."""
        ...

    def freeze_statistics(self) -> None:
        """Keep running statistics of what is frozen as they are."""
        ...

    def load_timm(self, state: Mapping[str, Tensor]) -> None:
        """Load pretrained tensors in timm's names (ValueError for what does not fit)."""
        ...


def backbone_class(kind: Literal["swin", "lite"]) -> type[SwinBackbone] | type[LiteBackbone]:
    """The backbone of a configuration's kind; timm, which takes seconds to import, is imported here first."""
    if kind == "swin":
        from ktb.modeling.backbones.swin import SwinBackbone

        return SwinBackbone
    from ktb.modeling.backbones.efficientnet_lite import LiteBackbone

    return LiteBackbone
