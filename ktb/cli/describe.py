"""Text descriptions of models, adapter files and cards for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ktb.checkpoints.adapters import read_reference
from ktb.checkpoints.metadata import parameter_count, read_header
from ktb.checkpoints.pretrained import is_at_hand
from ktb.config import UNCALIBRATED, ModelConfig, backbone_noun
from ktb.modeling.model import KTB


def config_lines(config: ModelConfig) -> Iterator[str]:
    """Describe a configuration, a line per property."""
    backbone, fusion = config.backbone, config.fusion
    yield from _table(
        {
            "name": config.name,
            "dataset": f"{config.dataset or 'unnamed'}, {config.num_classes} classes",
            "modality of X": config.inputs.modality,
            "backbone": backbone_noun(backbone),
            "feature widths": backbone.feature_dims,
        }
    )
    if backbone.kind == "swin":
        yield from _table(
            {"depths": backbone.depths, "heads": backbone.num_heads, "window": backbone.window_size}
        )
    yield from _table(
        {
            "adapter ranks": backbone.adapter_ranks if backbone.adapters else "none, no adapters",
            "MAPA ranks": fusion.mapa_ranks if fusion.prompts else "none, no prompts",
        }
    )
    if fusion.kind == "dscf":
        yield from _table(
            {
                "DSCF ranks": fusion.dscf_ranks,
                "DSCF heads M": fusion.num_heads,
                "DSCF groups G": fusion.groups,
            }
        )
    else:
        yield from _table({"fusion": fusion.kind})
    fused, rgb, x = config.head_dims
    yield from _table({"head widths": f"{fused} fused, {rgb} rgb, {x} x"})
    fused, rgb, x = config.temperatures
    said = f"temperatures {fused:g} fused, {rgb:g} rgb, {x:g} x"
    yield from _table({"domain check": config.domain.trained_on if config.domain else "none"})
    yield from _table({"confidence": "not calibrated" if config.temperatures == UNCALIBRATED else said})


def model_lines(model: KTB) -> Iterator[str]:
    """Describe the size of a network."""
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for _, p in model.trainable_parameters())
    yield from _table(
        {"parameters": f"{total:,}, of which {trainable:,} trainable", "tensors": len(model.state_dict())}
    )


def adapter_lines(path: Path) -> Iterator[str]:
    """Describe the size of an adapter file and its backbone; ValueError if it is damaged."""
    reference = read_reference(path)
    at_hand = is_at_hand(read_header(path)[0].backbone)
    yield from _table(
        {
            "parameters": f"{parameter_count(path):,} in this adapter file, without its pretrained backbone",
            "needs backbone": f"{reference.name or 'of widths that timm does not have'}, "
            f"{'on' if at_hand else 'not on'} this machine",
            "with sha256": reference.sha256,
        }
    )


def value_lines(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Nested JSON values as indented lines."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{key}"
            yield from value_lines(value, indent + "  ")
        else:
            yield f"{indent}{key}: {_in_one_line(value)}"


def _table(facts: Mapping[str, Any]) -> Iterator[str]:
    for key, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, tuple) else value
        yield f"{key:<17} {shown}"


def _in_one_line(value: Any) -> str:
    if value is None or value in ({}, []):
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return " ".join(f"{key} {_in_one_line(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_one_line, value))
    return str(value)
