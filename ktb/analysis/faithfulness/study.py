"""Scores of all maps as forecasts of the class changes by an ablation: of one image, and of many together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from ktb.analysis.faithfulness.forecast_maps import INDECISION, class_changes, forecasts, further_forecasts
from ktb.analysis.faithfulness.scores import MapScore, auroc, map_score, rank_correlation, ranks, tenths
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


@dataclass(frozen=True, eq=False)
class ImageMaps:
    """The maps of one image and where its class changes, by ablated sensor; N positions of the logits' grid.

    Attributes:
        maps: ablated sensor → map → (N,) float32.
        changed: ablated sensor → (N,) bool.
    """

    maps: Mapping[Drop, Mapping[str, np.ndarray]]
    changed: Mapping[Drop, np.ndarray]

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As named arrays, for `numpy.savez`."""
        maps = {f"{drop}/maps/{n}": v for drop, named in self.maps.items() for n, v in named.items()}
        return maps | {f"{drop}/changed": values for drop, values in self.changed.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ImageMaps:
        """The inverse of `to_arrays`."""
        maps: dict[Drop, dict[str, np.ndarray]] = defaultdict(dict)
        changed = {}
        for name in arrays:
            drop, kind, *rest = name.split("/")
            if kind == "changed":
                changed[drop] = arrays[name]
            else:
                maps[drop]["/".join(rest)] = arrays[name]
        return cls(dict(maps), changed)


def image_maps(
    prediction: Prediction,
    inspection: Inspection | None,
    ablated: Mapping[Drop, Prediction],
    more: Mapping[Drop, Mapping[str, np.ndarray]] | None = None,
) -> ImageMaps:
    """All maps of one image: those of `forecasts` and `further_forecasts`.

    Args:
        ablated: predictions of the same pair with a sensor ablated, by that sensor.
        more: further maps by ablated sensor and name, (h, w) on the grid of the logits, such as those of
            `contributions`.
    """
    maps = {}
    for drop in ablated:
        found = forecasts(prediction, inspection, drop) | further_forecasts(prediction, inspection, drop)
        found |= (more or {}).get(drop, {})
        maps[drop] = {name: values.astype(np.float32).ravel() for name, values in found.items()}
    return ImageMaps(maps, {drop: class_changes(prediction, p).ravel() for drop, p in ablated.items()})


class FaithfulnessStudy:
    """Scores of all maps over the positions of many images together.

    A position needs about 100 bytes for each ablated sensor.
    """

    def __init__(self) -> None:
        self._maps: dict[Drop, dict[str, list[np.ndarray]]] = {}
        self._changed: dict[Drop, list[np.ndarray]] = defaultdict(list)
        self.images = 0

    def add(self, image: ImageMaps) -> None:
        """Add an image.

        Raises:
            ValueError: the images have different maps, for example with and without X.
        """
        for drop, found in image.maps.items():
            known = self._maps.setdefault(drop, {name: [] for name in found})
            if known.keys() != found.keys():
                raise ValueError("the images have different maps: study one checkpoint, each image with X.")
            for name, values in found.items():
                known[name].append(values)
            self._changed[drop].append(image.changed[drop])
        self.images += 1

    def scores(self, ablated: Drop) -> dict[str, MapScore]:
        """Map → its score, the best within the margin first."""
        found = _scores(self._pooled(ablated), np.concatenate(self._changed[ablated]))
        return dict(sorted(found.items(), key=lambda item: -np.nan_to_num(item[1].within_margin)))

    def image_quartiles(self, ablated: Drop) -> dict[str, list[float] | None]:
        """Map → the quartiles of the AUROCs of single images, of those where the AUROC is defined."""
        found = {}
        for name, parts in self._maps[ablated].items():
            alone = [auroc(*one) for one in zip(parts, self._changed[ablated])]
            defined = [value for value in alone if not np.isnan(value)]
            found[name] = np.quantile(defined, [0.25, 0.5, 0.75]).tolist() if defined else None
        return found

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
            changed, quartiles = np.concatenate(self._changed[drop]), self.image_quartiles(drop)
            scores = {
                name: one.to_dict() | {"images": quartiles[name]} for name, one in self.scores(drop).items()
            }
            found[drop] = {
                "positions": int(changed.size),
                "changed": float(changed.mean()),
                "maps": scores,
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
