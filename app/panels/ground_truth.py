"""Ground truth: the heads against a label image, and where fusion was better or worse than one head."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from app.api.serialize import fusion_effects
from app.html.templates import render
from app.html.zip_links import bundle_link, truth_files
from app.panels.x_input import warnings_box
from app.results import Result
from ktb.analysis.ground_truth import (
    COUNTINGS,
    Counting,
    GroundTruth,
    Score,
    better_counting,
    counting_scores,
    error_map,
    score,
    scored_shares,
)
from ktb.config import BRANCHES, HEADS
from ktb.labels import IGNORE_INDEX
from ktb.outputs.layers import Entry, Layer

NO_TRUTH = """<p class="ktb-note">Upload the true classes of the RGB image: a PNG of class numbers, or one
painted in the checkpoint's colours.</p>"""
GROUP = "Ground truth"
ERRORS = (
    Entry((228, 231, 236), "Right", "the fused head says the true class"),
    Entry((200, 60, 20), "Wrong", "it says another class"),
)
EFFECTS = (
    Entry((228, 231, 236), "Both right", "the fused head and this head"),
    Entry((0, 158, 115), "Helped", "the fused head is right, this head is wrong"),
    Entry((200, 60, 20), "Hurt", "the fused head is wrong, this head is right"),
    Entry((92, 95, 106), "Both wrong", "perhaps in different ways"),
)
NUMBERING_NAMES: dict[Counting, str] = {
    "stored": "0 is the first class",
    "from_one": "1 is the first class, 0 no label",
}
"""Names of the countings in the tab's choice."""
ERROR_COLORS, EFFECT_COLORS = ([entry.color for entry in entries] for entries in (ERRORS, EFFECTS))


def truth_panel(result: Result, truth: GroundTruth) -> Markup:
    """Scores of the three heads, and what fusion changed against either head."""
    prediction, labels = result.prediction, result.prediction.labels
    count, name = len(prediction.classes), prediction.model
    scores = {branch: score(labels[branch], truth.labels, count) for branch in BRANCHES}
    effects = []
    for branch, effect in fusion_effects(prediction, truth).items():
        shares = scored_shares(effect, len(EFFECTS))
        effects.append({"head": HEADS[branch], "helped": shares[1], "hurt": shares[2]})
    countings = counting_scores(labels["fused"], truth, count)
    files = truth_files(result, truth, ERROR_COLORS, EFFECT_COLORS)
    return render(
        "ground_truth",
        warnings=warnings_box(prediction.warnings),
        name=truth.name,
        summary=truth.summary,
        labelled=float(np.mean(truth.labels != IGNORE_INDEX)),
        checkpoint=name,
        x_is_missing=result.x_is_missing,
        effects=effects,
        countings=[
            {"words": COUNTINGS[counting], "mean_iou": found.mean_iou, "pixel_accuracy": found.pixel_accuracy}
            for counting, found in countings.items()
        ],
        better=(better := better_counting(countings)) and NUMBERING_NAMES[better],
        heads=[HEADS[branch] for branch in BRANCHES],
        means=_cells([scores[branch].mean_iou for branch in BRANCHES]),
        accuracies=_cells([scores[branch].pixel_accuracy for branch in BRANCHES]),
        rows=_rows(result, truth, scores),
        download=bundle_link(f"{name}-truth", files),
    )


def truth_layers(result: Result, truth: GroundTruth) -> list[Layer]:
    """The true classes, the fused head's errors, and where fusion helped or hurt against either head."""
    prediction = result.prediction
    errors = error_map(prediction.labels["fused"], truth.labels)
    layers = [
        Layer("truth", "True classes", GROUP, "labels", truth.labels),
        Layer("errors", "Errors of the fused head", GROUP, "categories", errors, entries=ERRORS),
    ]
    for branch, effect in fusion_effects(prediction, truth).items():
        title = f"Fused against the {HEADS[branch]}"
        layers.append(Layer(f"effect_{branch}", title, GROUP, "categories", effect, entries=EFFECTS))
    return layers


def _rows(result: Result, truth: GroundTruth, scores: dict[str, Score]) -> list[dict[str, Any]]:
    """The classes that a head or the truth has, the most frequent true one first."""
    prediction = result.prediction
    counts = np.bincount(truth.labels.ravel(), minlength=IGNORE_INDEX + 1)[:IGNORE_INDEX]
    total = max(1, int(counts.sum()))
    present = np.flatnonzero(~np.all([np.isnan(found.iou) for found in scores.values()], axis=0))
    return [
        {
            "color": prediction.palette[index],
            "number": str(index),
            "name": prediction.classes[index],
            "share": counts[index] / total,
            "cells": _cells([scores[branch].iou[index] for branch in BRANCHES]),
        }
        for index in sorted(present, key=lambda i: (-counts[i], i))
    ]


def _cells(values: list[float]) -> list[dict[str, Any]]:
    """Values 0..1 as numbers of per cent; the best ones are marked."""
    best = max((value for value in values if value > 0), default=None)
    return [
        {"text": "–" if np.isnan(value) else f"{100 * value:.1f}", "is_best": value == best}
        for value in values
    ]
