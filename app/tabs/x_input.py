"""The X input tab: what the network gets of X, and an alignment to look at."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.context import Context
from app.panels.x_input import x_panel
from app.widgets.alignment import build_preview


@dataclass(frozen=True)
class XTab:
    """The tab and what of it others change.

    Attributes:
        preview: what `app.widgets.alignment.build_preview` gives.
        text: what was read of X.
        is_newer: whether what was read is newer than the latest run.
        waits: whether it was read while the tab was closed, and is to be drawn when it is opened.
    """

    tab: gr.Tab
    preview: tuple[gr.HTML, gr.Button, gr.State]
    text: gr.HTML
    is_newer: gr.State
    waits: gr.State


def build(context: Context, empty: str) -> XTab:
    """Lay out and wire the tab; `empty` stands in it as long as there is no X."""
    with gr.Tab("X input", id="x") as tab:
        preview = build_preview()
        shown = gr.HTML(empty, elem_id="ktb-x-tab")
        is_newer, waits = gr.State(False), gr.State(False)

    def draw(request: gr.Request, is_newer: bool):
        result = context.store.result(request.session_hash)
        return gr.skip() if result is None or is_newer else x_panel(result.x)

    context.draws(tab, draw, [is_newer], [shown])
    return XTab(tab, preview, shown, is_newer, waits)
