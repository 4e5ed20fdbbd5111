"""Parts of the page that need no events of their own: the gallery, the RGB image's place, a model's card."""

from __future__ import annotations

import html
import re

import gradio as gr
from markupsafe import Markup

from app.gradio_ext.components import ImageInput
from app.service import Service
from app.texts import ANY_X
from app.widgets.examples import CustomExamples, Offer, examples
from ktb.checkpoints.choice import AUTO_MODEL
from ktb.config import InputConfig
from ktb.modalities import MODALITIES
from ktb.utils.text import rounded_down


def rgb_zone() -> gr.Image:
    """Where the RGB image is put: a file, the camera, or the clipboard."""
    return ImageInput(
        label="RGB image",
        type="filepath",
        image_mode=None,
        sources=["upload", "webcam", "clipboard"],
        webcam_options=gr.WebcamOptions(mirror=False),
        height=200,
        elem_id="ktb-rgb",
    )


def waiting_input(name: str) -> gr.HTML:
    """An empty place over the whole of its column, to show that something runs or waits."""
    return gr.HTML(elem_id=name, elem_classes="ktb-waiting")


def unfold_inputs(is_folded: bool) -> str:
    """What unfolds the inputs below it on a phone, where they would keep the result screens away."""
    is_open = str(not is_folded).lower()
    return f'<button type="button" aria-expanded="{is_open}">Use your own images</button>'


def examples_gallery(offer: Offer) -> gr.Gallery:
    """Pairs to click on."""
    return gr.Gallery(
        tiles(offer),
        label=offer.title,
        columns=2,
        height="auto",
        allow_preview=False,
        object_fit="cover",
        interactive=False,
        visible=bool(offer.pairs),
        buttons=[],
        elem_id="ktb-examples",
        elem_classes="ktb-many" if len(offer.pairs) > 4 else None,
    )


def offered(inputs: InputConfig, own: CustomExamples | None) -> Offer:
    """What to click on: a custom dataset, or the project's examples of what a model takes.

    Ours are depth in millimetres, of which HHA is computed: there is none for a model that takes depth as a
    plain picture. Their camera is the one that HHA assumes.
    """
    if own:
        return own.offer
    if inputs is ANY_X:
        pairs = examples("depth")
        return Offer("Try an example", pairs, [pair.rgb for pair in pairs])
    fits = (inputs.modality == "depth") == (inputs.encoding == "depth")
    pairs = examples("depth" if inputs.encoding == "hha" else inputs.modality) if fits else []
    return Offer("Try an example", pairs, [pair.rgb for pair in pairs])


def tiles(offer: Offer) -> list[tuple[str, str]]:
    """Picture and caption of each pair, for the gallery."""
    return [(str(tile), pair.name) for tile, pair in zip(offer.tiles, offer.pairs)]


def card_text(service: Service, model: str) -> str:
    """A model's card as Markdown: data, protocol, figures per branch, limits; of "auto" the choices."""
    if model == AUTO_MODEL:
        return _choices_text(service)
    card = service.card(model)
    rows = [
        f"- **{_plain(key.replace('_', ' '))}**: {_plain(str(value))}"
        for key, value in card.items()
        if isinstance(value, str | int | float)
    ]
    figures = card.get("figures")
    if isinstance(figures, dict):
        named = [
            f"{branch} {rounded_down(values['miou'])} mIoU, "
            f"{rounded_down(values['pixel_accuracy'])} % of pixels"
            for branch, values in figures.items()
            if isinstance(values, dict) and "miou" in values
        ]
        rows.append(f"- **figures**: {_plain('; '.join(named))}")
    return "\n".join(rows) or "This checkpoint has no card."


def _choices_text(service: Service) -> str:
    """Which checkpoint "auto" chooses for which X."""
    rows = ["The checkpoint is chosen by the sensor of X, and without X by the scene:", ""]
    for name in service.models:
        noun = MODALITIES[service.inputs(name).modality].noun
        learned = service.config(name).domain
        of = f", learned from {learned.trained_on}" if learned else ""
        rows.append(f"- {_plain(noun)}: **{_plain(name)}**{_plain(of)}")
    return "\n".join(rows)


def _plain(text: str) -> str:
    """A text in Markdown that shows as it is: no HTML, no links, no pictures, no formulas, one line."""
    return re.sub(r"([\\`*_\[\]{}()<>#+!|~$^:])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def warning_text(service: Service, own: CustomExamples | None, model: str) -> Markup:
    """A line for what makes a model unfit for the custom dataset, "" if nothing does."""
    lines = own.differences(service.config(model)) if own else []
    return Markup("<p>{}</p>").format(" ".join(lines)) if lines else Markup()
