"""How two predictions of one RGB image differ, and which sensor one of them rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ktb.analysis.metrics import class_iou, confusion_matrix
from ktb.config import BRANCHES
from ktb.inference.prediction import Branch, Prediction

Verdict = Literal["either", "rgb", "x", "both"]
"""What a pixel's class needs: either sensor gives it, only this one does, or only the two together."""
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclass(frozen=True)
class ChangedClass:
    """A share (0..1) of all pixels went from one class to another."""

    before: str
    after: str
    share: float


@dataclass(frozen=True)
class ClassPair:
    """A class in two predictions: its share (0..1) of the pixels in each, and the IoU of its two areas."""

    name: str
    color: tuple[int, int, int]
    share_a: float
    share_b: float
    iou: float


@dataclass(frozen=True, eq=False)
class Difference:
    """How a prediction b differs from a, in the fused labels where nothing else is said.

    Attributes:
        changed: (H, W) bool.
        comparable: (H, W) bool; False where one says a class that the other does not have.
        changed_share: of the comparable pixels, 0..1; NaN if there are none.
        changes: from class to class, largest first.
        classes: every class that both know and at least one found, largest share in either first.
        confidence_change: mean confidence of b minus that of a.
        agreement: per branch, share of the comparable pixels with the same class; NaN as above.
    """

    changed: np.ndarray
    comparable: np.ndarray
    changed_share: float
    changes: tuple[ChangedClass, ...]
    classes: tuple[ClassPair, ...]
    confidence_change: float
    agreement: Mapping[Branch, float]


def shared_names(a: Prediction, b: Prediction) -> tuple[str, ...]:
    """The class names that two predictions have in common, in the order of a."""
    return tuple(dict.fromkeys(name for name in a.classes if name in b.classes))


def difference(a: Prediction, b: Prediction) -> Difference:
    """Compare two predictions of one RGB image: class by class, by name if their class sets differ.

    Raises:
        ValueError: they are of different sizes, or have no class name in common.
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
    """Both's classes as indices of a, (K_a,) and (K_b,) int64; K_a for a class that the other lacks."""
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
    """Which sensor decided: what of the fused answer stays when one is ablated.

    Attributes:
        verdict: (H, W) uint8, an index into VERDICTS.
        shares: verdict → share of the pixels, adding up to 1.
        stays_without_x, stays_without_rgb: share of the pixels that keep their fused class.
    """

    verdict: np.ndarray
    shares: Mapping[Verdict, float]
    stays_without_x: float
    stays_without_rgb: float


def sensor_need(full: Prediction, without_x: Prediction, without_rgb: Prediction) -> SensorNeed:
    """Which sensor each pixel's fused class needs, from three runs of one model on one pair."""
    rgb_enough = full.labels["fused"] == without_x.labels["fused"]
    x_enough = full.labels["fused"] == without_rgb.labels["fused"]
    verdict = np.select([rgb_enough & x_enough, rgb_enough, x_enough], [0, 1, 2], 3).astype(np.uint8)
    counts = np.bincount(verdict.ravel(), minlength=len(VERDICTS)) / verdict.size
    return SensorNeed(
        verdict, dict(zip(VERDICTS, counts.tolist())), float(rgb_enough.mean()), float(x_enough.mean())
    )
