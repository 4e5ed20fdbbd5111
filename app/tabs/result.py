"""The result tab: one picture, or two with a movable split, the classes, and the heads' disagreement."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from app.context import Context
from app.gradio_ext.events import HIDDEN
from app.layout import waiting_input
from app.panels.branches import differences_panel
from app.panels.result import NOTHING, PICTURES, classes_panel, offered_pictures, result_panel

VIEWER = (Path(__file__).parents[1] / "static" / "viewer.js").read_text()
SET_OPACITY = "(v) => { document.getElementById('ktb-stage').style.setProperty('--ktb-opacity', v); }"


@dataclass(frozen=True)
class ResultTab:
    """The components of the tab that the page's handlers change.

    Attributes:
        stage: the viewer.
        try_it: the button that runs an example.
        waiting: shows the status of a run.
        side, classes, differ: the column of the classes, the classes, and the heads' disagreement.
    """

    stage: gr.HTML
    try_it: gr.Button
    waiting: gr.HTML
    side: gr.Column
    classes: gr.HTML
    differ: gr.HTML

    @property
    def drawn(self) -> list[gr.blocks.Block]:
        """The components that show a result."""
        return [self.stage, self.try_it, self.side, self.classes, self.differ]


def build(context: Context, empty: str, has_examples: bool) -> ResultTab:
    """Lay out and wire the tab.

    Args:
        empty: the placeholder before the first run.
        has_examples: whether to show the button that runs an example.
    """
    store = context.store
    with gr.Tab("Result", id="result") as tab:
        with gr.Row(visible=False, elem_id="ktb-choose") as controls:
            left = gr.Dropdown(
                _choices(PICTURES), value="fused", label="Picture", min_width=190, elem_id="ktb-left"
            )
            right = gr.Dropdown(
                [("nothing", NOTHING), *_choices(PICTURES)],
                value=NOTHING,
                label="Compare with",
                min_width=190,
                elem_id="ktb-right",
            )
            opacity = gr.Slider(0, 1, 0.6, step=0.01, label="Mask opacity", elem_id="ktb-opacity")
        with gr.Row(elem_id="ktb-result"):
            with gr.Column(scale=5, min_width=300, elem_id="ktb-pictures"):
                try_it = gr.Button(
                    "Run an example", variant="primary", visible=has_examples, elem_id="ktb-try"
                )
                waiting = waiting_input("ktb-waiting")
                stage = gr.HTML(empty, elem_id="ktb-stage", js_on_load=VIEWER)
                differ = gr.HTML(elem_id="ktb-differ")
            with gr.Column(scale=3, min_width=300, visible=False, elem_id="ktb-side") as side:
                classes = gr.HTML(elem_id="ktb-classes")

    def draw(request: gr.Request, left_key: str, right_key: str):
        result = store.result(request.session_hash)
        if result is None:
            return gr.skip()
        keys = offered_pictures(result)
        left_key = left_key if left_key in keys else "fused"
        right_key = right_key if right_key in keys else NOTHING
        return {
            controls: gr.update(visible=True),
            try_it: gr.update(visible=False),
            side: gr.update(visible=True),
            left: gr.update(choices=_choices(keys), value=left_key),
            right: gr.update(choices=[("nothing", NOTHING), *_choices(keys)], value=right_key),
            stage: result_panel(result, left_key, right_key),
            classes: classes_panel(result),
            differ: differences_panel(result),
        }

    def show(request: gr.Request, left_key: str, right_key: str):
        result = store.result(request.session_hash)
        return gr.skip() if result is None else result_panel(result, left_key, right_key)

    chosen = [left, right]
    context.draws(tab, draw, chosen, [controls, try_it, side, left, right, stage, classes, differ])
    context.redraws(tab, [left.input, right.input], show, chosen, [stage])
    opacity.input(None, opacity, None, js=SET_OPACITY, **HIDDEN)
    return ResultTab(stage, try_it, waiting, side, classes, differ)


def _choices(keys) -> list[tuple[str, str]]:
    return [(PICTURES[key], key) for key in keys]
