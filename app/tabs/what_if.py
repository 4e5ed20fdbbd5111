"""The what-if tab: run the session's pair with a sensor ablated, X shifted or swapped, or RGB degraded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from app.context import Context
from app.errors import base_run, shows_errors
from app.gradio_ext.components import FilesInput
from app.gradio_ext.events import AT_ONCE, LATEST, PROGRESS, RUNNING
from app.layout import waiting_input
from app.panels.what_if import what_if_layers, what_if_panel
from app.results import Result
from app.server.decoding import room_for
from app.viewer import file_of, shows, slot
from app.widgets.x_form import XForm, x_options
from ktb.analysis.comparison import difference
from ktb.analysis.counterfactual import Perturbation, predict_perturbed
from ktb.inputs import EncodedX

if TYPE_CHECKING:
    from ktb import Predictor

MAX_SHIFT = 32
SWITCHES = [("None", ""), ("X", "x"), ("RGB image", "rgb")]
DEFAULTS = ("", 0, 0, 0, 0, None)
"""Initial values of the controls: ablation, shifts right and down, darkening in %, blur, another X."""
UNCHANGED = '<p class="ktb-note">Change at least one control: the network runs again at once.</p>'
SHOW = {"overlay": "labels.fused", "compare": "layer.what_if"}


class WhatIf:
    """The tab's handlers."""

    def __init__(self, context: Context):
        self.service, self.store, self.viewer = context.service, context.store, context.viewer

    @shows_errors
    def run(self, request: gr.Request, off, right, down, dark, blur, files, *values, progress=PROGRESS):
        """Run the network on the changed pair; a control that is back at its start is no change."""
        self.store.remember_uploads(request.session_hash, files or [])
        result = base_run(self.store.result(request.session_hash))
        predictor = self.service.predictor(result.offered_as)
        change = Perturbation(
            drop=off or None,
            shift_xy=(int(right or 0), int(down or 0)),
            darken=(dark or 0) / 100,
            blur_sigma=blur or 0,
            swap=self._other_x(predictor, result, files, values) if files and off != "x" else None,
        )
        if not change.words:
            return UNCHANGED, self._shown(request, result, [], {"overlay": "labels.fused", "compare": "none"})
        progress(0.2, desc="Running the network on the changed pair")
        after = predict_perturbed(predictor, change, result.rgb, result.prediction.x)
        found = difference(result.prediction, after)
        layers = what_if_layers(change, after, found)
        return what_if_panel(result, change, after, found), self._shown(request, result, layers, SHOW)

    def keep(self, request: gr.Request, files: list[str] | None):
        """Record the upload of another X."""
        self.store.remember_uploads(request.session_hash, files or [])

    def _shown(self, request: gr.Request, result: Result, layers: list, show: dict[str, str]) -> str:
        return self.viewer.layers(request.session_hash, "what_if", result, layers, show=show)

    def _other_x(self, predictor: Predictor, result: Result, files: list[str], values: tuple) -> EncodedX:
        options = x_options(XForm(*values))
        service, files = self.service, [self.service.opened(path) for path in files]
        with service.room.take(room_for(*files)):
            return predictor.read(service.decoded.x(files, options), result.rgb.shape[:2], options)


def build(context: Context) -> None:
    """Lay out the tab and wire it."""
    tab = WhatIf(context)
    with gr.Tab("What if", id="what-if"):
        with gr.Group(elem_id="ktb-change"):
            with gr.Row():
                off = gr.Radio(SWITCHES, value="", label="Sensor off", elem_id="ktb-off", min_width=220)
                dark = _slider(0, 100, 1, "Darken the RGB image (%)", "ktb-dark")
                blur = _slider(0, 16, 0.5, "Blur the RGB image (px)", "ktb-blur")
            with gr.Row():
                right = _slider(-MAX_SHIFT, MAX_SHIFT, 1, "Shift X horizontally (px)", "ktb-move-right")
                down = _slider(-MAX_SHIFT, MAX_SHIFT, 1, "Shift X vertically (px)", "ktb-move-down")
        with gr.Row(elem_id="ktb-change-buttons", equal_height=True):
            files = FilesInput(
                label="Another X for this RGB image, read with the options on the left",
                type="filepath",
                file_count="multiple",
                height=110,
                elem_id="ktb-other-x",
                scale=3,
            )
            reset = gr.Button("Reset", min_width=120, elem_id="ktb-reset-change", scale=1)
        with gr.Column():
            waiting = waiting_input("ktb-what-if-waiting")
            slot("what-if", "Nothing to change yet", "Run a pair first.")
            drawn = gr.HTML(UNCHANGED, elem_id="ktb-what-if")
        layers = file_of("what-if")
    controls = [off, right, down, dark, blur, files]
    given, answer = [*controls, *context.given[4:]], [drawn, layers]
    changed = gr.on(
        [off.input, *(slider.release for slider in (right, down, dark, blur)), files.upload, files.clear],
        tab.run,
        given,
        answer,
        trigger_mode="always_last",
        show_progress_on=waiting,
        **RUNNING,
    )
    shows(changed, layers)
    files.upload(tab.keep, files, None, **AT_ONCE)
    back = reset.click(lambda: (*DEFAULTS, UNCHANGED), None, [*controls, drawn], **LATEST)
    back.then(None, js="() => window.ktbSet({ overlay: 'labels.fused', compare: 'none' })", **AT_ONCE)
    context.changed.change(lambda: (*DEFAULTS, UNCHANGED), None, [*controls, drawn], **LATEST)


def _slider(low: float, high: float, step: float, label: str, name: str) -> gr.Slider:
    return gr.Slider(low, high, 0, step=step, label=label, min_width=260, elem_id=name)
