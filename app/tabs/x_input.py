"""The X input tab: what the network gets of X, and an alignment to look at."""

from __future__ import annotations

import gradio as gr

from app.alignment import build_preview
from app.context import Context
from app.panels.x_input import x_panel


def build(context: Context, empty: str) -> tuple[tuple[gr.HTML, gr.Button, gr.State], gr.HTML, gr.State]:
    """Lay out and wire the tab.

    Args:
        empty: what stands in it as long as there is no X.

    Returns:
        What `app.alignment.build_preview` gives, the text that every reading of X changes, and whether what
        was read is newer than the latest run.
    """
    with gr.Tab("X input", id="x") as tab:
        preview = build_preview()
        shown = gr.HTML(empty, elem_id="ktb-x-tab")
        is_newer = gr.State(False)

    def draw(request: gr.Request, is_newer: bool):
        result = context.store.result(request.session_hash)
        return gr.skip() if result is None or is_newer else x_panel(result.x)

    context.draws(tab, draw, [is_newer], [shown])
    return preview, shown, is_newer
