"""Maps as forecasts of where the ablation of a sensor changes the fused class, on the grid of the logits."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from ktb.analysis.inspection import Inspection
from ktb.analysis.types import LevelMaps
from ktb.inference.prediction import Branch, Drop, Prediction

INDECISION = "indecision"
RELIANCE = "reliance"
DISAGREEMENT = "disagreement"
LEVEL_MAPS = (
    "balance", "entropy", "sparse_share", "residual_share", "importance_map", "density_map", "prompt_rgb",
    "prompt_x",
)  # fmt: skip
"""Maps of a level that are scored, by the names of `LevelMaps`."""


def class_changes(prediction: Prediction, ablated: Prediction) -> np.ndarray:
    """Whether the fused class changes, (h, w) bool on the grid of the logits."""
    before, after = (one.logits["fused"][0].argmax(dim=0).numpy() for one in (prediction, ablated))
    return before != after


def margin(prediction: Prediction) -> np.ndarray:
    """Difference of the two highest fused probabilities, (h, w) float32 on the grid of the logits."""
    logits = prediction.logits["fused"][0].float() / prediction.temperatures["fused"]
    best = logits.softmax(dim=0).topk(2, dim=0).values
    return (best[0] - best[1]).numpy()


def reliance(prediction: Prediction, sensor: Drop) -> np.ndarray:
    """How far the fused class relies on a sensor: 1 - its probability in the other sensor's head.

    The reliance on X is high where the RGB head does not support the fused class. Of the measured maps that
    need no further run of the network, it forecasts best where the ablation of the sensor changes the class,
    beyond what indecision explains (docs/inspector.md).

    Returns:
        (h, w) float32 0..1 on the grid of the logits.
    """
    import torch

    fused = prediction.logits["fused"][0].argmax(dim=0)
    other = _other_head(sensor)
    logits = prediction.logits[other][0].float() / prediction.temperatures[other]
    return 1 - torch.gather(logits.softmax(dim=0), 0, fused[None])[0].numpy()


def forecasts(prediction: Prediction, inspection: Inspection | None, ablated: Drop) -> dict[str, np.ndarray]:
    """Forecasts of where the ablation of a sensor changes the class, by name.

    - "indecision": -`margin`;
    - "reliance": `reliance` on the ablated sensor;
    - "disagreement": 1 where the head of the other sensor has another class than the fused head;
    - the maps of `LevelMaps`, each upsampled bilinearly to the logits and averaged over the levels.
      "balance" is the share of the ablated sensor, so that of RGB is 1 - balance. The others have no
      direction and count as they are: with an AUROC below 0.5, a low value forecasts a change.

    Args:
        inspection: of this prediction; None leaves out the maps of the fusion.
        ablated: the sensor that is to be ablated; the other sensor's head remains.

    Returns:
        (h, w) float32 on the grid of the logits; high where a change is forecast.
    """
    labels = {branch: found[0].argmax(dim=0).numpy() for branch, found in prediction.logits.items()}
    found = {
        INDECISION: -margin(prediction),
        RELIANCE: reliance(prediction, ablated),
        DISAGREEMENT: (labels["fused"] != labels[_other_head(ablated)]).astype(np.float32),
    }
    for name in LEVEL_MAPS if inspection else ():
        values = [_level_map(maps, name, ablated) for maps in inspection.all_maps()]
        if all(value is not None for value in values):
            found[name] = level_mean(values, labels["fused"].shape)
    return found


def further_forecasts(
    prediction: Prediction, inspection: Inspection | None, ablated: Drop
) -> dict[str, np.ndarray]:
    """Forecasts beside those of `forecasts`, which no viewer shows as a map.

    - "other_margin": how far the fused class is behind the best other class in the other sensor's head, as a
      difference of probabilities, -1..1;
    - "divergence": Kullback-Leibler divergence of the other sensor's head from the fused head, in nats;
    - "balance.L": the balance of level L alone;
    - "attended": balance × sparse_share of each level, averaged: the share of the fused feature that the
      attention takes from the ablated sensor, by the modality weights.
    """
    found = _of_the_heads(prediction, ablated)
    if inspection is None:
        return found
    size, levels = tuple(prediction.logits["fused"].shape[2:]), inspection.all_maps()
    balances = [_level_map(maps, "balance", ablated) for maps in levels]
    attended = [balance * maps.sparse_share for balance, maps in zip(balances, levels)]
    alone = {f"balance.{maps.level}": level_mean([b], size) for b, maps in zip(balances, levels)}
    return found | {"attended": level_mean(attended, size)} | alone


def _of_the_heads(prediction: Prediction, ablated: Drop) -> dict[str, np.ndarray]:
    import torch

    fused, other = (
        (prediction.logits[branch][0].float() / prediction.temperatures[branch]).log_softmax(dim=0)
        for branch in ("fused", _other_head(ablated))
    )
    label = fused.argmax(dim=0, keepdim=True)
    own = other.gather(0, label)[0].exp()
    rival = other.exp().scatter(0, label, -1.0).amax(dim=0)
    divergence = torch.sum(fused.exp() * (fused - other), dim=0)
    return {"other_margin": (rival - own).numpy(), "divergence": divergence.numpy()}


def _other_head(sensor: Drop) -> Branch:
    return "rgb" if sensor == "x" else "x"


def _level_map(maps: LevelMaps, name: str, ablated: Drop) -> np.ndarray | None:
    values = getattr(maps, name)
    if name == "entropy":
        return values.mean(axis=0)
    return 1 - values if name == "balance" and ablated == "rgb" else values


def level_mean(values: Iterable[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Mean of maps of any size, upsampled bilinearly to (h, w), float32."""
    resized = [cv2.resize(v.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR) for v in values]
    return np.mean(resized, axis=0)
