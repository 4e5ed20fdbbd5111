"""The X input tab: X as the network receives it, and the preview of an alignment."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.context import Context
from app.panels.x_input import x_panel
from app.widgets.alignment import build_preview


@dataclass(frozen=True)
class XTab:
    """The tab, and its components that other handlers change.

    Attributes:
        preview: the components of `app.widgets.alignment.build_preview`.
        text: the panel of X.
        is_newer: whether X was read after the latest run.
        waits: whether X was read while the tab was closed, and must be drawn when it is opened.
    """

    tab: gr.Tab
    preview: tuple[gr.HTML, gr.Button, gr.State]
    text: gr.HTML
    is_newer: gr.State
    waits: gr.State


def build(context: Context, empty: str) -> XTab:
    """Lay out and wire the tab; `empty` is its placeholder without X."""
    with gr.Tab("X input", id="x") as tab:
        preview = build_preview()
        shown = gr.HTML(empty, elem_id="ktb-x-tab")
        is_newer, waits = gr.State(False), gr.State(False)

    def draw(request: gr.Request, is_newer: bool):
        result = context.store.result(request.session_hash)
        return gr.skip() if result is None or is_newer else x_panel(result.x)

    context.draws(tab, draw, [is_newer], [shown])
    return XTab(tab, preview, shown, is_newer, waits)
