"""The inspect tab: the viewer of the session's run, which computes and draws in the browser."""

from __future__ import annotations

import gzip

import gradio as gr

from app.context import Context
from app.gradio_ext.events import RUNNING
from app.handlers import PROGRESS, shows_errors
from app.layout import waiting_input
from app.results import Result
from app.tabs.what_if import base_run
from ktb.analysis.counterfactual import Perturbation, predict_perturbed
from ktb.outputs.bundle import make_bundle

NAME = "run.safetensors.gz"
COMPRESSION = 1  # half the size in a third of a second
EMPTY = """<div class="ktb-empty"><b>Nothing to inspect yet</b>
<span>Press Run. Then move the pointer over an image to read it, and click a pixel to see what its class rests
on.</span></div>"""
SHOW = "(file) => { window.ktbShowBundle(file); }"  # app/static/inspect.js


class Inspect:
    """The tab's handlers."""

    def __init__(self, context: Context):
        self.service, self.store, self.files = context.service, context.store, context.files

    def draw(self, request: gr.Request):
        """Write the bundle of the session's run, which the page's script shows."""
        result = self.store.result(request.session_hash)
        if result is None:
            return gr.skip(), gr.skip()
        can_ablate = not result.x_is_missing and not result.ablated
        return self._bundle(request, result), gr.update(visible=can_ablate)

    @shows_errors
    def ablate(self, request: gr.Request, progress=PROGRESS):
        """Run the network without X and without the RGB image, and write the bundle with both results."""
        result = base_run(self.store.result(request.session_hash))
        if result.x_is_missing:
            raise ValueError("this run has no X: with one sensor there is nothing to ablate.")
        predictor = self.service.predictor(result.offered_as)
        for place, drop in enumerate(("x", "rgb")):
            progress(0.1 + 0.4 * place, desc=f"Running the network without {'RGB' if drop == 'rgb' else 'X'}")
            change = Perturbation(drop=drop)
            result.ablated[drop] = predict_perturbed(predictor, change, result.rgb, result.prediction.x)
        self.store.keep_result(request.session_hash, result)  # its size has changed
        progress(0.9, desc="Sending")
        return self._bundle(request, result), gr.update(visible=False)

    def _bundle(self, request: gr.Request, result: Result) -> str:
        made = make_bundle(
            result.rgb, result.prediction, inspection=result.inspection, ablated=result.ablated
        )
        data = gzip.compress(made.to_bytes(), COMPRESSION)
        return str(self.files.write(request.session_hash, NAME, data))


def build(context: Context) -> None:
    """Lay out the tab and wire it."""
    inspect = Inspect(context)
    with gr.Tab("Inspect", id="inspect") as tab:
        waiting = waiting_input("ktb-inspect-waiting")
        ablate = gr.Button("Ablate each sensor: what does each pixel rest on?", visible=False,
                           elem_id="ktb-inspect-ablate")  # fmt: skip
        gr.HTML(EMPTY, elem_id="ktb-inspect")
        file = gr.File(visible="hidden", elem_id="ktb-inspect-file")
    context.draws(tab, inspect.draw, [], [file, ablate])
    ablate.click(inspect.ablate, None, [file, ablate], show_progress_on=waiting, **RUNNING)
    file.change(None, file, None, js=SHOW, api_visibility="private")
