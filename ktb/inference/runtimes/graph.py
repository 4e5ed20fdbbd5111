"""The network as a function from tensors to tensors for export, and the inverse for its outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ktb.config import BRANCHES, LEVELS
from ktb.modeling.dscf import reference_points
from ktb.modeling.model import HEAD_STRIDE, KTB, KTBOutput
from ktb.modeling.trace import FusionTrace

INPUTS = ("rgb", "modal_x", "keep")
POOLED = "pooled"
LEVEL_OUTPUTS = (
    "query",
    "key",
    "sampling_points",
    "sampling_offsets",
    "modality_weights",
    "attended_norm",
    "context_norm",
)
"""Fields of a FusionTrace that depend on the image; the others follow from weights and size."""
RESIDUAL_OUTPUT = "residual_norm"
"""A further one, of a fusion with a residual."""


class GraphModule(nn.Module):
    """All outputs of `KTB` for a batch as a flat tuple of tensors in the order of `output_names`.

    Pooled features are outputs only of models with a domain check, which need them.
    """

    def __init__(self, model: KTB):
        super().__init__()
        self.model = model

    def forward(self, rgb: Tensor, modal_x: Tensor, keep: Tensor) -> tuple[Tensor, ...]:
        """Run on normalised rgb, modal_x (B, 3, H, W); keep (B, 2) float: 0 zeroes rgb's or x's tokens."""
        tokens = self.model.backbone.embed(rgb, modal_x)  # 2B, h, w, C: rgb samples first
        tokens = tokens * keep.transpose(0, 1).flatten()[:, None, None, None].to(tokens.dtype)
        output = self.model.from_tokens(tokens, logits_size(rgb.shape[-2:]), trace=True)
        tensors = [getattr(output, branch) for branch in BRANCHES]
        tensors += (output.pooled or ()) if self.model.domain is not None else ()
        tensors += output.prompts or ()
        for level in output.trace or ():
            tensors += [getattr(level, name) for name in level_outputs(self.model)]
        return tuple(tensor.float() for tensor in tensors)


def level_outputs(model: KTB) -> tuple[str, ...]:
    """Names of the tensors that a graph of `model` has per level of the fusion."""
    return (*LEVEL_OUTPUTS, RESIDUAL_OUTPUT) if model.config.fusion.residual else LEVEL_OUTPUTS


def logits_size(size_hw: Sequence[int]) -> tuple[int, int]:
    """Size of the heads' logits for an input of (height, width)."""
    height, width = size_hw
    return -(-height // HEAD_STRIDE), -(-width // HEAD_STRIDE)


def output_names(model: KTB) -> tuple[str, ...]:
    """Names of a graph's outputs, such as "logits_fused", "prompts.0" and "query.3"."""
    fusion = model.config.fusion
    names = [f"logits_{branch}" for branch in BRANCHES]
    if model.domain is not None:
        names += [f"{POOLED}.{level}" for level in range(LEVELS)]
    if fusion.prompts:
        names += [f"prompts.{level}" for level in range(LEVELS)]
    if fusion.kind != "mean":
        names += [f"{name}.{level}" for level in range(LEVELS) for name in level_outputs(model)]
    return tuple(names)


def keep_input(
    batch: int, mask_rgb: Tensor | None, mask_x: Tensor | None, device: torch.device | str = "cpu"
) -> Tensor:
    """The graph's third input (B, 2) from the masks (B,) of `KTB.forward`, where True means ablated."""
    keep = torch.ones(batch, 2, device=device)
    for stream, mask in enumerate((mask_rgb, mask_x)):
        if mask is not None:
            keep[:, stream] = 1 - mask.to(keep)
    return keep


def to_output(
    model: KTB, tensors: Mapping[str, Tensor], trace: bool, branches: Sequence[str], runtime: str
) -> KTBOutput:
    """Convert a graph's named outputs to the output of `KTB.forward`."""
    logits = {branch: tensors[f"logits_{branch}"] for branch in branches}
    pooled = None
    if model.domain is not None:
        pooled = tuple(tensors[f"{POOLED}.{level}"] for level in range(LEVELS))
    if not trace:
        return KTBOutput(**logits, pooled=pooled, runtime=runtime)
    fusion = model.config.fusion
    prompts = tuple(tensors[f"prompts.{i}"] for i in range(LEVELS)) if fusion.prompts else None
    levels = tuple(_level(model, tensors, i) for i in range(LEVELS)) if fusion.kind != "mean" else None
    return KTBOutput(**logits, trace=levels, prompts=prompts, pooled=pooled, runtime=runtime)


def _level(model: KTB, tensors: Mapping[str, Tensor], level: int) -> FusionTrace:
    found = {name: tensors[f"{name}.{level}"] for name in level_outputs(model)}
    query_hw = tuple(found["context_norm"].shape[-2:])
    stride = model.config.fusion.strides[level]
    point_hw = tuple((side - 1) // stride + 1 for side in query_hw)
    return FusionTrace(
        **found,
        reference_points=reference_points(point_hw, found["query"].device),
        bias_table=model.dscf[level].bias_table.detach(),
        query_hw=query_hw,
        point_hw=point_hw,
    )
