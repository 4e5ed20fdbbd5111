"""The what-if tab: what a change of the inputs does to the fused mask, in words, tables and layers."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from app.html.templates import render
from app.html.zip_links import bundle_link, difference_files
from app.panels.x_input import warnings_box
from app.results import Result
from ktb.analysis.comparison import Difference
from ktb.analysis.counterfactual import Perturbation
from ktb.config import BRANCHES, HEADS
from ktb.inference.prediction import Prediction
from ktb.outputs.layers import NOT_DRAWN, Layer
from ktb.utils.text import percent

GROUP = "What if"
MAX_CHANGES = 6


def what_if_panel(result: Result, change: Perturbation, after: Prediction, found: Difference) -> Markup:
    """What changed, in words and numbers, with everything as one download."""
    before, words = result.prediction, "; ".join(change.words)
    said = [text for text in after.warnings if not text.startswith("What if:")]  # the title says it
    return render(
        "what_if",
        shown=words,
        warnings=warnings_box(said),
        words=describe(found),
        changes=found.changes[:MAX_CHANGES],
        agreement=[{"head": HEADS[branch], "share": found.agreement[branch]} for branch in BRANCHES],
        download=bundle_link(f"{before.model}-what-if", difference_files(before, after, found, change.words)),
    )


def what_if_layers(change: Perturbation, after: Prediction, found: Difference) -> list[Layer]:
    """The changed run's fused mask, and its changed pixels in the colour of their new class."""
    words, labels = "; ".join(change.words), after.labels["fused"]
    note = f"What if: {words}. {percent(found.changed_share)} of the pixels change their class."
    pixels = np.where(found.changed, labels, NOT_DRAWN)
    return [
        Layer("what_if", f"Changed: {words}", GROUP, "labels", labels, note),
        Layer("what_if_pixels", "Changed pixels, in their new class", GROUP, "labels", pixels, note),
    ]


def describe(found: Difference) -> str:
    """In words: how much changed, what most, and what became of the confidence."""
    if not found.changed.any():
        said = "No pixel of the fused mask changed its class."
    else:
        first = found.changes[0]
        said = (
            f"{percent(found.changed_share)} of the fused mask changed its class; most of all "
            f"{percent(first.share)} of the image turned from {first.before} to {first.after}."
        )
    by = found.confidence_change
    if abs(by) < 0.0005:
        return f"{said} The mean confidence stayed the same."
    return f"{said} The mean confidence {'rose' if by > 0 else 'fell'} by {abs(by):.3f}."
