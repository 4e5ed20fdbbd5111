"""Shapley values of the two sensors: how much each adds to the fused class's log-probability, measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from ktb.inference.prediction import Drop, Prediction
from ktb.inference.predictor import Predictor


@torch.inference_mode()
def blank_logits(predictor: Predictor, network_hw: tuple[int, int]) -> torch.Tensor:
    """Fused logits (1, K, h, w) of a run with both sensors ablated; they depend on the size only."""
    blank = torch.zeros(1, 3, *network_hw, device=next(predictor.model.parameters()).device)
    masked = torch.ones(1, dtype=torch.bool, device=blank.device)
    with predictor.evaluating() as model:
        size = (network_hw[0] // 4, network_hw[1] // 4)
        return model(blank, blank, masked, masked, logits_hw=size, branches=("fused",)).fused.cpu()


def shapley_values(
    prediction: Prediction, ablated: Mapping[Drop, Prediction], blank: torch.Tensor
) -> dict[Drop, np.ndarray]:
    """Shapley value of each sensor for the log-probability of the fused class, exact for two players.

    With v of both, one and no sensor, φ(X) = ½ (v(both) - v(RGB)) + ½ (v(X) - v(none)), and likewise for RGB.
    The values of both sensors sum to v(both) - v(none). They are measured by four runs, so they are no
    forecast of an ablation, but the other way to summarise it.

    Args:
        ablated: predictions without "x" and without "rgb".
        blank: from `blank_logits`, at the prediction's network size.

    Returns:
        Sensor → (h, w) float32 in nats, on the grid of the logits.
    """
    fused = prediction.logits["fused"].argmax(dim=1, keepdim=True)

    def value(logits: torch.Tensor) -> torch.Tensor:
        scaled = logits.float() / prediction.temperatures["fused"]
        return scaled.log_softmax(dim=1).gather(1, fused)[0, 0]

    both, none = value(prediction.logits["fused"]), value(blank)
    alone = {"rgb": value(ablated["x"].logits["fused"]), "x": value(ablated["rgb"].logits["fused"])}
    return {
        sensor: (0.5 * (both - alone[other] + alone[sensor] - none)).numpy()
        for sensor, other in (("rgb", "x"), ("x", "rgb"))
    }
