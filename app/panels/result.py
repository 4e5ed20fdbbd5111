"""The result tab: pictures to look at and to compare, the classes beside them, and the footer."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from app.html.images import display_size, image_tag, save_button
from app.html.legends import (
    kinds_tag,
    mask_tag,
    scalar_tag,
    scale_html,
)
from app.html.templates import render
from app.panels.x_input import warnings_box
from app.results import Result
from ktb.analysis.agreement import disagreement_map, entropy_map
from ktb.analysis.color_range import map_scale
from ktb.analysis.metrics import class_iou, confusion_matrix
from ktb.outputs.files import result_zip
from ktb.utils.text import percent

BALANCE_LEVEL = 2
STORED = (
    "This is a stored result of the example: the same checkpoint and images, computed in advance. The run on "
    "this server follows and replaces it."
)
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

    image: Markup
    note: str
    legend: Markup | None = None


def offered_pictures(result: Result) -> list[str]:
    """Keys of PICTURES that this result has."""
    lacking = set()
    if result.x_is_missing:
        lacking |= {"x", "balance"}
    if result.inspection is None:  # fused by a plain mean: there is no balance
        lacking.add("balance")
    return [key for key in PICTURES if key not in lacking]


def result_panel(result: Result, left: str = "fused", right: str = NOTHING) -> Markup:
    """One picture over the RGB image, or two with a border that can be moved.

    Args:
        left, right: keys of PICTURES that `offered_pictures` has; right may be NOTHING.
    """
    prediction = result.prediction
    photo = result.drawn.get("photo", lambda: _photo(result))
    numbers = result.drawn.get("numbers", lambda: _numbers(result))
    compares = right != NOTHING
    shown = [("left", left), ("right", right)] if compares else [("whole", left)]
    layers = [
        {
            "side": side,
            "layer": result.drawn.get(("layer", key), lambda key=key: _layer(result, key)),
            "title": _title(result, key),
            "word": WORDS.get(key),
        }
        for side, key in shown
    ]
    return render(
        "result",
        warnings=warnings_box(prediction.warnings),
        photo=photo,
        ribbon=prediction.ribbon,
        numbers=numbers,
        shown=layers,
        compares=compares,
        noted=NOTED,
        checkpoint=prediction.model,
        save=save_button(" and ".join(_title(result, key) for _, key in shown)),
    )


def stored_panel(result: Result) -> Markup:
    """The fused mask of a stored result (`app.widgets.stored_results`), and what it is."""
    return Markup('{}<p class="ktb-note">{}</p>').format(result_panel(result), STORED)


def _photo(result: Result) -> Markup:
    return image_tag(display_size(result.rgb), "RGB image", css_class="ktb-photo ktb-view")


def _numbers(result: Result) -> Markup:
    """The classes as grey levels; the legend's script reads them from the red channel."""
    labels = display_size(result.shown.labels["fused"], smooth=False)
    grey = [(level,) * 3 for level in range(256)]
    return image_tag(labels, "", result.prediction.model, "ktb-numbers", grey)


def _title(result: Result, key: str) -> str:
    return f"X: {result.x_name}" if key == "x" else PICTURES[key]


def _layer(result: Result, key: str) -> _Layer:
    prediction, name = result.shown, result.prediction.model
    labels = prediction.labels
    if key == "photo":
        return _Layer(Markup(), "as it was uploaded")
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
        how = "calibrated by a temperature" if prediction.is_calibrated else "it is not calibrated"
        note = f"probability that the network gave the fused class; {how}"
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
    scale = map_scale("balance", result.inspection.all_maps())
    ends = scale.low, scale.high
    labels = result.shown.labels["fused"]
    shown = scalar_tag(view.balance, ends, scale.cmap, "balance map", prediction.model, labels=labels)
    note = (
        "attention is uniform at this level: the map carries no information"
        if view.is_uniform
        else ("share of the sparse attention that goes to X; the Fusion tab says what it is worth")
    )
    note += f"; {scale.describe_beyond(view.balance)} the colours"
    words = f"{scale.low:.2f} RGB image", f"X {scale.high:.2f}"
    return _Layer(shown, note, scale_html(scale.cmap, *words))


def classes_panel(result: Result) -> Markup:
    """The legend and table of the fused mask's classes; a row's button marks its class in the picture."""
    prediction = result.shown
    labels, count = prediction.labels, len(prediction.classes)
    counts = [confusion_matrix(labels[branch], labels["fused"], count) for branch in ("rgb", "x")]
    overlaps = [class_iou(one) for one in counts]
    classes = [
        {"row": row, "overlaps": [float(iou[row.index]) for iou in overlaps]}
        for row in prediction.class_table("fused")
    ]
    sampled = "{1}×{0}".format(*prediction.size_hw) if prediction is not result.prediction else ""
    means = [np.nanmean(iou) for iou in overlaps]
    return render("result_classes", classes=classes, means=means, sampled=sampled)


def footer(result: Result) -> Markup:
    """Which checkpoint, where, how fast, at which sizes; and everything as one download.

    The download is in the footer, or is made on request (`app.widgets.downloads`) if it takes seconds.
    """
    prediction = result.prediction
    height, width = result.rgb.shape[:2]
    archive = "" if prediction.is_lazy else base64.b64encode(result_zip(result.rgb, prediction)).decode()
    return render(
        "footer",
        prediction=prediction,
        device_why=result.device_why,
        width=width,
        height=height,
        network_width=prediction.network_hw[1],
        network_height=prediction.network_hw[0],
        archive=Markup(archive),  # nothing to escape in it
    )
