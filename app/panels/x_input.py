"""What was read of X: the preview below its upload, and the details below that."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from markupsafe import Markup

from app.html.histogram import histogram_tag
from app.html.images import display_size, figure_tag, image_tag
from app.html.templates import render
from app.results import XView
from app.texts import x_called
from ktb.checkpoints.registry import PUBLISHED
from ktb.inputs import EncodedX
from ktb.modalities import MODALITIES, Modality

SMALL_SIDE = 480
HIDDEN_FACTS = ("file",)  # it stands in the title


def warnings_box(warnings: Sequence[str]) -> Markup:
    """Each warning as a paragraph in an orange box, "" for none."""
    if not warnings:
        return Markup()
    return render("warnings", warnings=dict.fromkeys(warnings))


def error_box(message: str) -> Markup:
    """Why X could not be read."""
    return render("error", message=message)


def network_picture(reading: EncodedX) -> np.ndarray:
    """(H, W, 3) uint8: the values that the network gets, 0..1 as black to white (-1..1 for angles)."""
    image = (reading.image + 1) / 2 if reading.encoding == "aolp" else reading.image
    return cv2.convertScaleAbs(image, alpha=255)


def small_x_panel(reading: EncodedX, view: XView | None = None) -> Markup:
    """A preview, one line and the warnings, for the narrow column; with the chosen checkpoint, if it was."""
    name = x_called(reading.modality, reading.origin)
    preview = image_tag(display_size(reading.preview, side=SMALL_SIDE), f"x as it was read: {name}")
    is_asked = bool(view and view.question)  # then what X looks like is the question
    warnings = [text for text in reading.warnings if not (is_asked and text.startswith("X looks like"))]
    choice = view and view.choice
    offers = weights_for(reading.modality) if choice and not choice.fits else []
    return render(
        "x_small",
        warnings=warnings_box(warnings),
        preview=preview,
        summary=reading.summary,
        choice=choice,
        question=view.question if view else "",
        noun=MODALITIES[reading.modality].noun,
        offers=offers,
    )


def weights_for(modality: Modality) -> list[str]:
    """Names of the authors' models for a modality."""
    return [model.name for model in PUBLISHED if model.modality == modality]


def x_panel(view: XView) -> Markup:
    """Preview, network input, histogram and facts."""
    reading = view.reading
    if reading.origin == "missing":
        return render("x_missing")
    name = x_called(reading.modality, reading.origin)
    title = reading.facts.get("file", name)
    size = f"{reading.image.shape[1]}×{reading.image.shape[0]}"
    holes = "" if reading.holes is None or not reading.holes.any() else "; holes are filled"
    return render(
        "x_input",
        warnings=warnings_box(reading.warnings),
        title=title,
        preview=figure_tag(
            image_tag(display_size(reading.preview), f"x preview: {name}"), "Preview", f"{name}, {size}"
        ),
        network=figure_tag(
            image_tag(display_size(network_picture(reading)), "x as the network sees it"),
            "Network input",
            f"encoding {reading.encoding}{holes}",
        ),
        facts=[
            {"name": key, "value": value} for key, value in reading.facts.items() if key not in HIDDEN_FACTS
        ],
        histogram=_histogram(view),
    )


def _histogram(view: XView) -> Markup:
    found = view.reading.histogram
    if found is None:
        return Markup()
    if view.window_ms is None:
        return histogram_tag(found, "How often each value occurs")
    return histogram_tag(found, "Events over time; orange: those in the image", view.window_ms)
