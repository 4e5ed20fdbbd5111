"""The result tab: pictures to look at and to compare, the classes beside them, and the footer."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from app.glossary import explain, term
from app.html.images import display_size, image_tag, save_button
from app.html.legends import (
    kinds_tag,
    mask_tag,
    scalar_tag,
    scale_html,
)
from app.html.swatch import swatch
from app.panels.maps import scale_of
from app.panels.x_input import warnings_box
from app.results import Result
from ktb.analysis.agreement import disagreement_map, entropy_map
from ktb.analysis.metrics import class_iou, confusion_matrix
from ktb.inference.prediction import ClassRow
from ktb.outputs.files import result_zip
from ktb.utils.text import percent

BALANCE_LEVEL = 2
NOTHING = "none"
PICTURES: Mapping[str, str] = {
    "fused": "Fused mask",
    "photo": "RGB image",
    "x": "X",
    "rgb_head": "RGB head's mask",
    "x_head": "X head's mask",
    "differ": "Where the heads differ",
    "confidence": "Confidence",
    "entropy": "Entropy",
    "balance": f"Balance (level {BALANCE_LEVEL})",
}
MASKS = {"fused": "fused", "rgb_head": "rgb", "x_head": "x"}
"""Pictures that are masks, and the branch each shows."""
WORDS = {
    "rgb_head": "segmentation head",
    "x_head": "segmentation head",
    "differ": "segmentation head",
    "confidence": "confidence",
    "entropy": "class entropy",
    "balance": "balance",
}
"""Pictures whose title is a word of the glossary."""
NOTED = {word: word for word in ("attention", "zero tokens")}


@dataclass(frozen=True)
class _Layer:
    """An <img> over the RGB image ("" for the RGB image itself), and what is said of it."""

    image: str
    note: str
    legend: str = ""


def offered_pictures(result: Result) -> list[str]:
    """Keys of PICTURES that this result has."""
    lacking = set()
    if result.x_is_missing:
        lacking.add("x")
    if result.inspection is None:  # fused by a plain mean: there is no balance
        lacking.add("balance")
    return [key for key in PICTURES if key not in lacking]


def result_panel(result: Result, left: str = "fused", right: str = NOTHING) -> str:
    """One picture over the RGB image, or two with a border that can be moved.

    Args:
        left, right: keys of PICTURES that `offered_pictures` has; right may be NOTHING.
    """
    prediction = result.prediction
    photo = result.drawn.get("photo", lambda: _photo(result))
    numbers = result.drawn.get("numbers", lambda: _numbers(result))
    compares = right != NOTHING
    shown = [("left", left), ("right", right)] if compares else [("whole", left)]
    layers, captions = "", ""
    for side, key in shown:
        layer = result.drawn.get(("layer", key), lambda key=key: _layer(result, key))
        layers += f'<div class="ktb-side ktb-{side}">{layer.image}</div>' if layer.image else ""
        before = f"{side.capitalize()}: " if compares else ""
        captions += (
            f"<div><b>{before}{_explained(result, key)}</b> <span>{explain(layer.note, NOTED)}</span>"
            f"{layer.legend}</div>"
        )
    handle = (
        '<div class="ktb-split" role="slider" tabindex="0" aria-label="Border between the two pictures" '
        'aria-valuemin="0" aria-valuemax="100" aria-valuenow="50"><i aria-hidden="true">↔</i></div>'
        if compares
        else ""
    )
    return (
        f'{warnings_box(prediction.x.warnings)}<div class="ktb-layers">{photo}{layers}{numbers}{handle}'
        f'</div><div class="ktb-captions{" ktb-pair" if compares else ""}">{captions}</div>'
        f'<p class="ktb-note ktb-model">Checkpoint {html.escape(prediction.model)}'
        f"{save_button(' and '.join(_title(result, key) for _, key in shown))}</p>"
    )


def _photo(result: Result) -> str:
    return image_tag(display_size(result.rgb), "RGB image", css_class="ktb-photo ktb-view")


def _numbers(result: Result) -> str:
    """The classes as grey levels; the legend's script reads them from the red channel."""
    labels = display_size(result.prediction.labels["fused"], smooth=False)
    grey = [(level,) * 3 for level in range(256)]
    return image_tag(labels, "", result.prediction.model, "ktb-numbers", grey)


def _title(result: Result, key: str) -> str:
    return f"X: {result.x_name}" if key == "x" else PICTURES[key]


def _explained(result: Result, key: str) -> str:
    """The title as HTML."""
    title = _title(result, key)
    return term(WORDS[key], title) if key in WORDS else html.escape(title)


def _layer(result: Result, key: str) -> _Layer:
    prediction, name = result.prediction, result.prediction.model
    labels = prediction.labels
    if key == "photo":
        return _Layer("", "as it was uploaded")
    if key == "x":
        alt = f"x input: {result.x_name}"
        shown = image_tag(display_size(prediction.x.preview), alt, name, "ktb-view")
        return _Layer(shown, prediction.x.summary)
    if key in MASKS:
        branch = MASKS[key]
        note = "the answer" if branch == "fused" else _same_as_fused(labels[branch], labels["fused"])
        if branch == "x" and result.x_is_missing:
            note = "there was no X: this head saw zero tokens and hints from the RGB image only"
        return _Layer(mask_tag(prediction, branch, "ktb-mask ktb-view"), note)
    if key == "differ":
        kinds = disagreement_map(labels)
        shown = kinds_tag(kinds, "where the heads differ", name, "ktb-mask ktb-view")
        return _Layer(shown, "the colours are explained below")
    if key == "confidence":
        shown = scalar_tag(prediction.confidences["fused"], (0, 1), "sequential", "confidence", name)
        note = "probability that the network gave the fused class; it is not calibrated"
        return _Layer(shown, note, scale_html("sequential", "0", "1 certain"))
    if key == "entropy":
        shown = scalar_tag(entropy_map(prediction), (0, 1), "sequential", "entropy", name)
        note = "of the fused class probabilities; 1 = all classes equally likely"
        return _Layer(shown, note, scale_html("sequential", "0 certain", "1 undecided"))
    if key == "balance":
        return _balance(result)
    raise ValueError(f"picture {key!r}: choose one of {', '.join(PICTURES)}")


def _same_as_fused(label: np.ndarray, fused: np.ndarray) -> str:
    return f"{percent(float(np.mean(label == fused)))} as fused"


def _balance(result: Result) -> _Layer:
    """In the scale of the fusion tab, which is one for all levels."""
    prediction, view = result.prediction, result.inspection.maps(BALANCE_LEVEL)
    scale = scale_of("balance", result.inspection.all_maps())
    ends = scale.low, scale.high
    labels = prediction.labels["fused"]
    shown = scalar_tag(view.balance, ends, scale.cmap, "balance map", prediction.model, labels=labels)
    note = (
        "attention is uniform at this level: the map carries no information"
        if view.is_uniform
        else ("share of the sparse attention that goes to X; the Fusion tab says what it is worth")
    )
    words = f"{scale.low:.2f} RGB image", f"X {scale.high:.2f}"
    return _Layer(shown, note, scale_html(scale.cmap, *words))


def classes_panel(result: Result) -> str:
    """The legend and table of the fused mask's classes; a row's button marks its class in the picture."""
    prediction = result.prediction
    labels, count = prediction.labels, len(prediction.classes)
    counts = [confusion_matrix(labels[branch], labels["fused"], count) for branch in ("rgb", "x")]
    overlaps = [class_iou(one) for one in counts]
    table = prediction.class_table("fused")
    rows = "".join(_row(row, [float(iou[row.index]) for iou in overlaps]) for row in table)
    means = "".join(f'<td class="num">{np.nanmean(iou):.2f}</td>' for iou in overlaps)
    return f"""<div class="ktb-legend"><h4>Classes of the fused mask</h4>
<table><thead><tr><th></th><th></th><th></th>
<th class="num" colspan="2">{term("IoU", "IoU with fused")}</th></tr>
<tr><th>class</th><th class="num">share</th><th class="num">{term("confidence", "conf.")}</th>
<th class="num">RGB</th><th class="num">X</th></tr>
</thead><tbody>{rows}</tbody><tfoot><tr><td>mean over classes</td><td></td><td></td>{means}</tr></tfoot>
</table><p class="ktb-note">Point at a class to see where it is; click to keep it marked. IoU: how far
the region of the RGB or X {term("segmentation head", "head")} and the fused one overlap, 1 = the same. That
is {term("agreement")}, not accuracy.</p></div>"""


def _row(row: ClassRow, overlaps: list[float]) -> str:
    cells = "".join(f'<td class="num">{value:.2f}</td>' for value in overlaps)
    return (
        f'<tr><td><button type="button" class="ktb-class" data-class="{row.index}" aria-pressed="false">'
        f"{swatch(row.color, str(row.index))}<span>{html.escape(row.name)}</span></button></td>"
        f'<td class="num">{percent(row.share)}</td><td class="num">{row.confidence:.2f}</td>{cells}</tr>'
    )


def footer(result: Result) -> str:
    """Which checkpoint, where, how fast, at which sizes; and everything as one download."""
    prediction = result.prediction
    height, width = result.rgb.shape[:2]
    parts = [
        f"{term('checkpoint')} <b>{html.escape(prediction.model)}</b>",
        f"{prediction.seconds:.2f} s on {html.escape(prediction.device)}, "
        f"{html.escape(prediction.runtime)} {html.escape(prediction.precision)}",
        f"RGB image {width}×{height}, network {prediction.network_hw[1]}×{prediction.network_hw[0]}",
        f"X: {html.escape(prediction.x.summary)}",
    ]
    archive = base64.b64encode(result_zip(result.rgb, result.prediction)).decode()
    name = html.escape(f"{prediction.model}-masks.zip")
    return (
        f'<div class="ktb-footer"><span>{"</span><span>".join(parts)}</span>'
        f'<a class="ktb-download" download="{name}" href="data:application/zip;base64,{archive}">'
        f"Download masks (ZIP)</a></div>"
    )
