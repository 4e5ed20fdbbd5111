"""The alignment accordion: a calibration file or an estimate is previewed, and applied only when said so."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import gradio as gr
import numpy as np

from app.pictures import display_size, figure_tag, image_tag
from app.x_form import Proposal

SIDE = 640


@dataclass(frozen=True)
class AlignmentControls:
    """The components of the accordion."""

    accordion: gr.Accordion
    file: gr.File
    estimate: gr.Button
    preview: gr.HTML
    use: gr.Button
    remove: gr.Button
    state: gr.HTML
    proposal: gr.State


def build_alignment() -> AlignmentControls:
    """Lay the accordion out."""
    with gr.Accordion("Alignment of X with the photograph", open=False, elem_id="ktb-align") as accordion:
        state = gr.HTML(applied_note(None), elem_id="ktb-aligned")
        estimate = gr.Button("Estimate an alignment", size="sm", elem_id="ktb-estimate")
        file = gr.File(
            label="or a matrix or calibration (.json, .npy, .txt)",
            type="filepath",
            height=120,
            elem_id="ktb-calibration",
        )
        preview = gr.HTML("", elem_id="ktb-align-preview")
        with gr.Row():
            use = gr.Button("Use this alignment", size="sm", visible=False, elem_id="ktb-align-use")
            remove = gr.Button("Remove the alignment", size="sm", visible=False, elem_id="ktb-align-remove")
        proposal = gr.State(None)
    return AlignmentControls(accordion, file, estimate, preview, use, remove, state, proposal)


def applied_note(proposal: Proposal | None) -> str:
    """Whether an alignment is applied."""
    if proposal is None:
        return '<p class="ktb-read">No alignment is applied: X is only resized to the photograph.</p>'
    return f'<div class="ktb-applied"><b>Applied</b>: {html.escape(proposal.origin)}</div>'


def preview_html(before: np.ndarray | None, after: np.ndarray, words: Sequence[str]) -> str:
    """Overlays without and with the alignment, and what is known about it."""
    pictures = [(after, "alignment after", "With it")]
    if before is not None:
        pictures.insert(0, (before, "alignment before", "Without"))
    figures = "".join(
        figure_tag(image_tag(display_size(image, side=SIDE), alt), title, "")
        for image, alt, title in pictures
    )
    lines = "".join(f"<p>{html.escape(text)}</p>" for text in words)
    return (
        f'<div class="ktb-grid ktb-overlays">{figures}</div><div class="ktb-read">{lines}'
        "<p><b>Nothing is applied yet.</b> Do the edges of X lie on those of the photograph?</p></div>"
    )
