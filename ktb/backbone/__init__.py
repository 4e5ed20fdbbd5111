"""The frozen backbones by stage: the only place that knows timm's internals.

A backbone takes both streams as one (2B, …) batch, rgb samples first. It offers `embed` (patch embedding),
`downsample` (entry of a stage), `blocks` (its frozen blocks with their adapters), `freeze_statistics`,
`load_timm` (pretrained weights in timm's names) and `timm_name`. Tokens are (2B, h, w, C) throughout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ktb.backbone.lite import LiteBackbone
    from ktb.backbone.swin import SwinBackbone


def backbone_class(kind: Literal["swin", "lite"]) -> type[SwinBackbone] | type[LiteBackbone]:
    """The backbone of a configuration's kind; timm, which takes seconds to import, is imported here first."""
    if kind == "swin":
        from ktb.backbone.swin import SwinBackbone

        return SwinBackbone
    from ktb.backbone.lite import LiteBackbone

    return LiteBackbone
