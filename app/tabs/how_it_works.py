"""How the method works: the drawing, a description, and the words that the page uses."""

from __future__ import annotations

import gradio as gr
from markupsafe import Markup

from app.html.templates import render
from app.widgets.how_it_works import how_it_works

TERMS: dict[str, str] = {
    "X": "The second sensor's image: depth, thermal, events, near infrared or polarization.",
    "Head": (
        "The part of the network that names a class for every pixel. There are three: of the fused "
        "features, of the RGB stream, and of the X stream. Prompts pass between the streams, so a head is"
        " not the network without the other sensor."
    ),
    "Ablation": (
        "The network runs again with a sensor's tokens set to zero. What changes then rests on that "
        "sensor. This is measured; every other map is an explanation that may be wrong."
    ),
    "Level": (
        "One of the network's four grids of positions: 0 is the finest, 3 the coarsest. Each is fused on "
        "its own."
    ),
    "Sampling points": (
        "Positions that the network chooses to read both sensors at. Their size shows the attention that "
        "they get."
    ),
    "Attention head": (
        "Each level weighs its points several times side by side. One weighing is shown, or their mean."
    ),
    "Balance": "How much of the attention reads X: 0 none, 1 all of it.",
    "Weight of X": "How much of what is read at a point comes from X.",
    "Led by": "The stream that chose where the point lies; what is read there may come from both.",
    "Share through attention": (
        "How much of the fused feature was read at the points. The rest is a dense context of both "
        "streams and, in some checkpoints, the mean of both (residual)."
    ),
    "Attention entropy": "How evenly the attention is spread: 1 is uniform, which carries no information.",
    "Prompts": (
        "Learned changes (MAPA) by which each stream tells the other what it sees, before they are fused."
    ),
    "AUROC": (
        "How well a map forecasts which positions change their class under ablation: 0.5 is chance, 1 is "
        "perfect. Beyond indecision: within tenths of the margin between the two best classes."
    ),
    "Attribution": "Input × gradient: how the score of a class follows small changes of the tokens.",
    "IoU": "The area that two regions share, divided by the area that either covers.",
}
"""Word → meaning, plain text."""


def build() -> None:
    """Lay out the tab."""
    with gr.Tab("How it works", id="how"):
        gr.HTML(Markup("{}{}").format(Markup(how_it_works()), render("terms", terms=TERMS)))
