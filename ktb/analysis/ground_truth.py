"""Ground truth of a prediction: reading labels, metrics of the heads, and the effect of the fusion."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import cv2
import numpy as np

from ktb.analysis.metrics import class_iou, confusion_matrix, pixel_accuracy
from ktb.inputs.alignment.place import ASPECT_TOLERANCE
from ktb.inputs.limits import InputError
from ktb.inputs.readers.files import Source
from ktb.inputs.readers.labels import labels_from_colors, read_label_picture
from ktb.labels import IGNORE_INDEX, labels_of

RIGHT, WRONG = 0, 1
BOTH_RIGHT, HELPED, HURT, BOTH_WRONG = range(4)
"""Values of `fusion_effect`. HELPED: fused right, the head wrong; HURT: the reverse."""

Counting = Literal["stored", "from_one"]
"""How a label file counts its classes. "stored": value k is class k; "from_one": value k is class k - 1, and
0 is not labelled. 255 is never labelled."""
Numbering = Literal["auto", "stored", "from_one"]
"""A counting, or "auto" for that of the checkpoint's dataset."""
COUNTINGS: Mapping[Counting, str] = MappingProxyType(
    {"stored": "value k is class k", "from_one": "value k is class k − 1, 0 is not labelled"}
)
MUCH_BETTER = 0.1
"""Difference in pixel accuracy from which another counting is offered."""


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Ground truth classes of one RGB image.

    Attributes:
        labels: (H, W) uint8 at the RGB image's size, 0..K-1 or 255 = not labelled.
        name: name of the file.
        summary: description of how the file was read.
        counting: how its numbers were counted; None for a file of colours.
        other: the labels if they are counted the other way; None if the file does not allow it.
    """

    labels: np.ndarray
    name: str
    summary: str
    counting: Counting | None = None
    other: np.ndarray | None = None


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


def usual_counting(classes: Sequence[str]) -> Counting:
    """How label files of the benchmark with these classes count them; "stored" for other classes."""
    labels = labels_of(tuple(classes))
    return "from_one" if labels is not None and labels.first_stored == 1 else "stored"


def read_truth(
    source: Source,
    size_hw: tuple[int, int],
    palette: Sequence[tuple[int, int, int]],
    numbering: Numbering = "auto",
    name: str | None = None,
    read: Callable[[Source, str | None], tuple[np.ndarray, str]] = read_label_picture,
    usual: Counting = "stored",
) -> GroundTruth:
    """Read a label image for an RGB image.

    A single channel contains class numbers (a palette image its indices); so does the red channel if the
    others are 0, as in DELIVER. A colour image must use the checkpoint's own palette, with black for
    unlabelled pixels. Other sizes are resized to the RGB image's by
    nearest neighbour.

    Args:
        size_hw: height and width of the RGB image.
        palette: K colours of the checkpoint's classes.
        numbering: a counting; or "auto" for `usual` if the file allows it, else the other one. Colour
            pictures do not use it.
        read: decoder of the file; a server passes `Sandbox.read_label_picture`.
        usual: counting of the checkpoint's dataset, see `usual_counting`.

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
    if stored.ndim == 3 and not stored[..., 1:].any():
        stored = stored[..., 0]
    counting: Counting | None = None
    other: np.ndarray | None = None
    if stored.ndim == 3:
        labels, how = labels_from_colors(stored, palette, name), "colours of the checkpoint's palette"
    else:
        labels, counting, other = _counted(stored, len(palette), numbering, usual, name)
        how = COUNTINGS[counting]
    if (height, width) != tuple(size_hw):
        labels, other = (
            None if found is None else cv2.resize(found, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
            for found in (labels, other)
        )
        how += f", {width}×{height} resized by the nearest pixel"
    if (labels == IGNORE_INDEX).all():
        raise InputError(f"{name}: not one pixel is labelled, so there is nothing to score")
    return GroundTruth(labels, name, how, counting, other)


def counting_scores(pred: np.ndarray, truth: GroundTruth, num_classes: int) -> dict[Counting, Score]:
    """Scores of a label map (H, W) by every counting that the file allows, the used one first.

    Empty for a file of colours. Errors as for `score`.
    """
    if truth.counting is None:
        return {}
    other: Counting = "stored" if truth.counting == "from_one" else "from_one"
    found = {truth.counting: truth.labels, other: truth.other}
    return {
        counting: score(pred, labels, num_classes) for counting, labels in found.items() if labels is not None
    }


def better_counting(scores: Mapping[Counting, Score]) -> Counting | None:
    """The other counting of `counting_scores` if it agrees much better than the used one; else None.

    A file that is counted the wrong way shifts every class by one, so nearly nothing agrees.
    """
    if len(scores) < 2:
        return None
    (_, used), (counting, other) = scores.items()
    return counting if other.pixel_accuracy - used.pixel_accuracy >= MUCH_BETTER else None


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


def _counted(
    stored: np.ndarray, num_classes: int, numbering: Numbering, usual: Counting, name: str
) -> tuple[np.ndarray, Counting, np.ndarray | None]:
    """Labels, the counting that was used, and the labels by the other one if the file allows it."""
    wanted: Counting = usual if numbering == "auto" else numbering
    other: Counting = "stored" if wanted == "from_one" else "from_one"
    found: dict[Counting, np.ndarray] = {}
    problems: dict[Counting, InputError] = {}
    for counting in (wanted, other):
        try:
            found[counting] = _from_numbers(stored, num_classes, counting, name)
        except InputError as error:
            problems[counting] = error
    if wanted not in found and not (numbering == "auto" and found):
        raise problems[wanted]
    used = wanted if wanted in found else other
    rest = found.get(other if used == wanted else wanted)
    return found[used], used, None if rest is None or (rest == IGNORE_INDEX).all() else rest


def _from_numbers(stored: np.ndarray, num_classes: int, counting: Counting, name: str) -> np.ndarray:
    offset = 1 if counting == "from_one" else 0
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
