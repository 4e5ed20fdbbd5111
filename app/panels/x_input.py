"""What was read of X: the large view of its tab, and the small one below the file zone."""

from __future__ import annotations

import html
from collections.abc import Sequence

import cv2
import numpy as np

from app.glossary import explain, term
from app.html.histogram import histogram_tag
from app.html.images import display_size, figure_tag, image_tag
from app.results import XView
from app.texts import x_called
from ktb.inputs import EncodedX

SMALL_SIDE = 480
HIDDEN_FACTS = ("file",)  # it stands in the title


def warnings_box(warnings: Sequence[str]) -> str:
    """Each warning as a paragraph in an orange box, "" for none."""
    words = {word: word for word in ("prompts", "zero tokens")}
    lines = "".join(f"<p>{explain(text, words)}</p>" for text in dict.fromkeys(warnings))
    return f'<div class="ktb-warn" role="status">{lines}</div>' if lines else ""


def error_box(message: str) -> str:
    """Why X could not be read."""
    return f'<div class="ktb-warn ktb-wrong" role="alert"><p>{html.escape(message)}</p></div>'


def network_picture(reading: EncodedX) -> np.ndarray:
    """(H, W, 3) uint8: the values that the network gets, 0..1 as black to white (-1..1 for angles)."""
    image = (reading.image + 1) / 2 if reading.encoding == "aolp" else reading.image
    return cv2.convertScaleAbs(image, alpha=255)


def small_x_panel(reading: EncodedX) -> str:
    """A preview, one line and the warnings, for the narrow column."""
    name = x_called(reading.modality, reading.origin)
    preview = image_tag(display_size(reading.preview, side=SMALL_SIDE), f"x as it was read: {name}")
    return f"{warnings_box(reading.warnings)}{preview}<p>{html.escape(reading.summary)}</p>"


def x_panel(view: XView) -> str:
    """Preview, network input, histogram and facts, for the tab."""
    reading = view.reading
    if reading.origin == "missing":
        return (
            '<div class="ktb-empty"><b>There is no X</b><span>The network ran on the RGB image alone, with '
            f"{term('zero tokens')} in place of X.</span></div>"
        )
    name = x_called(reading.modality, reading.origin)
    title = reading.facts.get("file", name)
    size = f"{reading.image.shape[1]}×{reading.image.shape[0]}"
    holes = "" if reading.holes is None or not reading.holes.any() else "; holes are filled"
    figures = figure_tag(
        image_tag(display_size(reading.preview), f"x preview: {name}"), "For people", f"{name}, {size}"
    ) + figure_tag(
        image_tag(display_size(network_picture(reading)), "x as the network sees it"),
        "As the network sees it",
        f"encoding {reading.encoding}{holes}",
        "encoding",
    )
    facts = "".join(
        f"<dt>{explain(key, {'holes': 'holes'})}</dt><dd>{html.escape(str(value))}</dd>"
        for key, value in reading.facts.items()
        if key not in HIDDEN_FACTS
    )
    drawn = _histogram(view)
    return f"""<div class="ktb-x">{warnings_box(reading.warnings)}
<h4>{html.escape(str(title))}</h4>
<div class="ktb-grid ktb-two">{figures}</div>
<div class="ktb-grid ktb-two ktb-read-facts"><dl class="ktb-facts">{facts}</dl>{drawn}</div></div>"""


def _histogram(view: XView) -> str:
    found = view.reading.histogram
    if found is None:
        return ""
    if view.window_ms is None:
        return histogram_tag(found, "How often each value occurs")
    return histogram_tag(found, "Events over time; orange: those in the image", view.window_ms)
