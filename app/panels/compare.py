"""The compare tab: two checkpoints on one pair, side by side, and where they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from app.html.images import display_size, figure_tag, image_tag, save_button
from app.html.templates import render
from app.html.zip_links import bundle_link, difference_files
from app.panels.what_if import layers_figure, pale
from app.panels.x_input import network_picture, warnings_box
from app.results import Result
from ktb.analysis.comparison import Difference, difference, shared_names
from ktb.inference.prediction import Prediction
from ktb.utils.text import percent

EMPTY = """<div class="ktb-empty"><b>No second checkpoint yet</b>
<span>Run a pair, choose another checkpoint and press <i>Compare</i>: both masks side by side, and where they
differ.</span></div>"""
ALONE = """<div class="ktb-empty"><b>There is one checkpoint only</b>
<span>Start the page with <code>--model FILE</code> to offer another one here.</span></div>"""
STALE = """<div class="ktb-warn" role="status"><p><b>Out of date:</b> there is a new run since. What is below
belongs to the run before; press <i>Compare</i> again.</p></div>"""
DIFFERENT, NOT_COMPARABLE = (125, 38, 140), (232, 190, 60)


def compare_panel(first: Result, second: Result) -> Markup:
    """Both fused masks, the difference map, a table per class, and what each network got as X."""
    a, b = first.prediction, second.prediction
    found = difference(a, b) if shared_names(a, b) else None
    masks = [
        layers_figure(first.rgb, p, f"{letter}, {p.model}", f"{letter}: {p.model}", _facts(p))
        for letter, p in (("A", a), ("B", b))
    ]
    said = warnings_box([f"{letter}, {p.model}: {text}" for letter, p in (("A", a), ("B", b))
                         for text in p.warnings])  # fmt: skip
    return render(
        "compare",
        a=a.model,
        b=b.model,
        warnings=said,
        words=describe(a, b, found),
        masks=masks,
        found=None if found is None else _where(first.rgb, a, b, found),
        save=save_button("Where they differ"),
        inputs=[_x_figure(letter, p) for letter, p in (("A", a), ("B", b))],
        download=bundle_link(f"{a.model}-and-{b.model}", difference_files(a, b, found)),
    )


def describe(a: Prediction, b: Prediction, found: Difference | None) -> str:
    """In words: how far the fused masks agree, and what cannot be compared."""
    if found is None:
        return (
            f"{a.model} and {b.model} have no class name in common ({len(a.classes)} and {len(b.classes)} "
            "classes): the masks stand side by side, but there is nothing to compare pixel by pixel."
        )
    limits = ""
    if a.classes != b.classes:
        lacking = percent(1 - float(found.comparable.mean()))
        limits = (
            f" Classes are compared by name: {len(shared_names(a, b))} are in both sets, "
            f"{lacking} of the image has a class that the other one lacks."
        )
    if not found.comparable.any():
        return f"No pixel can be compared.{limits}"
    said = f"The fused masks agree on {percent(1 - found.changed_share)} of the pixels."
    if found.changes:
        first = found.changes[0]
        said += (
            f" The largest difference: {percent(first.share)} of the image is {first.before} to A "
            f"and {first.after} to B."
        )
    return said + limits


def difference_picture(rgb: np.ndarray, found: Difference) -> np.ndarray:
    """The RGB image in pale grey, violet where the classes differ, yellow where they cannot be compared."""
    picture = pale(rgb)
    for mask, color in ((found.changed, DIFFERENT), (~found.comparable, NOT_COMPARABLE)):
        picture[display_size(mask.astype(np.uint8), smooth=False).astype(bool)] = color
    return picture


def _facts(prediction: Prediction) -> str:
    return f"{len(prediction.classes)} classes; {prediction.seconds:.2f} s on {prediction.device}"


def _x_figure(letter: str, prediction: Prediction) -> Markup:
    x = prediction.x
    image = image_tag(display_size(network_picture(x)), f"x of {letter}", prediction.model, "ktb-view")
    return figure_tag(image, f"{letter}: {prediction.model}", f"{x.summary}; encoding {x.encoding}")


def _where(rgb: np.ndarray, a: Prediction, b: Prediction, found: Difference) -> dict[str, Any]:
    drawn = image_tag(difference_picture(rgb, found), "difference map", f"{a.model}, {b.model}", "ktb-view")
    return {
        "picture": drawn,
        "different": DIFFERENT,
        "share": float(found.changed.mean()),
        "lacking": None if found.comparable.all() else NOT_COMPARABLE,
        "classes": found.classes,
    }
