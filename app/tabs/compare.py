"""The comparison: run a second checkpoint on the session's pair."""

from __future__ import annotations

import gradio as gr
import numpy as np

from app.context import Context
from app.errors import base_run, shows_errors
from app.gradio_ext.events import LATEST, PROGRESS, RUNNING
from app.layout import waiting_input
from app.panels.compare import compare_layers, compare_panel
from app.results import Result
from app.service import Service, XFiles, XSource
from app.viewer import file_of, shows, slot
from app.widgets.x_form import XForm, x_options
from ktb.analysis.comparison import difference, shared_names
from ktb.checkpoints.choice import AUTO_MODEL
from ktb.inputs import XOptions

SOURCES: dict[str, XSource] = {"measured": "file", "estimated": "estimate", "missing": "none"}
HINT = '<p class="ktb-note">Choose another checkpoint and press <i>Compare</i>.</p>'
ALONE = """<p class="ktb-note">There is one checkpoint only. Start the page with <code>--model FILE</code>
to offer another one here.</p>"""
SHOW = {"overlay": "labels.fused", "compare": "layer.other"}


class Compare:
    """The tab's handlers."""

    def __init__(self, context: Context):
        self.service, self.store, self.viewer = context.service, context.store, context.viewer

    @shows_errors
    def run(self, request: gr.Request, other, rgb_path, x_files, source, _, *values, progress=PROGRESS):
        """Run the other checkpoint on the pair of the session's result."""
        result = base_run(self.store.result(request.session_hash))
        if not other:
            raise ValueError("the second checkpoint is missing. Choose one.")
        if other == result.offered_as:
            raise ValueError(f"{other} is the checkpoint of the run itself. Choose another one.")
        progress(0.1, desc="Reading the pair again")
        options = x_options(XForm(*values))
        check_same_pair(self.service, result, rgb_path, x_files, source, options)
        progress(0.3, desc=f"Running {other}")
        second = self.service.segment(rgb_path, x_files, other, options, source)
        a, b = result.prediction, second.prediction
        found = difference(a, b) if shared_names(a, b) else None
        file = self.viewer.layers(
            request.session_hash, "compare", result, compare_layers(b, found), show=SHOW
        )  # fmt: skip
        return compare_panel(result, second, found), file

    def after_run(self, request: gr.Request, other):
        """Drop the comparison of the run before; preselect a checkpoint other than the run's."""
        result = self.store.result(request.session_hash)
        rest = [name for name in self.service.models if result is None or name != result.offered_as]
        hint = HINT if len(self.service.models) > 1 else ALONE
        return hint, other if other in rest or not rest else rest[0]


def check_same_pair(
    service: Service,
    result: Result,
    rgb_path: str | None,
    x_files: XFiles,
    source: XSource,
    options: XOptions,
) -> None:
    """ValueError if the inputs or options differ from those of the result."""
    same = bool(rgb_path) and np.array_equal(service.read_rgb(rgb_path), result.rgb)
    same = same and source == SOURCES[result.prediction.x.origin]
    if same and source == "file":
        same = bool(x_files)
        if same:
            name = AUTO_MODEL if result.prediction.choice else result.offered_as
            again = service.read_x(x_files, rgb_path, name, options).reading
            same = np.array_equal(again.image, result.prediction.x.image)
    if not same:
        raise ValueError(
            "the RGB image, X or its options have changed since the run. Press Run, then compare again."
        )


def build(context: Context) -> None:
    """Lay out the tab and wire it."""
    tab, models = Compare(context), context.service.models
    has_two = len(models) > 1
    with gr.Tab("Another checkpoint", id="compare"):
        with gr.Row(equal_height=True, elem_id="ktb-compare-choice", visible=has_two):
            other = gr.Dropdown(
                models,
                value=models[1] if has_two else None,
                label="Second checkpoint",
                scale=3,
                elem_id="ktb-other-model",
            )
            start = gr.Button("Compare", variant="primary", scale=1, elem_id="ktb-run-compare")
        with gr.Column():
            waiting = waiting_input("ktb-compare-waiting")
            slot("compare", "Nothing to compare yet", "Run a pair first.")
            drawn = gr.HTML(HINT if has_two else ALONE, elem_id="ktb-compare")
        layers = file_of("compare")
    ran = start.click(tab.run, [other, *context.given], [drawn, layers], show_progress_on=waiting, **RUNNING)
    shows(ran, layers)
    context.changed.change(tab.after_run, other, [drawn, other], **LATEST)
