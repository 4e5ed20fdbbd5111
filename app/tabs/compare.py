"""The compare tab: run a second checkpoint on the session's pair."""

from __future__ import annotations

import gradio as gr
import numpy as np

from app.context import Context
from app.gradio_ext.events import HIDDEN, RUNNING, direct
from app.handlers import PROGRESS, shows_errors
from app.layout import waiting_input
from app.panels.compare import ALONE, EMPTY, STALE, compare_panel
from app.results import Result
from app.service import Service, XFiles, XSource
from app.tabs.what_if import SHOWN, base_run, is_stale
from app.widgets.x_form import XForm, x_options
from ktb.checkpoints.choice import AUTO_MODEL
from ktb.inputs import XOptions

SET_OPACITY = "(v) => document.getElementById('ktb-compare').style.setProperty('--ktb-opacity', v)"
SOURCES: dict[str, XSource] = {"measured": "file", "estimated": "estimate", "missing": "none"}


class Compare:
    """The tab's handler."""

    def __init__(self, context: Context):
        self.service, self.store = context.service, context.store

    @shows_errors
    def run(self, request: gr.Request, mark, other, rgb_path, x_files, source, _, *values, progress=PROGRESS):
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
        progress(0.8, desc="Drawing")
        return compare_panel(result, second), mark, *SHOWN

    def after_run(self, request: gr.Request, mark, shown, other):
        """Mark an outdated comparison; preselect a checkpoint other than the run's."""
        result = self.store.result(request.session_hash)
        rest = [name for name in self.service.models if result is None or name != result.offered_as]
        return is_stale(mark, shown), other if other in rest or not rest else rest[0]


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
    with gr.Tab("Compare", id="compare"):
        shown = gr.State("")  # inside the tab: between two tabs it would count as a tab
        with gr.Row(equal_height=True, elem_id="ktb-compare-choice"):
            other = gr.Dropdown(
                models,
                value=models[1] if len(models) > 1 else None,
                label="Second checkpoint",
                scale=3,
                visible=len(models) > 1,
                elem_id="ktb-other-model",
            )
            start = gr.Button(
                "Compare", variant="primary", scale=1, visible=len(models) > 1, elem_id="ktb-run-compare"
            )
        stale = gr.HTML(STALE, visible=False, elem_id="ktb-compare-stale")
        opacity = gr.Slider(
            0, 1, 0.6, step=0.01, label="Mask opacity", visible=False, elem_id="ktb-compare-opacity"
        )
        with gr.Column():
            waiting = waiting_input("ktb-compare-waiting")
            drawn = gr.HTML(EMPTY if len(models) > 1 else ALONE, elem_id="ktb-compare")
    outputs = [drawn, shown, stale, opacity]
    start.click(
        tab.run, [context.changed, other, *context.given], outputs, show_progress_on=waiting, **RUNNING
    )
    direct(context.changed.change, tab.after_run, [context.changed, shown, other], [stale, other])
    opacity.input(None, opacity, None, js=SET_OPACITY, **HIDDEN)
