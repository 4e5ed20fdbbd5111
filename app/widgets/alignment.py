"""The alignment accordion: a calibration file or an estimate is previewed, and applied only when said so."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from markupsafe import Markup

from app.gradio_ext.components import FileButton
from app.html.images import display_size, figure_tag, image_tag
from app.html.templates import render
from app.service import Overlays
from app.widgets.x_form import Proposal

POINTER = " “Alignment of X” below the Run button estimates one or takes a file."


@dataclass(frozen=True)
class AlignmentControls:
    """What starts an alignment, and its preview with the decision."""

    state: gr.HTML
    estimate: gr.Button
    file: gr.UploadButton
    remove: gr.Button
    preview: gr.HTML
    use: gr.Button
    proposal: gr.State


def build_alignment() -> AlignmentControls:
    """The accordion."""
    with gr.Accordion("Alignment of X", open=False, elem_id="ktb-align"):
        state = gr.HTML(applied_note(None), elem_id="ktb-aligned")
        estimate = gr.Button("Estimate an alignment", size="sm", elem_id="ktb-estimate")
        file = FileButton("Take a matrix or calibration file", size="sm", elem_id="ktb-calibration")
        remove = gr.Button("Remove the alignment", size="sm", visible=False, elem_id="ktb-align-remove")
        preview = gr.HTML("", visible=False, elem_id="ktb-align-preview")
        use = gr.Button("Use this alignment", variant="primary", visible=False, elem_id="ktb-align-use")
    return AlignmentControls(state, estimate, file, remove, preview, use, gr.State(None))


def applied_note(proposal: Proposal | None) -> Markup:
    """Whether an alignment is applied."""
    if proposal is None:
        return Markup('<p class="ktb-read">Nothing is applied: X is only resized to the RGB image.</p>')
    return render("alignment_applied", summary=proposal.alignment.summary)


def preview_html(overlays: Overlays) -> Markup:
    """X's edges over the RGB image without and with the alignment, and what is known about it."""
    shown = [
        (overlays.before, "alignment before", "Without", "edges of X in orange"),
        (overlays.after, "alignment after", "With", "the same, aligned"),
    ]
    figures = [
        figure_tag(image_tag(display_size(image), alt), title, note)
        for image, alt, title, note in shown
        if image is not None
    ]
    is_offered = overlays.after is not None
    return render("alignment", message=overlays.message, is_offered=is_offered, figures=figures)


def pointed(message: str) -> str:
    """A message that speaks of an alignment, with where on the page that is."""
    return message + "." + POINTER if "alignment matrix" in message else message
