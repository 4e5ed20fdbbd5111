"""Ground truth: score the masks against a label image."""

from __future__ import annotations

import zlib

import gradio as gr

from app.context import Context
from app.gradio_ext.components import FilesInput
from app.gradio_ext.events import LATEST
from app.panels.ground_truth import NO_TRUTH, NUMBERING_NAMES, truth_layers, truth_panel
from app.panels.x_input import error_box
from app.results import Result
from app.server.decoding import room_for
from app.viewer import file_of, shows, slot
from ktb.analysis.ground_truth import GroundTruth, read_truth, usual_counting

NUMBERINGS = [
    ("as the checkpoint's dataset counts", "auto"),
    *((name, counting) for counting, name in NUMBERING_NAMES.items()),
]
REMOVED = """<div class="ktb-warn" role="status"><p>The label image of the previous RGB image was removed.
Upload the one for this RGB image.</p></div>"""
NAMES = ("truth", "errors", "effect_rgb", "effect_x")
NOTHING = {"overlay": "labels.fused", "compare": "none"}
SHOW = {"overlay": "layer.errors", "compare": "layer.truth"}


class Truth:
    """The tab's handlers."""

    def __init__(self, context: Context):
        self.service, self.store, self.viewer = context.service, context.store, context.viewer

    def compare(self, request: gr.Request, path: str | None, numbering: str, known: int | None):
        """Score the session's run; `known` is the fingerprint of the RGB image that the labels belong to."""
        result = self.store.result(request.session_hash)
        if path:
            self.store.remember_uploads(request.session_hash, [path])
        if result is None or not path:
            return NO_TRUTH, known if path else None, self._without(request, result)
        try:
            truth = self._read(result, path, numbering)
        except ValueError as error:
            return error_box(str(error)), _fingerprint(result), self._without(request, result)
        layers = truth_layers(result, truth)
        file = self.viewer.layers(request.session_hash, "truth", result, layers, show=SHOW)
        return truth_panel(result, truth), _fingerprint(result), file

    def after_run(self, request: gr.Request, path: str | None, numbering: str, known: int | None):
        """Score a new run of the same RGB image; the labels of another image are removed."""
        result = self.store.result(request.session_hash)
        if result is None or not path:
            return NO_TRUTH, None, None, gr.skip()
        if known not in (None, _fingerprint(result)):
            return REMOVED, None, None, None  # the new run has no layers yet
        return *self.compare(request, path, numbering, known), gr.skip()

    def _without(self, request: gr.Request, result: Result | None) -> str | None:
        """The file that takes the layers of an earlier label image from the viewer."""
        if result is None:
            return None
        return self.viewer.layers(request.session_hash, "truth", result, [], remove=NAMES, show=NOTHING)

    def _read(self, result: Result, path: str, numbering: str) -> GroundTruth:
        path = self.service.opened(path)
        size, read = result.rgb.shape[:2], self.service.sandbox.read_label_picture
        usual = usual_counting(result.prediction.classes)
        with self.service.room.take(room_for(path)):
            return read_truth(path, size, result.prediction.palette, numbering, read=read, usual=usual)


def build(context: Context) -> None:
    """Lay out and wire the tab."""
    tab = Truth(context)
    with gr.Tab("Ground truth", id="truth"):
        with gr.Row(elem_id="ktb-truth-inputs"):
            file = FilesInput(
                label="True classes: a label PNG",
                type="filepath",
                file_types=["image"],
                height=150,
                elem_id="ktb-truth-file",
            )
            numbering = gr.Radio(
                NUMBERINGS,
                value="auto",
                label="Numbers in the label image",
                info="255 is not labelled. Colour images are read with the checkpoint's palette.",
                elem_id="ktb-truth-numbering",
            )
        slot("truth", "Nothing to score yet", "Run a pair first.")
        drawn = gr.HTML(NO_TRUTH, elem_id="ktb-truth")
        layers = file_of("truth")
        scored = gr.State(None)  # fingerprint of the RGB image that the label image belongs to
    given, answer = [file, numbering, scored], [drawn, scored, layers]
    changed = gr.on([file.upload, file.clear, numbering.input], tab.compare, given, answer, **LATEST)
    after = context.changed.change(tab.after_run, given, [*answer, file], **LATEST)
    for event in (changed, after):
        shows(event, layers)


def _fingerprint(result: Result) -> int:
    return zlib.crc32(result.rgb.tobytes(), result.rgb.shape[1])
