"""The what-if tab: a changed run beside the original, and what is left when one sensor is ablated."""

from __future__ import annotations

import cv2
import numpy as np
from markupsafe import Markup

from app.html.images import display_size, figure_tag, image_tag
from app.html.templates import render
from app.html.zip_links import bundle_link, difference_files, sensors_files
from app.panels.x_input import warnings_box
from app.results import Result
from ktb.analysis.comparison import VERDICTS, Difference, SensorNeed, Verdict, difference, sensor_need
from ktb.analysis.counterfactual import Perturbation, perturb
from ktb.config import BRANCHES, HEADS
from ktb.inference.prediction import Prediction
from ktb.utils.text import percent
from ktb.visualize import Color

EMPTY = """<div class="ktb-empty"><b>Nothing changed yet</b>
<span>Run a pair, then switch a sensor off, move X, or darken the RGB image, and see what becomes of the
mask.</span></div>"""
STALE = """<div class="ktb-warn" role="status"><p><b>Out of date:</b> there is a new run since. What is below
belongs to the run before; press the button again.</p></div>"""
MAX_CHANGES = 6
SIDES: dict[Verdict, tuple[Color, str]] = {
    "either": ((226, 226, 222), "either sensor alone gives this class"),
    "rgb": ((47, 116, 192), "needs the RGB image: without X it stays, without the RGB image it does not"),
    "x": ((217, 112, 31), "needs X: without the RGB image it stays, without X it does not"),
    "both": ((64, 40, 82), "needs both: it changes as soon as either is off"),
}


def what_if_panel(result: Result, change: Perturbation, after: Prediction) -> Markup:
    """Original and changed result side by side, the changed pixels, and what changed in words and numbers."""
    before, words = result.prediction, "; ".join(change.words)
    mark = marked(before.model, words)
    found = difference(before, after)
    rgb, reading = perturb(change, result.rgb, before.x)
    seen = reading.preview if change.drop == "rgb" else rgb
    pixels = image_tag(changed_picture(result.rgb, after, found.changed), "changed pixels", mark, "ktb-view")
    moved_x = None
    if change.drop != "x" and (change.swap is not None or any(change.shift_xy)):
        x = image_tag(display_size(reading.preview), "changed x", mark, "ktb-view")
        moved_x = figure_tag(x, "X as it was given", reading.summary)
    said = [text for text in after.warnings if not text.startswith("What if:")]  # the title says it
    return render(
        "what_if",
        shown=words,
        warnings=warnings_box(said),
        words=describe(found),
        original=layers_figure(result.rgb, before, "original", "Original", before.model),
        changed=layers_figure(seen, after, "changed", "Changed", f"{words} · {before.model}", mark),
        changed_pixels=figure_tag(
            pixels,
            "Changed pixels",
            f"{percent(found.changed_share)}, in the colour of their new class; pale: as before",
        ),
        moved_x=moved_x,
        changes=found.changes[:MAX_CHANGES],
        agreement=[{"head": HEADS[branch], "share": found.agreement[branch]} for branch in BRANCHES],
        download=bundle_link(f"{before.model}-what-if", difference_files(before, after, found, change.words)),
    )


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


def sensors_panel(result: Result, without_x: Prediction, without_rgb: Prediction) -> Markup:
    """Three masks (both sensors, only rgb, only x) and which sensor each pixel's class rests on."""
    full = result.prediction
    found = sensor_need(full, without_x, without_rgb)
    off_x, off_rgb = marked(full.model, "X ablated"), marked(full.model, "RGB image ablated")
    figures = [
        layers_figure(result.rgb, full, "original", "Both sensors", full.model),
        layers_figure(
            result.rgb, without_x, "without x", "X off",
            f"{percent(found.stays_without_x)} stays · {full.model}", off_x,
        ),
        layers_figure(
            full.x.preview, without_rgb, "without rgb", "RGB image off",
            f"{percent(found.stays_without_rgb)} stays; over X · {full.model}", off_rgb,
        ),
    ]  # fmt: skip
    table = np.array([SIDES[verdict][0] for verdict in VERDICTS], np.uint8)
    lit = pale(result.rgb) / np.float32(255)  # the RGB image shines through, so that places are known
    colors = np.rint(table[display_size(found.verdict, smooth=False)] * lit).astype(np.uint8)
    drawn = image_tag(colors, "which sensor decided", marked(full.model, "each sensor off"), "ktb-view")
    verdict = figure_tag(drawn, "Which sensor decided", f"per pixel of the fused mask · {full.model}")
    files = sensors_files(full, without_x, without_rgb, found, {key: SIDES[key][0] for key in VERDICTS})
    rows = [
        {"color": SIDES[key][0], "meaning": SIDES[key][1], "share": found.shares[key]} for key in VERDICTS
    ]
    return render(
        "sensors",
        warnings=warnings_box(full.warnings),
        words=describe_sensor_need(found),
        figures=figures,
        verdict=verdict,
        rows=rows,
        download=bundle_link(f"{full.model}-sensors", files),
    )


def describe_sensor_need(found: SensorNeed) -> str:
    """In words: how much stays without each sensor, and which one the image leans on."""
    said = (
        f"Without X {percent(found.stays_without_x)} of the fused mask stays, without the RGB image "
        f"{percent(found.stays_without_rgb)}. "
    )
    lead = found.stays_without_x - found.stays_without_rgb
    if abs(lead) < 0.05:
        return said + "Neither sensor decides clearly more than the other here."
    return said + f"{'The RGB image' if lead > 0 else 'X'} decides more of this answer."


def layers_figure(
    photo: np.ndarray, prediction: Prediction, alt: str, title: str, note: str, mark: str = ""
) -> Markup:
    """A fused mask over a picture as two layers (opacity is CSS) with a caption."""
    below = image_tag(display_size(photo), f"{alt}: what lies below", css_class="ktb-photo")
    colors = display_size(prediction.colors("fused"), smooth=False)
    mask = image_tag(colors, f"{alt} mask", mark or prediction.model, "ktb-mask ktb-view")
    return figure_tag(render("layers", css_class="ktb-layers", below=below, above=mask), title, note)


def changed_picture(rgb: np.ndarray, after: Prediction, changed: np.ndarray) -> np.ndarray:
    """The RGB image in pale grey, changed pixels in the colour of their new class."""
    where = display_size(changed.astype(np.uint8), smooth=False).astype(bool)
    colors = display_size(after.colors("fused"), smooth=False)
    return np.where(where[..., None], colors, pale(rgb))


def pale(rgb: np.ndarray) -> np.ndarray:
    """The RGB image as a light grey picture of display size, so that colours on it stand out."""
    grey = cv2.cvtColor(display_size(rgb), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.repeat(np.rint(170 + grey / 3)[..., None], 3, axis=-1).astype(np.uint8)


def marked(model: str, words: str) -> str:
    """What a changed run's picture names as its checkpoint."""
    return f"{model}; what if: {words}"
