"""Scores of maps as forecasts of the class changes by an ablation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import cv2
import numpy as np

from ktb.analysis.inspection import Inspection
from ktb.inference.prediction import Drop, Prediction

STRATA = 10
MAX_RANKED = 200_000  # positions for the correlations of maps
MARGIN = "small margin"
DOUBT = "doubt of the other head"
BALANCE = "balance"


@dataclass(frozen=True)
class MapScore:
    """AUROC of a map as a forecast of the changes, and within tenths of the margin; NaN if undefined."""

    auroc: float
    within_margin: float


def class_changes(prediction: Prediction, ablated: Prediction) -> np.ndarray:
    """Whether the fused class changes, (h, w) bool on the grid of the logits."""
    before, after = (one.logits["fused"][0].argmax(dim=0).numpy() for one in (prediction, ablated))
    return before != after


def margin(prediction: Prediction) -> np.ndarray:
    """Difference of the two highest fused probabilities, (h, w) float32 on the grid of the logits."""
    logits = prediction.logits["fused"][0].float() / prediction.temperatures["fused"]
    best = logits.softmax(dim=0).topk(2, dim=0).values
    return (best[0] - best[1]).numpy()


def forecasts(prediction: Prediction, inspection: Inspection | None, ablated: Drop) -> dict[str, np.ndarray]:
    """Forecasts of where the ablation of a sensor changes the class, by name.

    Args:
        inspection: of this prediction; None leaves out the maps of the fusion.
        ablated: the sensor that is to be ablated; the other sensor's head remains.

    Returns:
        (h, w) float32 on the grid of the logits; high where a change is forecast.
    """
    import torch

    temperatures = prediction.temperatures
    logits = {branch: v[0].float() / temperatures[branch] for branch, v in prediction.logits.items()}
    fused, other = logits["fused"].argmax(dim=0), logits["rgb" if ablated == "x" else "x"]
    found = {
        MARGIN: -margin(prediction),
        "disagreement with the other head": (fused != other.argmax(dim=0)).float().numpy(),
        DOUBT: 1 - torch.gather(other.softmax(dim=0), 0, fused[None])[0].numpy(),
    }
    if inspection is None:
        return found
    size = tuple(fused.shape)
    levels = inspection.all_maps()
    balances = [_resized(maps.balance if ablated == "x" else 1 - maps.balance, size) for maps in levels]
    shares = [_resized(maps.sparse_share, size) for maps in levels]
    found[f"{BALANCE}, mean of levels"] = np.mean(balances, axis=0)
    found |= {f"{BALANCE}, level {maps.level}": balance for maps, balance in zip(levels, balances)}
    found["balance × share through attention"] = np.mean([b * s for b, s in zip(balances, shares)], axis=0)
    found["share through attention"] = np.mean(shares, axis=0)
    found["attention entropy"] = np.mean([_resized(m.entropy.mean(axis=0), size) for m in levels], axis=0)
    prompts = [maps.prompt_rgb if ablated == "x" else maps.prompt_x for maps in levels]
    if all(prompt is not None for prompt in prompts):  # what the ablated sensor tells the other stream
        found["prompts from the sensor"] = np.mean([_resized(prompt, size) for prompt in prompts], axis=0)
    return found


def auroc(scores: np.ndarray, happened: np.ndarray) -> float:
    """Probability that a score is higher where something happened than where not; ties count half.

    Returns NaN if it happened everywhere or nowhere.
    """
    scores, happened = np.ravel(scores), np.ravel(happened).astype(bool)
    positive = int(happened.sum())
    negative = happened.size - positive
    if not positive or not negative:
        return float("nan")
    rank_sum = _ranks(scores)[happened].sum()
    return float((rank_sum - positive * (positive + 1) / 2) / (positive * negative))


def auroc_within(scores: np.ndarray, happened: np.ndarray, values: np.ndarray, strata: int = STRATA) -> float:
    """AUROC within quantile bins of `values`, weighted by the pairs that each bin compares."""
    scores, happened, values = np.ravel(scores), np.ravel(happened).astype(bool), np.ravel(values)
    edges = np.quantile(values, np.linspace(0, 1, strata + 1)[1:-1])
    bins = np.searchsorted(edges, values, side="right")
    total = weight = 0.0
    for index in range(strata):
        inside = bins == index
        positive = int(happened[inside].sum())
        pairs = positive * (int(inside.sum()) - positive)
        if pairs:
            total += pairs * auroc(scores[inside], happened[inside])
            weight += pairs
    return total / weight if weight else float("nan")


def image_scores(
    prediction: Prediction, inspection: Inspection | None, ablated: Mapping[Drop, Prediction]
) -> dict[Drop, dict[str, MapScore]]:
    """Ablated sensor → map → its score on this image."""
    study = FaithfulnessStudy()
    study.add(prediction, inspection, ablated)
    return {drop: study.scores(drop) for drop in ablated}


class FaithfulnessStudy:
    """Scores of all maps over the positions of many images together.

    A position needs about 50 bytes for each ablated sensor.
    """

    def __init__(self) -> None:
        self._maps: dict[Drop, dict[str, list[np.ndarray]]] = {}
        self._changed: dict[Drop, list[np.ndarray]] = defaultdict(list)
        self.images = 0

    def add(
        self, prediction: Prediction, inspection: Inspection | None, ablated: Mapping[Drop, Prediction]
    ) -> None:
        """Add an image: its prediction and those with a sensor ablated.

        Raises:
            ValueError: the images have different maps, for example with and without X.
        """
        for drop, other in ablated.items():
            found = forecasts(prediction, inspection, drop)
            known = self._maps.setdefault(drop, {name: [] for name in found})
            if known.keys() != found.keys():
                raise ValueError("the images have different maps: study one checkpoint, each image with X.")
            for name, values in found.items():
                known[name].append(values.astype(np.float32).ravel())
            self._changed[drop].append(class_changes(prediction, other).ravel())
        self.images += 1

    def scores(self, ablated: Drop) -> dict[str, MapScore]:
        """Map → its score, the best within the margin first."""
        changed = np.concatenate(self._changed[ablated])
        maps = {name: np.concatenate(parts) for name, parts in self._maps[ablated].items()}
        found = {
            name: MapScore(auroc(values, changed), auroc_within(values, changed, maps[MARGIN]))
            for name, values in maps.items()
        }
        return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(item[1].within_margin)))

    def correlations(self, ablated: Drop) -> dict[str, dict[str, float]]:
        """Spearman's rank correlation of each two maps, on at most 200,000 evenly spaced positions."""
        maps = {name: np.concatenate(parts) for name, parts in self._maps[ablated].items()}
        size = len(next(iter(maps.values())))
        chosen = np.arange(0, size, max(1, -(-size // MAX_RANKED)))
        ranks = {name: _ranks(values[chosen]) for name, values in maps.items()}
        return {a: {b: _correlation(ranks[a], ranks[b]) for b in ranks if b != a} for a in ranks}

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible results for each ablated sensor; undefined scores are None."""
        found = {}
        for drop in (drop for drop in get_args(Drop) if drop in self._maps):
            changed = np.concatenate(self._changed[drop])
            found[drop] = {
                "positions": int(changed.size),
                "changed": float(changed.mean()),
                "maps": {
                    name: {"auroc": _defined(one.auroc), "within_margin": _defined(one.within_margin)}
                    for name, one in self.scores(drop).items()
                },
                "spearman": self.correlations(drop),
            }
        return {"images": self.images, "ablated": found}


def _resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(values.astype(np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
