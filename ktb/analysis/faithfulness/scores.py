"""AUROC of a map as a forecast of an event, overall and within tenths of another map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STRATA = 10


@dataclass(frozen=True)
class MapScore:
    """AUROC of a map as a forecast of the changes, and within tenths of the margin; NaN if undefined."""

    auroc: float
    within_margin: float

    def to_dict(self) -> dict[str, float | None]:
        """JSON-compatible; undefined scores are None."""
        found = {"auroc": self.auroc, "within_margin": self.within_margin}
        return {name: None if np.isnan(value) else value for name, value in found.items()}


def map_score(scores: np.ndarray, happened: np.ndarray, bins: np.ndarray) -> MapScore:
    """Both AUROCs of a map, (N,) each; `bins` from `tenths`."""
    order = np.argsort(scores, kind="stable")
    ordered, happened, bins = scores[order], happened[order].astype(bool), bins[order]
    steps = np.concatenate([[0], np.cumsum(ordered[1:] != ordered[:-1])])  # equal where the scores are equal
    alone = _ordered_auroc(steps, happened, np.zeros(len(bins), np.uint8))
    by_bin = np.argsort(bins, kind="stable")
    return MapScore(alone, _ordered_auroc(steps[by_bin], happened[by_bin], bins[by_bin]))


def auroc(scores: np.ndarray, happened: np.ndarray) -> float:
    """Probability that a score is higher where something happened than where not; ties count half.

    Returns NaN if it happened everywhere or nowhere.
    """
    return map_score(np.ravel(scores), np.ravel(happened), np.zeros(np.size(scores), np.uint8)).auroc


def auroc_within(scores: np.ndarray, happened: np.ndarray, values: np.ndarray, strata: int = STRATA) -> float:
    """AUROC within quantile bins of `values`, weighted by the pairs that each bin compares."""
    return map_score(np.ravel(scores), np.ravel(happened), tenths(values, strata)).within_margin


def tenths(values: np.ndarray, strata: int = STRATA) -> np.ndarray:
    """The quantile bin, 0..strata-1, of each of the values, flat (N,) uint8."""
    values = np.ravel(values)
    edges = np.quantile(values, np.linspace(0, 1, strata + 1)[1:-1])
    return np.searchsorted(edges, values, side="right").astype(np.uint8)


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share their mean rank."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]


def rank_correlation(ranks_a: np.ndarray, ranks_b: np.ndarray) -> float:
    """Spearman's correlation from the ranks of two maps; 0 if one is constant."""
    if np.ptp(ranks_a) == 0 or np.ptp(ranks_b) == 0:
        return 0.0
    return float(np.corrcoef(ranks_a, ranks_b)[0, 1])


def _ordered_auroc(steps: np.ndarray, happened: np.ndarray, bins: np.ndarray) -> float:
    """AUROC over the pairs of equal bins, from values sorted by bin, then by score.

    steps: integers that increase with the score and are equal where it is.
    """
    is_first = np.concatenate([[True], (steps[1:] != steps[:-1]) | (bins[1:] != bins[:-1])])
    starts = np.flatnonzero(is_first)
    mean_places = starts + (np.diff(np.append(starts, len(steps))) - 1) / 2
    tie = np.cumsum(is_first) - 1
    sizes = np.bincount(bins)
    positive = np.bincount(bins, weights=happened)
    sums = np.bincount(bins, weights=np.where(happened, mean_places[tie], 0.0))
    below = sums - positive * (np.cumsum(sizes) - sizes) - positive * (positive - 1) / 2
    pairs = (positive * (sizes - positive)).sum()
    return float(below.sum() / pairs) if pairs else float("nan")
