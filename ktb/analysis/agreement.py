"""Disagreement of the three heads of one prediction: maps, fractions and largest changes, in numpy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from ktb.inference.prediction import Branch, Prediction

ALL_AGREE, ONLY_RGB, ONLY_X, AGAINST_FUSED, ALL_DIFFER = range(5)
"""Values of a disagreement map. ONLY_RGB, ONLY_X: only that head predicts the fused head's class.
AGAINST_FUSED: the rgb and x heads predict the same class, the fused head another one."""
NUM_KINDS = 5


@dataclass(frozen=True)
class ClassChange:
    """Fraction (0..1) of the image that one head predicts as class `source`, another as `target`."""

    share: float
    source: int
    target: int


def disagreement_map(labels: Mapping[Branch, np.ndarray]) -> np.ndarray:
    """Map of which heads agree at each pixel.

    Args:
        labels: per branch (H, W) integers, as `Prediction.labels`.

    Returns:
        (H, W) uint8: ALL_AGREE, ONLY_RGB, ONLY_X, AGAINST_FUSED or ALL_DIFFER.
    """
    with_rgb, with_x = labels["rgb"] == labels["fused"], labels["x"] == labels["fused"]
    found = np.where(labels["rgb"] == labels["x"], AGAINST_FUSED, ALL_DIFFER).astype(np.uint8)
    found[with_rgb] = ONLY_RGB
    found[with_x] = ONLY_X
    found[with_rgb & with_x] = ALL_AGREE
    return found


def kind_shares(kinds: np.ndarray) -> np.ndarray:
    """Fractions (5,) float64, 0..1, of the values of a disagreement map (H, W)."""
    return np.bincount(kinds.ravel(), minlength=NUM_KINDS) / kinds.size


def class_changes(joint: np.ndarray, least: float = 0.001, most: int = 8) -> list[ClassChange]:
    """The pairs of different classes that cover the most pixels, largest first.

    Args:
        joint: from `ktb.analysis.metrics.confusion_matrix`; changes go from the first map's class to the
            second map's.
        least: smallest fraction of all pixels to include.
        most: maximum length of the list.
    """
    counts = joint.copy()
    np.fill_diagonal(counts, 0)
    total = max(1, int(joint.sum()))
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    found = [(counts.flat[i] / total, *divmod(int(i), len(joint))) for i in order]
    return [ClassChange(float(share), *pair) for share, *pair in found if share >= max(least, 1 / total)]


def entropy_map(prediction: Prediction, branch: Branch = "fused") -> np.ndarray:
    """Normalised predictive entropy of a head: entropy of its class probabilities / log K.

    Computed at the size of the head's logits, a quarter of the network's, then upsampled bilinearly. The
    probabilities are calibrated by the branch's temperature.

    Returns:
        (H, W) float32 0..1 at the RGB image's size: 0 = certain, 1 = all classes equally likely.
    """
    logits = prediction.logits[branch][0].numpy()
    size = prediction.size_hw
    if len(logits) < 2:
        return np.zeros(size, np.float32)
    if (temperature := prediction.temperatures[branch]) != 1:
        logits = logits / np.float32(temperature)
    shifted = logits - logits.max(axis=0)
    weight = np.exp(shifted)
    total = weight.sum(axis=0)
    entropy = np.log(total) - (weight * shifted).sum(axis=0) / total
    entropy = np.clip(entropy / math.log(len(logits)), 0, 1).astype(np.float32)
    return cv2.resize(entropy, size[::-1], interpolation=cv2.INTER_LINEAR)
