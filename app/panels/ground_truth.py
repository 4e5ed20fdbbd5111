"""The truth tab: the heads against a label picture, and where fusion was better or worse than one head."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from app.api.serialize import fusion_effects
from app.html.images import display_size, figure_tag, image_tag
from app.html.legends import legend_html
from app.html.templates import render
from app.html.zip_links import IGNORED, bundle_link, truth_files
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
from ktb.visualize import Color

EMPTY = """<div class="ktb-empty"><b>No result yet</b>
<span>Run a pair; its label picture, if you have one, is compared with the masks here.</span></div>"""
NO_TRUTH = """<div class="ktb-empty"><b>No label picture yet</b>
<span>Upload the true classes of this RGB image: a PNG of class numbers, or one painted in the checkpoint's
colours.</span></div>"""
ERRORS: tuple[tuple[Color, str, str], ...] = (
    ((228, 231, 236), "Right", "the fused head says the true class"),
    ((200, 60, 20), "Wrong", "it says another class"),
)
EFFECTS: tuple[tuple[Color, str, str], ...] = (
    ((228, 231, 236), "Both right", "the fused head and this head"),
    ((0, 158, 115), "Helped", "the fused head is right, this head is wrong"),
    ((200, 60, 20), "Hurt", "the fused head is wrong, this head is right"),
    ((92, 95, 106), "Both wrong", "perhaps in different ways"),
)
NUMBERING_NAMES: dict[Counting, str] = {
    "stored": "0 is the first class",
    "from_one": "1 is the first class, 0 no label",
}
"""Names of the countings in the tab's choice."""
ERROR_COLORS, EFFECT_COLORS = ([color for color, _, _ in entries] for entries in (ERRORS, EFFECTS))


def truth_panel(result: Result, truth: GroundTruth) -> Markup:
    """Scores of the three heads, the fused head's errors, and what fusion changed against either head."""
    prediction, labels = result.prediction, result.prediction.labels
    count, name = len(prediction.classes), prediction.model
    scores = {branch: score(labels[branch], truth.labels, count) for branch in BRANCHES}
    errors = error_map(labels["fused"], truth.labels)
    figures = [
        _labels_figure(truth.labels, result, "true classes", "Ground truth"),
        _labels_figure(labels["fused"], result, "fused mask", "Prediction: fused mask"),
        _figure(errors, ERRORS, "errors of the fused head", "Errors of the fused head", name),
    ]
    effects, effect_figures = [], []
    for branch, effect in fusion_effects(prediction, truth).items():
        shares = scored_shares(effect, len(EFFECTS))
        title = f"Fused against the {HEADS[branch]}"
        alt = f"where fusion helped or hurt against the {branch} head"
        effect_figures.append(_figure(effect, EFFECTS, alt, title, name))
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
        figures=figures,
        effect_figures=effect_figures,
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


def _labels_figure(labels: np.ndarray, result: Result, alt: str, title: str) -> dict[str, Markup]:
    """Classes in their colours, unlabelled pixels grey; the table of classes is their legend."""
    palette, shown = result.prediction.palette, display_size(labels, smooth=False)
    index = np.where(shown == IGNORE_INDEX, len(palette), shown).astype(np.uint8)
    picture = image_tag(index, alt, result.prediction.model, "ktb-view", [*palette, IGNORED])
    return {"picture": figure_tag(picture, title, ""), "legend": Markup()}


def _figure(
    kinds: np.ndarray, entries: tuple[tuple[Color, str, str], ...], alt: str, title: str, checkpoint: str
) -> dict[str, Markup]:
    colors = [color for color, _, _ in entries]
    shown = display_size(kinds, smooth=False)
    index = np.where(shown == IGNORE_INDEX, len(colors), shown).astype(np.uint8)
    figure = figure_tag(image_tag(index, alt, checkpoint, "ktb-view", [*colors, IGNORED]), title, "")
    return {"picture": figure, "legend": legend_html(entries, scored_shares(kinds, len(entries)))}


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
