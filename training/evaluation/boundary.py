"""Boundary F1: the accuracy of the classes' boundaries.

After Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013:
for one class, precision is the fraction of its predicted boundary pixels within a tolerance of its true
boundary. Recall is the fraction of its true boundary pixels within the tolerance of its predicted boundary.
The score is their harmonic mean; the tolerance is 0.75 % of the image diagonal. Here the pixels of all
images are counted together before the score is computed, as for the IoU; the paper averages over images.

A boundary pixel of a class is one with a 4-neighbour of another class; the image's border is no boundary.
Ignored labels are often thin lines between objects, on the boundary: an ignored pixel within the tolerance of
a labelled one takes the nearest label. The pixels that are still ignored are unknown. Within twice the
tolerance of them, boundary pixels of neither the truth nor the prediction are scored.
"""

import cv2
import numpy as np
import torch

from ktb.labels import IGNORE_INDEX

TOLERANCE = 0.0075  # of the image diagonal


class BoundaryCounts:
    """Boundary pixels per class over all images seen, as int64 (K, 4).

    Columns of `counts`: true; true and matched by the prediction; predicted; predicted and matched by truth.
    tolerance: Euclidean distance in pixels; None: 0.75 % of each image's diagonal. Raises ValueError if it is
    negative or not finite.
    """

    def __init__(self, num_classes: int, tolerance: float | None = None, ignore_index: int = IGNORE_INDEX):
        if tolerance is not None and not (np.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(
                f"the boundary tolerance is {tolerance}; give a distance of 0 or more pixels, such as 3."
            )
        self.num_classes = num_classes
        self.tolerance = tolerance
        self.ignore_index = ignore_index
        self.counts = torch.zeros(num_classes, 4, dtype=torch.int64)

    def update(self, pred: np.ndarray, label: np.ndarray) -> None:
        """Add one image: integer arrays (H, W), classes 0..K-1; a label may be ignored.

        Raises ValueError for differing shapes.
        """
        if pred.shape != label.shape:
            raise ValueError(f"pred {pred.shape} and label {label.shape} differ in shape.")
        tolerance = TOLERANCE * np.hypot(*label.shape) if self.tolerance is None else self.tolerance
        label, known = _close_gaps(label, label != self.ignore_index, tolerance)
        judged = ~_near(~known, 2 * tolerance)
        true_edge, pred_edge = _edges(label, known), _edges(pred, np.ones_like(known))
        rows = np.zeros((self.num_classes, 4), np.int64)
        for index in np.union1d(label[true_edge], pred[pred_edge]):
            truth, guess = true_edge & (label == index), pred_edge & (pred == index)
            box = _bounding_box(truth | guess)
            truth, guess, counted = truth[box], guess[box], judged[box]
            rows[index] = (
                (truth & counted).sum(),
                (truth & counted & _near(guess, tolerance)).sum(),
                (guess & counted).sum(),
                (guess & counted & _near(truth, tolerance)).sum(),
            )
        self.counts += torch.from_numpy(rows)

    def f1(self, *, absent_as_zero: bool = False) -> tuple[float, ...]:
        """The score of each class in percent; NaN (absent_as_zero=True: 0) if neither side has a boundary."""
        true, true_met, guessed, guessed_met = self.counts.double().unbind(1)
        recall, precision = true_met / true, guessed_met / guessed
        # without a boundary on one side one of the two is 0 / 0, and no pixel of the other side is matched
        recall, precision = recall.nan_to_num(0.0), precision.nan_to_num(0.0)
        score = 2 * precision * recall / (precision + recall).clamp(min=torch.finfo(torch.float64).tiny)
        score = score.masked_fill((true == 0) & (guessed == 0), 0.0 if absent_as_zero else float("nan"))
        return tuple((100 * score).tolist())

    def mean_f1(self, *, absent_as_zero: bool = False) -> float:
        """The mean over classes without absent ones (absent_as_zero=True: they count as 0)."""
        return torch.tensor(self.f1(absent_as_zero=absent_as_zero), dtype=torch.float64).nanmean().item()


def _close_gaps(label: np.ndarray, known: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Fill unknown pixels from the nearest label within the tolerance; (labels, mask of known pixels)."""
    if known.all() or not known.any():
        return label, known
    _, nearest = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    classes = np.zeros(nearest.max() + 1, label.dtype)
    classes[nearest[known]] = label[known]
    return classes[nearest], _near(known, tolerance)


def _bounding_box(points: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(points.any(1)), np.flatnonzero(points.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _edges(classes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(H, W) bool: known pixels with a known 4-neighbour of another class."""
    edge = np.zeros(classes.shape, bool)
    down = (classes[1:] != classes[:-1]) & known[1:] & known[:-1]
    right = (classes[:, 1:] != classes[:, :-1]) & known[:, 1:] & known[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge


def _near(points: np.ndarray, tolerance: float) -> np.ndarray:
    """(H, W) bool: pixels at most `tolerance` from a point, between pixel centres."""
    if not points.any():  # without a point cv2 returns a finite distance
        return np.zeros(points.shape, bool)
    distance = cv2.distanceTransform((~points).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance <= tolerance + 1e-3
