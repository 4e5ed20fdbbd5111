"""Scores of all maps as forecasts of the class changes by an ablation: of one image, and of many together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from ktb.analysis.faithfulness.forecast_maps import INDECISION, class_changes, forecasts, further_forecasts
from ktb.analysis.faithfulness.scores import MapScore, map_score, rank_correlation, ranks, tenths
from ktb.analysis.inspection import Inspection
from ktb.inference.prediction import Drop, Prediction

MAX_POSITIONS = 16_384
"""Positions of one image that `image_scores` reads; 128 × 128."""
MAX_RANKED = 200_000  # positions for the correlations of maps


def image_scores(
    prediction: Prediction, inspection: Inspection | None, ablated: Mapping[Drop, Prediction]
) -> dict[Drop, dict[str, MapScore]]:
    """Ablated sensor → map → its score on this image.

    Of grids with more than 16,384 positions, it reads every k-th row and column, with the smallest k that
    leaves at most that many.

    Args:
        prediction, inspection: as for `forecasts`, which defines the maps.
        ablated: predictions of the same pair with a sensor ablated, by that sensor.
    """
    return {
        drop: _scores(*_sampled(forecasts(prediction, inspection, drop), class_changes(prediction, other)))
        for drop, other in ablated.items()
    }


class FaithfulnessStudy:
    """Scores of all maps over the positions of many images together.

    A position needs about 70 bytes for each ablated sensor.
    """

    def __init__(self) -> None:
        self._maps: dict[Drop, dict[str, list[np.ndarray]]] = {}
        self._changed: dict[Drop, list[np.ndarray]] = defaultdict(list)
        self.images = 0

    def add(
        self,
        prediction: Prediction,
        inspection: Inspection | None,
        ablated: Mapping[Drop, Prediction],
        more: Mapping[Drop, Mapping[str, np.ndarray]] | None = None,
    ) -> None:
        """Add an image: its prediction and those with a sensor ablated.

        Args:
            more: further maps by ablated sensor and name, (h, w) on the grid of the logits, such as those of
                `ktb.analysis.faithfulness.shapley_values`.

        Raises:
            ValueError: the images have different maps, for example with and without X.
        """
        for drop, other in ablated.items():
            found = forecasts(prediction, inspection, drop)
            found |= further_forecasts(prediction, inspection, drop) if inspection else {}
            found |= (more or {}).get(drop, {})
            known = self._maps.setdefault(drop, {name: [] for name in found})
            if known.keys() != found.keys():
                raise ValueError("the images have different maps: study one checkpoint, each image with X.")
            for name, values in found.items():
                known[name].append(values.astype(np.float32).ravel())
            self._changed[drop].append(class_changes(prediction, other).ravel())
        self.images += 1

    def scores(self, ablated: Drop) -> dict[str, MapScore]:
        """Map → its score, the best within the margin first."""
        found = _scores(self._pooled(ablated), np.concatenate(self._changed[ablated]))
        return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(item[1].within_margin)))

    def correlations(self, ablated: Drop) -> dict[str, dict[str, float]]:
        """Spearman's rank correlation of each two maps, on at most 200,000 evenly spaced positions."""
        maps = self._pooled(ablated)
        size = len(next(iter(maps.values())))
        chosen = np.arange(0, size, max(1, -(-size // MAX_RANKED)))
        ranked = {name: ranks(values[chosen]) for name, values in maps.items()}
        return {a: {b: rank_correlation(ranked[a], ranked[b]) for b in ranked if b != a} for a in ranked}

    def to_dict(self) -> dict[str, Any]:
        """JSON-compatible results for each ablated sensor; undefined scores are None."""
        found = {}
        for drop in (drop for drop in get_args(Drop) if drop in self._maps):
            changed = np.concatenate(self._changed[drop])
            found[drop] = {
                "positions": int(changed.size),
                "changed": float(changed.mean()),
                "maps": {name: one.to_dict() for name, one in self.scores(drop).items()},
                "spearman": self.correlations(drop),
            }
        return {"images": self.images, "ablated": found}

    def _pooled(self, ablated: Drop) -> dict[str, np.ndarray]:
        return {name: np.concatenate(parts) for name, parts in self._maps[ablated].items()}


def _sampled(maps: Mapping[str, np.ndarray], changed: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Every k-th row and column of all arrays (h, w), flat."""
    step = 1
    while math.prod(-(-side // step) for side in changed.shape) > MAX_POSITIONS:
        step += 1
    taken = slice(None, None, step)
    return {name: v[taken, taken].ravel() for name, v in maps.items()}, changed[taken, taken].ravel()


def _scores(maps: Mapping[str, np.ndarray], changed: np.ndarray) -> dict[str, MapScore]:
    bins = tenths(maps[INDECISION])
    return {name: map_score(values, changed, bins) for name, values in maps.items()}
