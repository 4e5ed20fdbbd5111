"""Serialize predictions and arrays as plain values for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from app.api.delivery import Files
from ktb.analysis.agreement import class_changes, disagreement_map, kind_shares
from ktb.analysis.comparison import Difference, RegionEffect, SensorNeed, difference
from ktb.analysis.describe import describe_region
from ktb.analysis.ground_truth import (
    GroundTruth,
    better_counting,
    counting_scores,
    fusion_effect,
    score,
    scored_shares,
)
from ktb.analysis.metrics import class_iou, confusion_matrix
from ktb.config import BRANCHES
from ktb.inference.prediction import Branch, Prediction
from ktb.labels import IGNORE_INDEX
from ktb.outputs.files import png_bytes

AGREEMENT = ("all_agree", "only_rgb", "only_x", "against_fused", "all_differ")
"""Names of the values of `ktb.analysis.agreement.disagreement_map`."""
EFFECTS = ("both_right", "helped", "hurt", "both_wrong")
"""Names of the values of `ktb.analysis.ground_truth.fusion_effect`."""
BRIEF_ROWS = 25
"""Classes of a branch that a brief answer lists."""


def compared(before: Prediction, after: Prediction, files: Files) -> dict[str, Any]:
    """Both predictions and their difference."""
    return {
        "before": serialized(before, files, "before"),
        "after": serialized(after, files, "after"),
        "difference": difference_facts(difference(before, after)),
    }


def difference_facts(found: Difference) -> dict[str, Any]:
    """The difference of two predictions, without the maps."""
    return {
        "changed_share": plain(found.changed_share),
        "changes": [asdict(change) for change in found.changes],
        "classes": [asdict(pair) for pair in found.classes],
        "confidence_change": plain(found.confidence_change),
        "agreement": plain(dict(found.agreement)),
    }


def region_facts(found: RegionEffect) -> dict[str, Any]:
    """What the ablation inside a region changes, without the map."""
    return {
        "sensor": found.sensor,
        "inside": found.inside,
        "outside": plain(found.outside),
        "changes": [asdict(change) for change in found.changes],
        "changes_outside": [asdict(change) for change in found.changes_outside],
        "words": describe_region(found),
    }


def sensor_need_facts(found: SensorNeed) -> dict[str, Any]:
    """The shares of pixels that need each sensor, without the map."""
    return {
        "shares": dict(found.shares),
        "stays_without_x": found.stays_without_x,
        "stays_without_rgb": found.stays_without_rgb,
    }


def serialized(prediction: Prediction, files: Files, prefix: str) -> dict[str, Any]:
    """The class tables, and the masks as indexed PNG under `labels`.

    prefix: distinguishes the names of the files from those of the answer's other predictions.
    """

    def labels() -> dict[str, bytes]:
        return {f"{prefix}_{branch}.png": data for branch, data in label_files(prediction).items()}

    return prediction.summary() | {"labels": dict(zip(BRANCHES, files.all(labels).values()))}


def brief(summary: Mapping[str, Any]) -> dict[str, Any]:
    """A prediction's summary in a few kilobytes: the largest classes, numbers to four places."""
    tables = {
        branch: [
            {"name": row["name"], "share": round(row["share"], 4), "confidence": round(row["confidence"], 4)}
            for row in rows[:BRIEF_ROWS]
        ]
        for branch, rows in summary["branches"].items()
    }
    return {**summary, "branches": tables}


def label_files(prediction: Prediction) -> dict[Branch, bytes]:
    """Per branch an indexed PNG whose pixel values are class indices."""
    model, palette, origin = prediction.model, prediction.palette, prediction.x.origin
    return {branch: png_bytes(prediction.labels[branch], model, palette, origin) for branch in BRANCHES}


def truth_facts(prediction: Prediction, truth: GroundTruth) -> dict[str, Any]:
    """The heads' scores, and the effect of fusion against either head, as shares of the labelled pixels."""
    classes, labels = prediction.classes, prediction.labels
    scores = {branch: score(labels[branch], truth.labels, len(classes)) for branch in BRANCHES}
    countings = counting_scores(labels["fused"], truth, len(classes))
    return plain(
        {
            "model": prediction.model,
            "truth": truth.name,
            "read": truth.summary,
            "labelled_share": float(np.mean(truth.labels != IGNORE_INDEX)),
            "scores": {
                branch: {
                    "mean_iou": found.mean_iou,
                    "pixel_accuracy": found.pixel_accuracy,
                    "iou": dict(zip(classes, found.iou)),
                }
                for branch, found in scores.items()
            },
            "countings": {
                counting: {"mean_iou": found.mean_iou, "pixel_accuracy": found.pixel_accuracy}
                for counting, found in countings.items()
            },
            "better_counting": better_counting(countings),
            "fusion": {
                branch: dict(zip(EFFECTS, scored_shares(effect, len(EFFECTS))))
                for branch, effect in fusion_effects(prediction, truth).items()
            },
        }
    )


def fusion_effects(prediction: Prediction, truth: GroundTruth) -> dict[Branch, np.ndarray]:
    """`ktb.analysis.ground_truth.fusion_effect` against the rgb and the x head, each (H, W) uint8.

    Without X the x head is left out.
    """
    labels, has_x = prediction.labels, prediction.x.origin != "missing"
    heads: tuple[Branch, ...] = ("rgb", "x") if has_x else ("rgb",)
    return {head: fusion_effect(labels["fused"], labels[head], truth.labels) for head in heads}


def agreement_facts(prediction: Prediction) -> dict[str, Any]:
    """The agreement of the three heads of one run; IoU is with the fused head."""
    labels, classes = prediction.labels, prediction.classes
    heads = {}
    for branch in ("rgb", "x"):
        joint = confusion_matrix(labels["fused"], labels[branch], len(classes))
        heads[branch] = {
            "same_share": float(np.mean(labels[branch] == labels["fused"])),
            "iou": dict(zip(classes, class_iou(joint))),
            "changes": [
                {"fused": classes[one.source], branch: classes[one.target], "share": one.share}
                for one in class_changes(joint)
            ],
        }
    shares = kind_shares(disagreement_map(labels))
    return plain({"shares": dict(zip(AGREEMENT, shares)), "heads": heads})


def plain(value: Any) -> Any:
    """Arrays as lists and numbers as JSON numbers; non-finite values become None."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def check_given(*numbers: int | None) -> None:
    """ValueError if a number is missing."""
    if None in numbers:
        raise ValueError("give row, column and level as integers.")
