"""Boundary F1: how well the outlines of the classes are met.

After Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013:
for one class, precision is the share of its predicted boundary pixels that lie within a tolerance of its true
boundary, recall the share of its true boundary pixels within the tolerance of its predicted boundary, and the
score is their harmonic mean; the tolerance is 0.75 % of the image diagonal. Here the pixels of all images are
counted together before the score is taken (the paper averages the scores of the images), as for the IoU.

A boundary pixel of a class is one with a 4-neighbour of another class; the image's border is no boundary.
Ignored labels are often thin seams between objects, where the boundary is: ignored pixels within the
tolerance of a labelled one take the nearest label. What then remains ignored is unknown, and within twice the
tolerance of it no boundary pixel is scored, neither of the truth nor of the prediction.
"""

import cv2
import numpy as np
import torch

from ktb.labels import IGNORE_INDEX

TOLERANCE = 0.0075  # of the image diagonal


class BoundaryCounts:
    """Boundary pixels per class over all images seen, as int64 (K, 4).

    Columns of `counts`: true, true and met by the prediction, predicted, predicted and met by the truth.
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
        """The score of each class in percent; NaN (`absent_as_zero`: 0) where neither side has a boundary."""
        true, true_met, guessed, guessed_met = self.counts.double().unbind(1)
        recall, precision = true_met / true, guessed_met / guessed
        # a side without boundary makes one of the two 0 / 0: the other side's pixels are then all missed
        recall, precision = recall.nan_to_num(0.0), precision.nan_to_num(0.0)
        score = 2 * precision * recall / (precision + recall).clamp(min=torch.finfo(torch.float64).tiny)
        score = score.masked_fill((true == 0) & (guessed == 0), 0.0 if absent_as_zero else float("nan"))
        return tuple((100 * score).tolist())

    def mean_f1(self, *, absent_as_zero: bool = False) -> float:
        """The mean over classes, absent ones left out (or counted as 0)."""
        return torch.tensor(self.f1(absent_as_zero=absent_as_zero), dtype=torch.float64).nanmean().item()


def _close_gaps(label: np.ndarray, known: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels, unknown pixels filled from the nearest one within the tolerance; and what is known then."""
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
    """(H, W) bool: pixels at most `tolerance` from a point, by their centres."""
    if not points.any():  # cv2's distance to nothing is a number, not infinity
        return np.zeros(points.shape, bool)
    distance = cv2.distanceTransform((~points).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance <= tolerance + 1e-3
