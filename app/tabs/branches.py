"""The branches tab: the mask of each stream's own head, beside the fused mask."""

from __future__ import annotations

import gradio as gr

from app.context import Context
from app.panels.branches import branches_panel


def build(context: Context, empty: str) -> gr.HTML:
    """Lay out and wire the tab; returns its HTML component, whose placeholder depends on the checkpoint."""
    with gr.Tab("Branches", id="branches") as tab:
        shown = gr.HTML(empty, elem_id="ktb-branches")

    def draw(request: gr.Request):
        result = context.store.result(request.session_hash)
        return gr.skip() if result is None else branches_panel(result)

    context.draws(tab, draw, [], [shown])
    return shown
