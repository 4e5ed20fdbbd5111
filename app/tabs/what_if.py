"""The what-if tab: run the session's pair with a sensor ablated, X shifted or swapped, or RGB degraded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from app.context import Context
from app.gradio_ext.components import FilesInput
from app.gradio_ext.events import HIDDEN, RUNNING, direct
from app.handlers import PROGRESS, shows_errors
from app.layout import waiting_input
from app.panels.what_if import EMPTY, STALE, sensors_panel, what_if_panel
from app.results import Result
from app.server.decoding import room_for
from app.widgets.x_form import XForm, x_options
from ktb.analysis.counterfactual import Perturbation, predict_perturbed
from ktb.inputs import EncodedX

if TYPE_CHECKING:
    from ktb import Predictor

MAX_SHIFT = 32
SWITCHES = [("None", ""), ("X", "x"), ("RGB image", "rgb")]
DEFAULTS = ("", 0, 0, 0, 0, None)
"""Initial values of the controls: ablation, shifts right and down, darkening in %, blur, another X."""
SHOWN = (gr.update(visible=False), gr.update(visible=True))
"""Visibility of the note that a result is out of date, and of the opacity, after a run."""
SET_OPACITY = "(v) => document.getElementById('ktb-what-if').style.setProperty('--ktb-opacity', v)"


class WhatIf:
    """The tab's handlers; each receives the latest run's id, to detect a newer run later."""

    def __init__(self, context: Context):
        self.service, self.store = context.service, context.store

    @shows_errors
    def run(self, request: gr.Request, mark, off, right, down, dark, blur, files, *values, progress=PROGRESS):
        """Run the network on the perturbed pair."""
        self.store.remember_uploads(request.session_hash, files or [])
        result = base_run(self.store.result(request.session_hash))
        progress(0.1, desc="Changing the pair and running the network")
        predictor = self.service.predictor(result.offered_as)
        change = Perturbation(
            drop=off or None,
            shift_xy=(int(right or 0), int(down or 0)),
            darken=(dark or 0) / 100,
            blur_sigma=blur or 0,
            swap=self._other_x(predictor, result, files, values) if files and off != "x" else None,
        )
        if not change.words:
            raise ValueError("no control is changed. Ablate a sensor or move a slider first.")
        after = predict_perturbed(predictor, change, result.rgb, result.prediction.x)
        progress(0.8, desc="Drawing")
        return what_if_panel(result, change, after), mark, *SHOWN

    @shows_errors
    def run_each(self, request: gr.Request, mark, progress=PROGRESS):
        """Run the network without X and without the RGB image."""
        result = base_run(self.store.result(request.session_hash))
        if result.x_is_missing:
            raise ValueError("this run has no X: with one sensor there is nothing to ablate.")
        predictor = self.service.predictor(result.offered_as)
        progress(0.1, desc="Running the network without X")
        without_x = predict_perturbed(predictor, Perturbation(drop="x"), result.rgb, result.prediction.x)
        progress(0.5, desc="Running the network without the RGB image")
        without_rgb = predict_perturbed(predictor, Perturbation(drop="rgb"), result.rgb, result.prediction.x)
        result.ablated.update(x=without_x, rgb=without_rgb)
        progress(0.9, desc="Drawing")
        return sensors_panel(result, without_x, without_rgb), mark, *SHOWN

    def keep(self, request: gr.Request, files: list[str] | None):
        """Record the upload of another X."""
        self.store.remember_uploads(request.session_hash, files or [])

    def reset(self):
        """Reset every control and clear the tab."""
        return (*DEFAULTS, EMPTY, "", gr.update(visible=False), gr.update(visible=False))

    def _other_x(self, predictor: Predictor, result: Result, files: list[str], values: tuple) -> EncodedX:
        options = x_options(XForm(*values))
        service, files = self.service, [self.service.opened(path) for path in files]
        with service.room.take(room_for(*files)):
            return predictor.read(service.decoded.x(files, options), result.rgb.shape[:2], options)


def base_run(result: Result | None) -> Result:
    """The session's result; ValueError if there is none."""
    if result is None:
        raise ValueError("there is no result to start from. Run a pair first.")
    return result


def is_stale(mark: str, shown: str):
    """Show the note if the shown result belongs to an earlier run."""
    return gr.update(visible=bool(shown) and shown != mark)


def build(context: Context) -> None:
    """Lay out the tab and wire it."""
    tab = WhatIf(context)
    with gr.Tab("What if", id="what-if"):
        shown = gr.State("")  # inside the tab: between two tabs it would count as a tab
        with gr.Group(elem_id="ktb-change"):
            off = gr.Radio(SWITCHES, value="", label="Ablated sensor", elem_id="ktb-off")
            with gr.Row():
                right = _slider(-MAX_SHIFT, MAX_SHIFT, 1, "Shift X horizontally (px)", "ktb-move-right")
                down = _slider(-MAX_SHIFT, MAX_SHIFT, 1, "Shift X vertically (px)", "ktb-move-down")
            with gr.Row():
                dark = _slider(0, 100, 1, "Darken the RGB image (%)", "ktb-dark")
                blur = _slider(0, 16, 0.5, "Blur the RGB image (px)", "ktb-blur")
        with gr.Accordion("Swap in another X", open=False, elem_id="ktb-swap"):
            files = FilesInput(
                label="Another X for this RGB image, read with the options on the left",
                type="filepath",
                file_count="multiple",
                height=110,
                elem_id="ktb-other-x",
            )
        with gr.Row(elem_id="ktb-change-buttons"):
            start = gr.Button("Run this change", variant="primary", min_width=200, elem_id="ktb-run-change")
            each = gr.Button("Ablate each sensor", min_width=200, elem_id="ktb-run-each")
            reset = gr.Button("Reset", min_width=200, elem_id="ktb-reset-change")
        stale = gr.HTML(STALE, visible=False, elem_id="ktb-what-if-stale")
        opacity = gr.Slider(
            0, 1, 0.6, step=0.01, label="Mask opacity", visible=False, elem_id="ktb-what-if-opacity"
        )
        with gr.Column():
            waiting = waiting_input("ktb-what-if-waiting")
            drawn = gr.HTML(EMPTY, elem_id="ktb-what-if")
    controls = [off, right, down, dark, blur, files]
    answer = [drawn, shown, stale, opacity]
    start.click(
        tab.run, [context.changed, *controls, *context.given[4:]], answer, show_progress_on=waiting, **RUNNING
    )
    direct(files.upload, tab.keep, files, None)
    each.click(tab.run_each, context.changed, answer, show_progress_on=waiting, **RUNNING)
    direct(reset.click, tab.reset, None, [*controls, *answer])
    direct(context.changed.change, is_stale, [context.changed, shown], stale)
    opacity.input(None, opacity, None, js=SET_OPACITY, **HIDDEN)


def _slider(low: float, high: float, step: float, label: str, name: str) -> gr.Slider:
    return gr.Slider(low, high, 0, step=step, label=label, min_width=260, elem_id=name)
