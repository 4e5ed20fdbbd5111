"""Small networks and inputs of the tests."""

from __future__ import annotations

import dataclasses

import torch
from timm.models.swin_transformer import SwinTransformer

from ktb import XOptions
from ktb.config import BRANCHES, FusionConfig, InputConfig, ModelConfig, SwinConfig
from ktb.modeling.build import FusionStart, build_model, lite_config, swin_config
from ktb.modeling.model import KTB


def tiny_swin_config(drop_path: float = 0.0) -> ModelConfig:
    """Swin of 16 channels with window 4, for the five classes of PST900."""
    return dataclasses.replace(
        swin_config("b", "pst900", name="tiny"),
        backbone=SwinConfig(
            embed_dim=16,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 4, 8),
            window_size=4,
            adapter_ranks=(2, 2, 4, 4),
            drop_path=drop_path,
        ),
        fusion=FusionConfig(
            mapa_ranks=(4, 4, 8, 8), dscf_ranks=(4, 8, 8, 16), num_heads=(2, 2, 4, 4), groups=(1, 2, 2, 4)
        ),
        head_dims=(16, 8, 8),
    )


def tiny_model(kind: str, start: FusionStart | None = None, drop_path: float = 0.0) -> KTB:
    """The tiny Swin, or EfficientNet-Lite0 for another kind, with seeded weights."""
    torch.manual_seed(0)
    config = tiny_swin_config(drop_path) if kind == "swin" else lite_config()
    return build_model(config, start)


@torch.no_grad()
def stirred(model: KTB) -> KTB:
    """Give everything that trains values of its own, so that nothing hides behind a zero start."""
    generator = torch.Generator().manual_seed(1)
    for _, parameter in model.trainable_parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model


def pair(batch: int = 2, height: int = 64, width: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    """A seeded batch of normalised RGB images and X, (B, 3, H, W) float32 each."""
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(batch, 3, height, width, generator=generator) for _ in range(2))


def assert_same_logits(first, second, tolerance: float = 1e-4):
    """All heads' logits agree, relative to their largest value if that is above 1."""
    for branch in BRANCHES:
        ours, theirs = getattr(first, branch), getattr(second, branch)
        assert ours.shape == theirs.shape
        assert (ours - theirs).abs().max() <= tolerance * max(1.0, theirs.abs().max()), branch


MM = XOptions(unit="mm")


def depth_model(short_side: int | None = 64):
    """The tiny Swin for depth, with values of its own everywhere."""
    torch.manual_seed(0)
    inputs = InputConfig(modality="depth", encoding="depth", short_side=short_side)
    return stirred(build_model(dataclasses.replace(tiny_swin_config(), name="tiny µ", inputs=inputs)))


MAX_DIFFERENT = 0.005  # share of the pixels


def random_swin() -> SwinTransformer:
    """timm's Swin of tiny_swin_config's widths with values of its own everywhere."""
    torch.manual_seed(5)
    net = SwinTransformer(
        img_size=128, window_size=4, embed_dim=16, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), num_classes=7
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
    return net
