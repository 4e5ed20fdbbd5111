"""Model factory: configurations of the known variants, and networks built from configurations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ktb.config import (
    BRANCHES,
    IMAGENET_MEAN,
    IMAGENET_STD,
    LEVELS,
    FusionConfig,
    InputConfig,
    LiteConfig,
    Modality,
    ModelConfig,
    SwinConfig,
)
from ktb.labels import DATASETS, DatasetLabels
from ktb.modeling.backbones import backbone_class
from ktb.modeling.domain import Domain
from ktb.modeling.dscf import BIAS_TABLE_SIZE, DSCF, MeanFusion
from ktb.modeling.heads import SegFormerHead
from ktb.modeling.mapa import ModalityPrompt
from ktb.modeling.model import KTB

Triple = tuple[float, float, float]
HALF = (0.5, 0.5, 0.5)
# Indoor depth / 10 m over the NYUv2 training frames has mean 0.277 and standard deviation 0.146; twice the
# standard deviation gives X the same spread as RGB has around 0.5.
DEPTH_MEAN, DEPTH_STD = (0.28, 0.28, 0.28), (0.29, 0.29, 0.29)
# Event frames: mean and twice the standard deviation over simulated frames of the NYUv2 training images.
EVENT_MEAN, EVENT_STD = (0.08, 0.08, 0.23), (0.37, 0.37, 0.72)


@dataclass(frozen=True)
class FusionStart:
    """Initialisation of prompts and fusion; the defaults are those of the released code.

    Attributes:
        alpha: initial weight of the sparse attention per level.
        qk_gain: factor on the initial weights of the query and key projections.
        bias_sigmas: widths of a distance prior in the bias table, cycled over the heads; empty means a table
            near zero.
        prompt_zero: initialise MAPA to zero, so that pretrained features are unchanged at step 0.
    """

    alpha: tuple[float, float, float, float] = (1e-3, 1e-3, 1e-3, 1.0)
    qk_gain: float = 1.0
    bias_sigmas: tuple[float, ...] = ()
    prompt_zero: bool = False


def swin_config(
    size: str, dataset: str | DatasetLabels, inputs: InputConfig | None = None, name: str | None = None
) -> ModelConfig:
    """Configuration of the paper's network on Swin "b" or "l".

    Args:
        dataset: a name in `ktb.labels.DATASETS`, or the labels of a custom dataset.
        inputs: modality and normalisation of X; by default those of the released models.
        name: name of the model; by default composed of size and dataset.

    Raises:
        ValueError: the size or the dataset's name is unknown.
    """
    labels = _labels(dataset)
    sizes = {"b": (128, (4, 8, 16, 32)), "l": (192, (6, 12, 24, 48))}
    if size not in sizes:
        raise ValueError(f"Swin size {size!r} is not known; choose one of {', '.join(sizes)}.")
    dim, heads = sizes[size]
    dims = [dim * 2**i for i in range(4)]
    backbone = SwinConfig(embed_dim=dim, num_heads=heads, adapter_ranks=tuple(d // 16 for d in dims))
    ranks = tuple(d // 8 for d in dims)
    return ModelConfig(
        name=name or f"ktb-swin-{size}-{labels.name}",
        backbone=backbone,
        fusion=FusionConfig(mapa_ranks=ranks, dscf_ranks=ranks),
        inputs=inputs or InputConfig(),
        **_label_fields(labels),
    )


def lite_config(
    dataset: str | DatasetLabels = "nyuv2",
    inputs: InputConfig | None = None,
    name: str | None = None,
    size: int = 0,
) -> ModelConfig:
    """Configuration of the network on tf_efficientnet_lite0, 1 or 2 (`size`), for laptops.

    Every rank is at least 8 and a multiple of the heads. The other arguments are those of `swin_config`; X
    defaults to metric depth.
    """
    labels = _labels(dataset)
    return ModelConfig(
        name=name or f"ktb-lite{size or ''}-{labels.name}-depth",
        backbone=LiteConfig.of_size(size),
        fusion=FusionConfig(mapa_ranks=(8, 8, 16, 32), dscf_ranks=(16, 32, 64, 128)),
        head_dims=(256, 128, 128),
        inputs=inputs
        or InputConfig(
            rgb_mean=HALF,
            rgb_std=HALF,
            x_mean=DEPTH_MEAN,
            x_std=DEPTH_STD,
            modality="depth",
            encoding="depth",
        ),
        **_label_fields(labels),
    )


@dataclass(frozen=True)
class Variant:
    """A named network of recipes and benchmarks, with the normalisation that its backbone expects.

    Attributes:
        make: (dataset or labels, inputs, name) → configuration; all but the first are optional.
        rgb_mean, rgb_std: of ImageNet, or of the backbone's pretraining.
        x_scales: mean and std of X by modality; None leaves X unnormalised.
    """

    make: Callable[..., ModelConfig]
    rgb_mean: Triple = IMAGENET_MEAN
    rgb_std: Triple = IMAGENET_STD
    x_scales: Mapping[Modality, tuple[Triple, Triple]] | None = None

    def inputs(self, **fields: Any) -> InputConfig:
        """An input configuration of these fields with the variant's normalisation."""
        scale = {"rgb_mean": self.rgb_mean, "rgb_std": self.rgb_std}
        if self.x_scales is not None:
            scale["x_mean"], scale["x_std"] = self.x_scales.get(fields["modality"], (HALF, HALF))
        return InputConfig(**fields | scale)


LITE_X_SCALES: Mapping[Modality, tuple[Triple, Triple]] = MappingProxyType(
    {"depth": (DEPTH_MEAN, DEPTH_STD), "event": (EVENT_MEAN, EVENT_STD)}
)
VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "lite": Variant(lite_config, HALF, HALF, LITE_X_SCALES),
        "lite1": Variant(partial(lite_config, size=1), HALF, HALF, LITE_X_SCALES),
        "lite2": Variant(partial(lite_config, size=2), HALF, HALF, LITE_X_SCALES),
        "swin-b": Variant(partial(swin_config, "b")),
        "swin-l": Variant(partial(swin_config, "l")),
    }
)
"""Variants by the name that recipes (`backbone`) and `bench --model` take."""


def _labels(dataset: str | DatasetLabels) -> DatasetLabels:
    if isinstance(dataset, DatasetLabels):
        return dataset
    if dataset not in DATASETS:
        raise ValueError(f"dataset {dataset!r} is not known; choose one of {', '.join(DATASETS)}.")
    return DATASETS[dataset]


def _label_fields(labels: DatasetLabels) -> dict:
    return {
        "dataset": labels.name,
        "num_classes": labels.num_classes,
        "classes": labels.classes,
        "palette": labels.palette,
    }


def build_model(config: ModelConfig, start: FusionStart | None = None) -> KTB:
    """Build a network with initial weights, in evaluation mode.

    `start` initialises prompts and fusion. `ktb.checkpoints.pretrained.build_pretrained_model` also loads
    the weights of the frozen backbone.
    """
    start = start or FusionStart()
    backbone = config.backbone
    return KTB(
        config=config,
        backbone=backbone_class(backbone.kind)(backbone),
        mapa=_prompts(config, start),
        dscf=_fusion(config, start),
        heads={
            branch: SegFormerHead(backbone.feature_dims, width, config.num_classes)
            for branch, width in zip(BRANCHES, config.head_dims)
        },
        domain=Domain(config.domain, backbone.feature_dims) if config.domain else None,
    ).eval()


def _prompts(config: ModelConfig, start: FusionStart) -> list[nn.Module]:
    if not config.fusion.prompts:
        return [nn.Identity() for _ in range(LEVELS)]
    widths = zip(config.backbone.stage_dims, config.fusion.mapa_ranks)
    return [ModalityPrompt(dim, rank, start.prompt_zero) for dim, rank in widths]


def _fusion(config: ModelConfig, start: FusionStart) -> list[nn.Module]:
    fusion, dims = config.fusion, config.backbone.feature_dims
    if fusion.kind == "mean":
        return [MeanFusion() for _ in range(LEVELS)]
    widths = zip(dims, fusion.dscf_ranks, fusion.num_heads, fusion.groups, fusion.strides, start.alpha)
    levels = [DSCF(*level, residual=fusion.residual) for level in widths]
    _start_attention(levels, start.qk_gain, start.bias_sigmas)
    return levels


@torch.no_grad()
def _start_attention(levels: Sequence[DSCF], qk_gain: float, bias_sigmas: Sequence[float]) -> None:
    for dscf in levels:
        dscf.proj_q.weight.mul_(qk_gain)
        dscf.proj_k.weight.mul_(qk_gain)
        if bias_sigmas:
            sigmas = torch.tensor([bias_sigmas[m % len(bias_sigmas)] for m in range(dscf.num_heads)])
            dscf.bias_table.copy_(distance_prior(*BIAS_TABLE_SIZE, sigmas))


def distance_prior(height: int, width: int, sigmas: Tensor, floor: float = -6.0) -> Tensor:
    """Bias tables (M, height, width) that favour near points: max(−d²/2σ², floor), d in [-1, 1] units."""
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None]
    return (-(y**2 + x**2) / (2 * sigmas[:, None, None] ** 2)).clamp(min=floor)
