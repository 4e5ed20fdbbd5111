"""The truth tab: score the masks against a label image."""

from __future__ import annotations

import zlib
from functools import partial

import gradio as gr

from app.context import Context
from app.gradio_ext.components import FilesInput
from app.gradio_ext.events import direct
from app.panels.ground_truth import EMPTY, NO_TRUTH, NUMBERING_NAMES, truth_panel
from app.panels.x_input import error_box
from app.results import Result
from app.server.decoding import room_for
from app.service import Service
from ktb.analysis.ground_truth import read_truth, usual_counting

NUMBERINGS = [
    ("as the checkpoint's dataset counts", "auto"),
    *((name, counting) for counting, name in NUMBERING_NAMES.items()),
]
PUT_AWAY = """<div class="ktb-empty"><b>Another RGB image</b>
<span>The label image of the previous RGB image was removed. Upload the one for this RGB image.</span>
</div>"""


def build(context: Context) -> None:
    """Lay out and wire the tab."""
    with gr.Tab("Truth", id="truth") as tab:
        with gr.Row(elem_id="ktb-truth-inputs"):
            file = FilesInput(
                label="True classes (optional): a label PNG",
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
        shown = gr.HTML(EMPTY, elem_id="ktb-truth")
        scored = gr.State(None)  # fingerprint of the RGB image that the label image belongs to

    def compare(request: gr.Request, path: str | None, numbering: str, known: int | None):
        result = context.store.result(request.session_hash)
        if path:
            context.store.remember_uploads(request.session_hash, [path])
        if result is None:
            return EMPTY, known
        if not path:
            return NO_TRUTH, None
        path = context.service.opened(path)
        with context.service.room.take(room_for(path)):
            return _panel(context.service, result, path, numbering), _fingerprint(result)

    def after_run(request: gr.Request, path: str | None, numbering: str, known: int | None):
        result = context.store.result(request.session_hash)
        if result is None:
            return gr.skip()
        if path and known not in (None, _fingerprint(result)):
            return PUT_AWAY, None, None
        text, known = compare(request, path, numbering, known)
        return text, known, gr.skip()

    given = [file, numbering, scored]
    direct(partial(gr.on, [file.upload, file.clear, numbering.input]), compare, given, [shown, scored])
    context.draws(tab, after_run, given, [shown, scored, file])


def _panel(service: Service, result: Result, path: str, numbering: str) -> str:
    """The comparison, or an error message."""
    prediction = result.prediction
    try:
        size, read = result.rgb.shape[:2], service.sandbox.read_label_picture
        usual = usual_counting(prediction.classes)
        truth = read_truth(path, size, prediction.palette, numbering, read=read, usual=usual)
    except ValueError as error:
        return error_box(str(error))
    return truth_panel(result, truth)


def _fingerprint(result: Result) -> int:
    return zlib.crc32(result.rgb.tobytes(), result.rgb.shape[1])
