"""The frozen backbones by stage: the only place that knows timm's internals.

A backbone takes both streams as one (2B, …) batch, rgb samples first. It offers `embed` (patch embedding),
`downsample` (entry of a stage), `blocks` (its frozen blocks with their adapters), `freeze_statistics`,
`load_timm` (pretrained weights in timm's names) and `TIMM_NAME`. Tokens are (2B, h, w, C) throughout.
"""

from ktb.backbone.lite import LiteBackbone
from ktb.backbone.swin import SwinBackbone

BACKBONES = {"swin": SwinBackbone, "lite": LiteBackbone}  # by the configuration's kind

__all__ = ["BACKBONES", "LiteBackbone", "SwinBackbone"]
