"""The what-if tab: run the session's pair with a sensor ablated or degraded, or X shifted or swapped."""

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
SWITCHES = [("Both sensors", ""), ("X off", "x"), ("RGB off", "rgb")]
SLIDERS: tuple[tuple[str, str, float, float, float], ...] = (
    ("ktb-missing", "X: pixels missing (%)", 0, 100, 1),
    ("ktb-holes", "X: holes (%)", 0, 100, 1),
    ("ktb-noise", "X: noise (%)", 0, 50, 1),
    ("ktb-dead", "X: dead sector (%)", 0, 100, 1),
    ("ktb-move-right", "X: shift right (px)", -MAX_SHIFT, MAX_SHIFT, 1),
    ("ktb-move-down", "X: shift down (px)", -MAX_SHIFT, MAX_SHIFT, 1),
    ("ktb-dark", "RGB: darker (%)", 0, 100, 1),
    ("ktb-blur", "RGB: blur (px)", 0, 16, 0.5),
)
"""elem_id, label, lowest and highest value, and step of each slider."""
UNCHANGED = '<p class="ktb-note">Change at least one control: the network runs again at once.</p>'
NAMES = ("what_if", "what_if_pixels")
NOTHING = {"overlay": "labels.fused", "compare": "none"}
SHOW = {"overlay": "labels.fused", "compare": "layer.what_if"}


class WhatIf:
    """The tab's handlers."""

    def __init__(self, context: Context):
        self.service, self.store, self.viewer = context.service, context.store, context.viewer

    @shows_errors
    def run(self, request: gr.Request, off, *values, progress=PROGRESS):
        """Run the network on the changed pair; a control that is back at its start is no change."""
        numbers, files, values = values[: len(SLIDERS)], values[len(SLIDERS)], values[len(SLIDERS) + 1 :]
        missing, holes, noise, dead, right, down, dark, blur = (number or 0 for number in numbers)
        self.store.remember_uploads(request.session_hash, files or [])
        result = base_run(self.store.result(request.session_hash))
        predictor = self.service.predictor(result.offered_as)
        change = Perturbation(
            drop=off or None,
            shift_xy=(int(right), int(down)),
            darken=dark / 100,
            blur_sigma=blur,
            missing=missing / 100,
            holes=holes / 100,
            noise=noise / 100,
            dead_sector=dead / 100,
            swap=self._other_x(predictor, result, files, values) if files and off != "x" else None,
        )
        if not change.words:
            return UNCHANGED, self._shown(request, result, [], NOTHING)
        progress(0.2, desc="Running the network on the changed pair")
        after = predict_perturbed(predictor, change, result.rgb, result.prediction.x)
        found = difference(result.prediction, after)
        layers = what_if_layers(change, after, found)
        return what_if_panel(result, change, after, found), self._shown(request, result, layers, SHOW)

    def keep(self, request: gr.Request, files: list[str] | None):
        """Record the upload of another X."""
        self.store.remember_uploads(request.session_hash, files or [])

    def _shown(self, request: gr.Request, result: Result, layers: list, show: dict[str, str]) -> str:
        return self.viewer.layers(request.session_hash, "what_if", result, layers, show=show, remove=NAMES)

    def _other_x(self, predictor: Predictor, result: Result, files: list[str], values: tuple) -> EncodedX:
        options = x_options(XForm(*values))
        service, files = self.service, [self.service.opened(path) for path in files]
        with service.room.take(room_for(*files)):
            return predictor.read(service.decoded.x(files, options), result.rgb.shape[:2], options)


def build(context: Context) -> None:
    """Lay out the tab and wire it."""
    tab = WhatIf(context)
    with gr.Tab("What if", id="what-if"):
        with gr.Row(elem_id="ktb-change"):
            sliders = [
                gr.Slider(low, high, 0, step=step, label=label, min_width=190, elem_id=name)
                for name, label, low, high, step in SLIDERS
            ]
        with gr.Row(elem_id="ktb-change-buttons"):
            off = gr.Radio(
                SWITCHES, value="", label="Sensor off", container=False, elem_id="ktb-off", scale=3
            )
            reset = gr.Button("Reset", size="sm", min_width=90, elem_id="ktb-reset-change", scale=0)
        with gr.Accordion("Swap in another X", open=False, elem_id="ktb-swap"):
            files = FilesInput(
                label="Another X for this RGB image, read with the options on the left",
                type="filepath",
                file_count="multiple",
                height=110,
                elem_id="ktb-other-x",
            )
        with gr.Column():
            waiting = waiting_input("ktb-what-if-waiting")
            slot("what-if", "Nothing to change yet", "Run a pair first.")
            drawn = gr.HTML(UNCHANGED, elem_id="ktb-what-if")
        layers = file_of("what-if")
    controls, defaults = [off, *sliders, files], ("", *[0] * len(sliders), None, UNCHANGED)
    given, answer = [*controls, *context.given[4:]], [drawn, layers]
    changed = gr.on(
        [off.input, *(slider.release for slider in sliders), files.upload, files.clear],
        tab.run,
        given,
        answer,
        trigger_mode="always_last",
        show_progress_on=waiting,
        **RUNNING,
    )
    shows(changed, layers)
    files.upload(tab.keep, files, None, **AT_ONCE)
    back = reset.click(lambda: defaults, None, [*controls, drawn], **LATEST)
    back.then(None, js="() => window.ktbSet({ overlay: 'labels.fused', compare: 'none' })", **AT_ONCE)
    context.changed.change(lambda: defaults, None, [*controls, drawn], **LATEST)
