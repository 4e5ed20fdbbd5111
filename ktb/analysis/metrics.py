"""Segmentation metrics from one confusion matrix, in numpy; values are 0..1."""

from __future__ import annotations

import numpy as np


def confusion_matrix(truth: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Confusion matrix (K, K) int64: pixels of class i in the first and class j in the second map.

    Args:
        truth, predicted: integers 0..K-1 of one shape, without ignored pixels.

    Raises:
        ValueError: the shapes differ, or a class is outside 0..K-1.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"label maps of {truth.shape} and {predicted.shape}: bring them to one size first")
    for label in (truth, predicted):
        if label.size and not 0 <= int(label.min()) <= int(label.max()) < num_classes:
            raise ValueError(
                f"a label map has classes {int(label.min())}..{int(label.max())}; it must be "
                f"0..{num_classes - 1}"
            )
    pairs = truth.ravel().astype(np.int64) * num_classes + predicted.ravel()
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_iou(counts: np.ndarray) -> np.ndarray:
    """Intersection over union per class, (K,) float64, NaN where neither map has the class.

    Its `np.nanmean` is the mean over the classes that at least one of the two maps has.
    """
    hits, truth, predicted = _totals(counts)
    return _ratio(hits, truth + predicted - hits)


def class_accuracy(counts: np.ndarray) -> np.ndarray:
    """Recall per class, hits / truth, (K,) float64, NaN where the truth lacks the class."""
    hits, truth, _ = _totals(counts)
    return _ratio(hits, truth)


def class_f1(counts: np.ndarray) -> np.ndarray:
    """2 hits / (truth + predicted) per class, (K,) float64, NaN where neither map has the class."""
    hits, truth, predicted = _totals(counts)
    return _ratio(2 * hits, truth + predicted)


def pixel_accuracy(counts: np.ndarray) -> float:
    """Fraction of pixels with equal classes; NaN without pixels."""
    total = int(counts.sum())
    return float(np.trace(counts) / total) if total else float("nan")


def _totals(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, pixels in the truth and pixels in the prediction, each (K,) float64."""
    return (values.astype(np.float64) for values in (np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
