"""Ground truth of a prediction: reading labels, metrics of the heads, and the effect of the fusion."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from ktb.analysis.metrics import class_iou, confusion_matrix, pixel_accuracy
from ktb.inputs.alignment.place import ASPECT_TOLERANCE
from ktb.inputs.limits import InputError
from ktb.inputs.readers.files import Source
from ktb.inputs.readers.labels import labels_from_colors, read_label_picture
from ktb.labels import IGNORE_INDEX

RIGHT, WRONG = 0, 1
BOTH_RIGHT, HELPED, HURT, BOTH_WRONG = range(4)
"""Values of `fusion_effect`. HELPED: fused right, the head wrong; HURT: the reverse."""

Numbering = Literal["stored", "from_one"]


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Ground truth classes of one RGB image.

    Attributes:
        labels: (H, W) uint8 at the RGB image's size, 0..K-1 or 255 = not labelled.
        name: name of the file.
        summary: description of how the file was read.
    """

    labels: np.ndarray
    name: str
    summary: str


@dataclass(frozen=True, eq=False)
class Score:
    """Metrics of one head against the ground truth, over labelled pixels, in 0..1.

    Attributes:
        iou: (K,) hits / (truth + predicted - hits); NaN for classes absent from both.
        mean_iou: mean over the classes that are not NaN.
        pixel_accuracy: fraction of the labelled pixels that are correct.
    """

    iou: np.ndarray
    mean_iou: float
    pixel_accuracy: float


def read_truth(
    source: Source,
    size_hw: tuple[int, int],
    palette: Sequence[tuple[int, int, int]],
    numbering: Numbering = "stored",
    name: str | None = None,
    read: Callable[[Source, str | None], tuple[np.ndarray, str]] = read_label_picture,
) -> GroundTruth:
    """Read a label image for an RGB image.

    A single channel contains class numbers (a palette image its indices). A colour image must use the
    checkpoint's own palette, with black for unlabelled pixels. Other sizes are resized to the RGB image's by
    nearest neighbour.

    Args:
        size_hw: height and width of the RGB image.
        palette: K colours of the checkpoint's classes.
        numbering: "stored": value k is class k; "from_one": value k is class k - 1 and 0 is not labelled.
            255 is never labelled. Colour pictures do not use it.
        read: decoder of the file; a server passes `Sandbox.read_label_picture`.

    Raises:
        InputError: the file is no label image, has another aspect ratio, or values outside the classes.
        ValueError: the numbering is unknown.
    """
    if numbering not in get_args(Numbering):
        raise ValueError(f"numbering {numbering!r}: choose one of {', '.join(get_args(Numbering))}")
    stored, name = read(source, name)
    height, width = stored.shape[:2]
    if abs(width * size_hw[0] / (height * size_hw[1]) - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"{name}: {width} x {height} pixels, but the RGB image has {size_hw[1]} x {size_hw[0]}; their "
            "proportions differ. Give the label picture that belongs to this RGB image"
        )
    if stored.ndim == 3:
        labels, how = labels_from_colors(stored, palette, name), "colours of the checkpoint's palette"
    else:
        labels = _from_numbers(stored, len(palette), numbering, name)
        how = "values as stored" if numbering == "stored" else "value k is class k − 1, 0 is not labelled"
    if (height, width) != tuple(size_hw):
        labels = cv2.resize(labels, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        how += f", {width}×{height} resized by the nearest pixel"
    if (labels == IGNORE_INDEX).all():
        raise InputError(f"{name}: not one pixel is labelled, so there is nothing to score")
    return GroundTruth(labels, name, how)


def score(pred: np.ndarray, truth: np.ndarray, num_classes: int) -> Score:
    """Score a label map (H, W) of classes 0..K-1 against the truth (H, W), 255 = not labelled.

    Raises:
        ValueError: the shapes differ, or a class is outside 0..K-1.
    """
    valid = _scored(pred, truth)
    counts = confusion_matrix(truth[valid], pred[valid], num_classes)
    iou = class_iou(counts)
    mean = float(np.nanmean(iou)) if counts.any() else float("nan")
    return Score(iou, mean, pixel_accuracy(counts))


def error_map(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Error map (H, W) uint8: RIGHT, WRONG, or 255 where unlabelled; ValueError for differing shapes."""
    valid = _scored(pred, truth)
    return np.where(valid, np.where(pred == truth, RIGHT, WRONG), IGNORE_INDEX).astype(np.uint8)


def fusion_effect(fused: np.ndarray, branch: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Map (H, W) uint8 of where the fused head is better or worse than another head.

    Values are BOTH_RIGHT, HELPED (fused right, the head wrong), HURT (fused wrong, the head right),
    BOTH_WRONG, or 255 where unlabelled. Raises ValueError for differing shapes.
    """
    valid = _scored(fused, truth) & _scored(branch, truth)
    is_right, was_right = fused == truth, branch == truth
    found = np.where(is_right, np.where(was_right, BOTH_RIGHT, HELPED), np.where(was_right, HURT, BOTH_WRONG))
    return np.where(valid, found, IGNORE_INDEX).astype(np.uint8)


def scored_shares(kinds: np.ndarray, count: int) -> np.ndarray:
    """Fractions (count,), 0..1, of the values 0..count-1 among all except 255; NaN if there are none."""
    found = np.bincount(kinds.ravel(), minlength=count)[:count]
    return found / found.sum() if found.sum() else np.full(count, np.nan)


def _scored(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if pred.shape != truth.shape:
        raise ValueError(f"prediction {pred.shape} and truth {truth.shape} differ in size")
    return truth != IGNORE_INDEX


def _from_numbers(stored: np.ndarray, num_classes: int, numbering: Numbering, name: str) -> np.ndarray:
    offset = 1 if numbering == "from_one" else 0
    values = stored.astype(np.int64)
    ignored = (values == IGNORE_INDEX) | ((values == 0) & bool(offset))
    wrong = np.unique(values[~ignored & ((values < offset) | (values >= offset + num_classes))])
    if len(wrong):
        hint = ""
        if not offset and wrong.tolist() == [num_classes]:
            hint = " If the file counts its classes from 1, choose that numbering."
        raise InputError(
            f"{name}: label value {reprlib.repr(wrong.tolist())[1:-1]} is no class of this checkpoint, whose "
            f"{num_classes} classes are {offset}..{offset + num_classes - 1} here; 255 is not labelled.{hint}"
        )
    return np.where(ignored, IGNORE_INDEX, values - offset).astype(np.uint8)
