"""What each stream's own head says: the masks side by side, and where the heads differ."""

from __future__ import annotations

import html

import numpy as np

from app.glossary import explain, term
from app.html.images import display_size, figure_tag, image_tag
from app.html.legends import kinds_legend, kinds_tag, mask_tag
from app.html.swatch import swatch
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
NOTE = f"""<p class="ktb-note">The RGB and the X {term("segmentation head", "head")} see one stream only, but
the {term("prompts", "prompts (MAPA)")} pass hints from one stream to the other on the way: a head's mask is
not what the network would say without the other sensor.</p>"""
DIFFER_NOTE = """<p class="ktb-note">These are differences between three heads of one run, not causes: the
fused head is trained for itself and may differ from both. What a sensor really changes is in
<i>What if</i>.</p>"""


def branches_panel(result: Result) -> str:
    """The three masks side by side over their inputs, with how far they agree with the fused one."""
    return result.drawn.get("branches", lambda: _branches_panel(result))


def _branches_panel(result: Result) -> str:
    prediction = result.prediction
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
    said = warnings_box(prediction.x.warnings)
    return f'{said}<div class="ktb-grid ktb-three">{"".join(figures)}</div>{kinds_legend(kinds)}{NOTE}'


def differences_panel(result: Result) -> str:
    """How much of the image the heads agree on, and the classes that they call differently."""
    prediction = result.prediction
    labels, count = prediction.labels, len(prediction.classes)
    lists = []
    for branch in ("rgb", "x"):
        changes = class_changes(confusion_matrix(labels[branch], labels["fused"], count), most=6)
        rows = "".join(_change(result, change, HEADS[branch]) for change in changes)
        rows = rows or "<li>They differ on less than 0.1 % of the image for any pair of classes.</li>"
        blind = ""
        if branch == "x" and result.x_is_missing:
            blind = f'<p class="ktb-note">{explain(BLIND, {"zero tokens": "zero tokens"})}</p>'
        lists.append(f"<div><h5>{HEADS[branch]} → fused head</h5>{blind}<ol>{rows}</ol></div>")
    return (
        f'<div class="ktb-differ"><h4>Where the {term("segmentation head", "heads")} differ</h4>'
        f'{kinds_legend(disagreement_map(labels))}<div class="ktb-grid ktb-two">{"".join(lists)}</div>'
        f"{DIFFER_NOTE}</div>"
    )


def _change(result: Result, change: ClassChange, head: str) -> str:
    """ "4.1 % wall → window", with the words between them for screen readers."""
    prediction = result.prediction
    before, after = (html.escape(prediction.classes[index]) for index in (change.source, change.target))
    colors = [prediction.palette[index] for index in (change.source, change.target)]
    share = percent(change.share)
    first, second = (
        f'<span class="ktb-named">{swatch(color)}{name}</span>'
        for color, name in zip(colors, (before, after))
    )
    return (
        f'<li><em>{share}</em><span>{first} <span aria-hidden="true">→</span>'
        f'<span class="ktb-only-read"> for the {head}, but for the fused head </span> {second}</span></li>'
    )
