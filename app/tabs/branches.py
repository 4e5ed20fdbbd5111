"""The branches tab: what each stream's own head says, beside the fused answer."""

from __future__ import annotations

import gradio as gr

from app.context import Context
from app.panels.branches import branches_panel


def build(context: Context, empty: str) -> gr.HTML:
    """Lay out and wire the tab; returns its text, which may change while there is no result."""
    with gr.Tab("Branches", id="branches") as tab:
        shown = gr.HTML(empty, elem_id="ktb-branches")

    def draw(request: gr.Request):
        result = context.store.result(request.session_hash)
        return gr.skip() if result is None else branches_panel(result)

    context.draws(tab, draw, [], [shown])
    return shown
