"""What reaches the fused feature from each sensor: norms of its parts, in place of attention weights.

The attention's values are linear in both streams, so the attended term of the fused feature splits exactly
into a part of each sensor (and the layers' biases). Weights alone tell how much is read, not how much arrives
(Kobayashi et al., Attention is Not Only a Weight, EMNLP 2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from ktb.analysis.faithfulness.forecast_maps import level_mean
from ktb.analysis.pixel import require_single
from ktb.inference.prediction import Drop, Prediction
from ktb.modeling.dscf import DSCF
from ktb.modeling.model import KTB
from ktb.modeling.trace import FusionTrace

CONTRIBUTION, CONTRIBUTION_BALANCE = "contribution", "contribution_balance"
WITH_RESIDUAL = "contribution_with_residual"
TINY = 1e-12
MAX_SCORES = 1_000_000  # attention scores held at once


@contextmanager
def recorded_features(model: KTB) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Context that records the inputs of each fusion level: the list of (feats_rgb, feats_x), finest first.

    The list holds those of the last forward pass of this model; other runtimes than "eager" record nothing.
    """
    found: list[tuple[Tensor, Tensor]] = []

    def record(_: torch.nn.Module, inputs: tuple) -> None:
        if len(found) == len(model.dscf):
            found.clear()
        found.append((inputs[0].detach(), inputs[1].detach()))

    handles = [level.register_forward_pre_hook(record) for level in model.dscf]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def attended_parts(dscf: DSCF, feats_rgb: Tensor, feats_x: Tensor, trace: FusionTrace) -> Tensor:
    """Parts of the fused feature that the attention takes from each sensor, (2, h, w, c or C), rgb first.

    Beside a residual they are taken after the fusion's last layer, else before it; see `FusionTrace`.

    Args:
        feats_rgb, feats_x: (1, h, w, C), inputs of this level's fusion, whose trace is `trace`.
    """
    require_single(trace)
    values = dscf.sensor_values(feats_rgb, feats_x, trace)[0].float()  # 2, M, 2n, d
    heads, points = values.shape[1:3]
    rows = []
    for indices in torch.arange(trace.query.shape[2]).split(max(1, MAX_SCORES // (heads * points))):
        attended = trace.attention(indices)[0] @ values  # 2, M, Q, d
        rows.append(dscf.sparse_part(attended.transpose(1, 2).flatten(2)))
    return torch.cat(rows, dim=1).unflatten(1, trace.query_hw)


@torch.no_grad()
def contributions(
    model: KTB, features: Sequence[tuple[Tensor, Tensor]], prediction: Prediction
) -> dict[Drop, dict[str, np.ndarray]]:
    """Sensor → maps of what reaches the fused feature from it, mean over the levels.

    With a_s the norm of the part that the attention takes from sensor s, z that of the context and r that of
    the residual:

    - "contribution": a_s / (a_rgb + a_x + z + r);
    - "contribution_balance": a_s / (a_rgb + a_x);
    - "contribution_with_residual", for fusions with a residual: the norm of what both attention and residual
      take from the sensor, divided by the sum of that of both sensors and z.

    Args:
        features: of the prediction's forward pass, from `recorded_features`.
        prediction: with a trace.

    Returns:
        (h, w) float32 0..1 on the grid of the logits.

    Raises:
        ValueError: the features are not those of a whole forward pass.
    """
    if not prediction.trace or len(features) != len(prediction.trace):
        raise ValueError(
            "the features are incomplete: record them around a run with trace and runtime='eager'."
        )
    found: dict[Drop, dict[str, list[np.ndarray]]] = {"rgb": {}, "x": {}}
    for dscf, (rgb, modal_x), trace in zip(model.dscf, features, prediction.trace):
        assert isinstance(dscf, DSCF)
        parts = attended_parts(dscf, rgb, modal_x, trace)
        attended, context = parts.norm(dim=-1), trace.context_norm[0]
        residual = 0 if trace.residual_norm is None else trace.residual_norm[0]
        both, total = attended.sum(dim=0), attended.sum(dim=0) + context + residual
        whole = (parts + 0.5 * torch.cat([rgb, modal_x])).norm(dim=-1) if dscf.residual else None
        for index, sensor in enumerate(found):
            maps = {
                CONTRIBUTION: attended[index] / total,
                CONTRIBUTION_BALANCE: attended[index] / both.clamp(min=TINY),
            }
            if whole is not None:
                maps[WITH_RESIDUAL] = whole[index] / (whole.sum(dim=0) + context)
            for name, values in maps.items():
                found[sensor].setdefault(name, []).append(values.float().cpu().numpy())
    size = tuple(prediction.logits["fused"].shape[2:])
    return {s: {name: level_mean(maps, size) for name, maps in named.items()} for s, named in found.items()}
