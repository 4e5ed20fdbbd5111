"""What each stream's own head says: the masks side by side, and where the heads differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from app.html.images import display_size, figure_tag, image_tag
from app.html.legends import kinds_legend, kinds_tag, mask_tag
from app.html.templates import render
from app.panels.x_input import warnings_box
from app.results import Result
from ktb.analysis.agreement import ClassChange, class_changes, disagreement_map
from ktb.analysis.metrics import confusion_matrix
from ktb.config import BRANCHES, HEADS
from ktb.utils.text import percent

TEXTS = {
    "fused": "from the fused features: the answer",
    "rgb": "from the RGB image's stream",
    "x": "from the X stream",
}

BLIND = "there was no X: this stream saw zero tokens and hints from the RGB image only"


def branches_panel(result: Result) -> Markup:
    """The three masks side by side over their inputs, with how far they agree with the fused one."""
    return result.drawn.get("branches", lambda: _branches_panel(result))


def _branches_panel(result: Result) -> Markup:
    prediction = result.shown
    fused = prediction.labels["fused"]
    figures = []
    for branch in BRANCHES:
        agreement = float(np.mean(prediction.labels[branch] == fused))
        note = TEXTS[branch] if branch == "fused" else f"{TEXTS[branch]}; {percent(agreement)} as fused"
        if branch == "x" and result.x_is_missing:
            note = BLIND
        figures.append(figure_tag(mask_tag(prediction, branch), HEADS[branch], note))
    photo = image_tag(display_size(result.rgb), "RGB image", css_class="ktb-view")
    figures.append(figure_tag(photo, "RGB image", ""))
    if not result.x_is_missing:
        x_alt = f"x input: {result.x_name}"
        x_image = image_tag(display_size(prediction.x.preview), x_alt, prediction.model, "ktb-view")
        figures.append(figure_tag(x_image, f"X: {result.x_name}", prediction.x.summary))
    kinds = disagreement_map(prediction.labels)
    differ = kinds_tag(kinds, "where the heads differ", prediction.model)
    figures.append(figure_tag(differ, "Where the heads differ", "the colours are explained below"))
    return render(
        "branches",
        warnings=warnings_box(prediction.warnings),
        figures=figures,
        legend=kinds_legend(kinds),
    )


def differences_panel(result: Result) -> Markup:
    """How much of the image the heads agree on, and the classes that they call differently."""
    prediction = result.shown
    labels, count = prediction.labels, len(prediction.classes)
    heads = []
    for branch in ("rgb", "x"):
        changes = class_changes(confusion_matrix(labels[branch], labels["fused"], count), most=6)
        heads.append(
            {
                "head": HEADS[branch],
                "blind": BLIND if branch == "x" and result.x_is_missing else "",
                "changes": [_change(result, change) for change in changes],
            }
        )
    return render("differences", legend=kinds_legend(disagreement_map(labels)), heads=heads)


def _change(result: Result, change: ClassChange) -> dict[str, Any]:
    prediction = result.prediction
    before, after = (
        {"name": prediction.classes[index], "color": prediction.palette[index]}
        for index in (change.source, change.target)
    )
    return {"share": change.share, "before": before, "after": after}
