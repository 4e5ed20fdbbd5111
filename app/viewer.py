"""The page's viewer: bundles of a session's run, which the browser draws (app/static/page.js)."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import gradio as gr
import numpy as np

from app.gradio_ext.events import HIDDEN
from app.results import Result
from app.server.private_files import PrivateFiles
from app.widgets.stored_results import stored_bundle
from ktb.inference.prediction import Prediction
from ktb.outputs.bundle import (
    Bundle,
    ablation_bundle,
    details_bundle,
    layers_bundle,
    make_bundle,
    stored_size,
)
from ktb.outputs.layers import Layer

COMPRESSION = 1  # of gzip: half the size in a third of a second
SHOW = "(file) => window.ktbShow(file)"
ADD = "(file) => window.ktbAdd(file)"
EMPTY = """<div class="ktb-empty"><b>{}</b><span>{}</span></div>"""


@dataclass(frozen=True)
class ViewerFiles:
    """Writes bundles for sessions; `run` in their header says which run they belong to.

    Each method returns the path of its file; None if the session was closed meanwhile.
    """

    files: PrivateFiles

    def run(self, session: str, result: Result) -> str | None:
        """Write the bundle of a session's run without its details, which take longer: `details` adds them."""
        return self._write(session, "run", run_bytes(result, with_details=False))

    def details(self, session: str, result: Result) -> str | None:
        """Write a bundle that adds confidences, maps and attention to the run."""
        made = details_bundle(stored(result), result.inspection)
        return self._write(session, "details", _bytes(made, result))

    def stored(self, session: str, result: Result, preview: np.ndarray) -> str | None:
        """Write the bundle of a stored result of an example; `preview` is X as a picture."""
        return self._write(session, "stored", _bytes(stored_bundle(result, preview), result))

    def ablations(self, session: str, result: Result) -> str | None:
        """Write a bundle that adds the ablations to the run."""
        ablated = {drop: stored_prediction(other) for drop, other in result.ablated.items()}
        made = ablation_bundle(stored(result), ablated, result.inspection)
        return self._write(session, "ablations", _bytes(made, result))

    def layers(
        self, session: str, name: str, result: Result, layers: Sequence[Layer], **header: Any
    ) -> str | None:
        """Write a bundle that adds layers to the run.

        Args:
            name: of the file; it replaces the session's earlier file of that name.
            header: further entries of the header; `show` is the state that the viewer changes to.
        """
        made = layers_bundle(layers, result.rgb.shape[:2], **header)
        return self._write(session, name, _bytes(made, result))

    def _write(self, session: str, name: str, data: bytes) -> str | None:
        path = self.files.write_if_open(session, f"{name}.safetensors.gz", data)
        return None if path is None else str(path)


def run_bytes(result: Result, with_details: bool = True) -> bytes:
    """The compressed bundle of a run, with the ablations that were made so far."""
    prediction = stored(result)
    ablated = {drop: stored_prediction(other) for drop, other in result.ablated.items()}
    rgb = result.rgb
    if prediction is not result.prediction:
        rgb = cv2.resize(rgb, prediction.size_hw[::-1], interpolation=cv2.INTER_AREA)
    made = make_bundle(
        rgb, prediction, inspection=result.inspection, ablated=ablated, with_details=with_details
    )
    height, width = result.prediction.size_hw
    return _bytes(replace(made, header={**made.header, "size": {"height": height, "width": width}}), result)


def stored(result: Result) -> Prediction:
    """The prediction of a result at the size that a bundle stores."""
    return stored_prediction(result.prediction)


def stored_prediction(prediction: Prediction) -> Prediction:
    """A prediction, or a regular sample of a lazy one, at the size that a bundle stores."""
    return prediction.sampled(stored_size(prediction.size_hw)) if prediction.is_lazy else prediction


def file_of(name: str) -> gr.File:
    """A component that passes a bundle to the page's script."""
    return gr.File(visible="hidden", elem_id=f"ktb-file-{name}")


def slot(name: str, title: str, text: str) -> gr.HTML:
    """A place of the viewer in a tab: the script moves it to the open tab. Before the first run, a hint."""
    content = f'<div class="ktb-slot" data-slot="{name}">{EMPTY.format(title, text)}</div>'
    return gr.HTML(content, elem_id=f"ktb-slot-{name}", elem_classes="ktb-slot-block")


def shows(event: Any, file: gr.File, js: str = ADD) -> Any:
    """Let the viewer show the file when an event succeeds; returns the event of the script."""
    return event.success(None, file, None, js=js, trigger_mode="always_last", **HIDDEN)


def _bytes(bundle: Bundle, result: Result) -> bytes:
    marked = replace(bundle, header={**bundle.header, "run": result.id})
    return gzip.compress(marked.to_bytes(), COMPRESSION)
