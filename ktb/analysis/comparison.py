"""Comparison of two predictions of one RGB image, and the sensor that a prediction depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ktb.analysis.metrics import class_iou, confusion_matrix
from ktb.config import BRANCHES
from ktb.inference.prediction import Branch, Drop, Prediction

Verdict = Literal["either", "rgb", "x", "both"]
"""Sensors that a pixel's class needs: either one, only this one, or both together."""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class ChangedClass:
    """Fraction (0..1) of all pixels that changed from one class to another."""

    before: str
    after: str
    share: float


@dataclass(frozen=True)
class ClassPair:
    """A class in two predictions: its fraction (0..1) of the pixels in each, and the IoU of its areas."""

    name: str
    color: tuple[int, int, int]
    share_a: float
    share_b: float
    iou: float


@dataclass(frozen=True, eq=False)
class Difference:
    """Difference of a prediction b from a, in the fused labels unless stated otherwise.

    Attributes:
        changed: (H, W) bool.
        comparable: (H, W) bool; False where one predicts a class that the other model lacks.
        changed_share: fraction of the comparable pixels, 0..1; NaN if there are none.
        changes: changes from class to class, largest first.
        classes: common classes present in either prediction, largest fraction first.
        confidence_change: mean confidence of b minus that of a.
        agreement: per branch, fraction of the comparable pixels with the same class; NaN as above.
    """

    changed: np.ndarray
    comparable: np.ndarray
    changed_share: float
    changes: tuple[ChangedClass, ...]
    classes: tuple[ClassPair, ...]
    confidence_change: float
    agreement: Mapping[Branch, float]


@dataclass(frozen=True, eq=False)
class RegionEffect:
    """Effect of an ablation inside a region on the fused class of each pixel.

    Attributes:
        sensor: the ablated one.
        changed: (H, W) bool, where the fused class is another one.
        inside, outside: fraction of the pixels in and outside the region that change, 0..1; NaN outside a
            region of the whole image.
        changes: changes from class to class inside, largest first, as fractions of the region.
        changes_outside: the same outside.
    """

    sensor: Drop
    changed: np.ndarray
    inside: float
    outside: float
    changes: tuple[ChangedClass, ...]
    changes_outside: tuple[ChangedClass, ...]


def region_effect(full: Prediction, without: Prediction, region: np.ndarray, sensor: Drop) -> RegionEffect:
    """Effect of ablating a sensor inside a region, from two runs of one model on one pair.

    Args:
        without: the prediction with the sensor ablated there.
        region: (H, W) bool, the region in pixels, such as from `ktb.inference.region.region_mask`.

    Raises:
        ValueError: the sizes differ.
    """
    before, after = full.labels["fused"], without.labels["fused"]
    if not before.shape == after.shape == region.shape:
        raise ValueError(
            f"the predictions are {before.shape} and {after.shape} and the region {region.shape} (height, "
            "width); give those of one RGB image"
        )
    changed, count = before != after, len(full.classes)
    inside, outside = (
        _changes(full, confusion_matrix(before[part], after[part], count + 1)) if part.any() else ()
        for part in (region, ~region)
    )
    shares = [float(changed[part].mean()) if part.any() else float("nan") for part in (region, ~region)]
    return RegionEffect(sensor, changed, *shares, inside, outside)


def shared_names(a: Prediction, b: Prediction) -> tuple[str, ...]:
    """Class names common to two predictions, in the order of a."""
    return tuple(dict.fromkeys(name for name in a.classes if name in b.classes))


def difference(a: Prediction, b: Prediction) -> Difference:
    """Compare two predictions of one RGB image; classes are matched by name if the class sets differ.

    Raises:
        ValueError: the sizes differ, or no class name is common.
    """
    if a.labels["fused"].shape != b.labels["fused"].shape:
        raise ValueError(
            f"the predictions are {a.labels['fused'].shape} and {b.labels['fused'].shape} (height, width); "
            "compare two of the same RGB image"
        )
    of_a, of_b = _joint_indices(a, b)
    count = len(a.classes)
    agreement, joint = {}, np.zeros((count, count), np.int64)
    for branch in BRANCHES:
        label_a, label_b = of_a[a.labels[branch]], of_b[b.labels[branch]]
        comparable = (label_a < count) & (label_b < count)
        same = label_a == label_b
        total = int(comparable.sum())
        agreement[branch] = float((same & comparable).sum() / total) if total else float("nan")
        if branch == "fused":
            joint = confusion_matrix(label_a, label_b, count + 1)
            fused_comparable, changed = comparable, comparable & ~same
    return Difference(
        changed=changed,
        comparable=fused_comparable,
        changed_share=1 - agreement["fused"],
        changes=_changes(a, joint),
        classes=_class_pairs(a, joint),
        confidence_change=float(b.confidences["fused"].mean() - a.confidences["fused"].mean()),
        agreement=agreement,
    )


def _joint_indices(a: Prediction, b: Prediction) -> tuple[np.ndarray, np.ndarray]:
    """Class indices of both in a's order, (K_a,) and (K_b,) int64; K_a for classes not in common."""
    if a.classes == b.classes:
        return np.arange(len(a.classes)), np.arange(len(b.classes))
    shared = shared_names(a, b)
    if not shared:
        raise ValueError(f"{a.model} and {b.model} have no class name in common: nothing can be compared")
    index = {name: a.classes.index(name) for name in shared}
    of_a, of_b = (np.array([index.get(name, len(a.classes)) for name in one.classes]) for one in (a, b))
    return of_a, of_b


def _changes(a: Prediction, joint: np.ndarray) -> tuple[ChangedClass, ...]:
    off = joint[:-1, :-1].copy()
    np.fill_diagonal(off, 0)
    order = sorted(np.argwhere(off).tolist(), key=lambda at: (-off[tuple(at)], at))
    return tuple(ChangedClass(a.classes[i], a.classes[j], float(off[i, j] / joint.sum())) for i, j in order)


def _class_pairs(a: Prediction, joint: np.ndarray) -> tuple[ClassPair, ...]:
    in_a, in_b, iou = joint.sum(axis=1)[:-1], joint.sum(axis=0)[:-1], class_iou(joint)
    pixels, found = joint.sum(), np.flatnonzero(in_a + in_b)
    return tuple(
        ClassPair(
            name=a.classes[i],
            color=a.palette[i],
            share_a=float(in_a[i] / pixels),
            share_b=float(in_b[i] / pixels),
            iou=float(iou[i]),
        )
        for i in sorted(found, key=lambda i: (-max(in_a[i], in_b[i]), i))
    )


@dataclass(frozen=True, eq=False)
class SensorNeed:
    """Sensor need per pixel: whether the fused class is kept when a sensor is ablated.

    Attributes:
        verdict: (H, W) uint8, an index into VERDICTS.
        shares: verdict → fraction of the pixels; they sum to 1.
        stays_without_x, stays_without_rgb: fraction of the pixels that keep their fused class.
    """

    verdict: np.ndarray
    shares: Mapping[Verdict, float]
    stays_without_x: float
    stays_without_rgb: float


def sensor_need(full: Prediction, without_x: Prediction, without_rgb: Prediction) -> SensorNeed:
    """Sensor need of each pixel's fused class, from three runs of one model on one pair."""
    rgb_enough = full.labels["fused"] == without_x.labels["fused"]
    x_enough = full.labels["fused"] == without_rgb.labels["fused"]
    verdict = np.select([rgb_enough & x_enough, rgb_enough, x_enough], [0, 1, 2], 3).astype(np.uint8)
    counts = np.bincount(verdict.ravel(), minlength=len(VERDICTS)) / verdict.size
    return SensorNeed(
        verdict, dict(zip(VERDICTS, counts.tolist())), float(rgb_enough.mean()), float(x_enough.mean())
    )
