"""The compare tab: two checkpoints on one pair, side by side, and where they differ."""

from __future__ import annotations

import html

import numpy as np

from app.glossary import term
from app.html.images import display_size, figure_tag, image_tag, save_button
from app.html.swatch import swatch
from app.html.zip_links import bundle_link, difference_files
from app.panels.what_if import cell, layers_figure, pale
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


def compare_panel(first: Result, second: Result) -> str:
    """Both fused masks, the difference map, a table per class, and what each network got as X."""
    a, b = first.prediction, second.prediction
    found = difference(a, b) if shared_names(a, b) else None
    masks = layers_figure(first.rgb, a, f"A, {a.model}", f"A: {a.model}", _facts(a)) + layers_figure(
        first.rgb, b, f"B, {b.model}", f"B: {b.model}", _facts(b)
    )
    said = warnings_box([f"{letter}, {p.model}: {text}" for letter, p in (("A", a), ("B", b))
                         for text in p.x.warnings])  # fmt: skip
    inputs = "".join(_x_figure(letter, p) for letter, p in (("A", a), ("B", b)))
    return f"""<h4 class="ktb-shown">Shown: {html.escape(a.model)} and {html.escape(b.model)}</h4>{said}
<p class="ktb-words">{html.escape(describe(a, b, found))}</p>
<div class="ktb-grid ktb-two">{masks}</div>{_where(first.rgb, a, b, found)}
<h4 class="ktb-below">{term("encoding", "X as each network gets it")}</h4>
<div class="ktb-grid ktb-two">{inputs}</div>
{bundle_link(f"{a.model}-and-{b.model}", difference_files(a, b, found))}"""


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


def _x_figure(letter: str, prediction: Prediction) -> str:
    x = prediction.x
    image = image_tag(display_size(network_picture(x)), f"x of {letter}", prediction.model, "ktb-view")
    return figure_tag(image, f"{letter}: {prediction.model}", f"{x.summary}; encoding {x.encoding}")


def _where(rgb: np.ndarray, a: Prediction, b: Prediction, found: Difference | None) -> str:
    if found is None:
        return ""
    drawn = image_tag(difference_picture(rgb, found), "difference map", f"{a.model}, {b.model}", "ktb-view")
    key = f"{swatch(DIFFERENT)} another class ({percent(float(found.changed.mean()))})"
    if not found.comparable.all():
        key += f" {swatch(NOT_COMPARABLE)} a class that the other lacks"
    figure = f"""<figure>{drawn}<figcaption><b>Where they differ</b> <span>{key}; pale: same class ·
{html.escape(a.model)}, {html.escape(b.model)}</span>
{save_button("Where they differ")}</figcaption></figure>"""
    rows = "".join(
        f"<tr><td>{swatch(row.color)}</td><td>{html.escape(row.name)}</td>"
        f"{cell(row.share_a)}{cell(row.share_b)}"
        f'<td class="num">{row.iou:.2f}</td></tr>'
        for row in found.classes
    )
    return f"""<div class="ktb-grid ktb-two ktb-below">{figure}<div class="ktb-legend">
<table><thead><tr><th></th><th>class</th><th class="num">A</th><th class="num">B</th>
<th class="num">{term("IoU")}</th></tr></thead>
<tbody>{rows}</tbody></table></div></div>"""
