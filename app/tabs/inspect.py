"""The inspect tab: the viewer of the session's run, the ablations that it asks for, and attribution."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, get_args

import gradio as gr

from app.context import Context
from app.errors import base_run, shows_errors
from app.gradio_ext.events import PROGRESS, RUNNING
from app.layout import waiting_input
from app.results import Result
from app.viewer import file_of, shows, slot, stored, stored_prediction
from ktb.analysis.comparison import region_effect
from ktb.analysis.counterfactual import Perturbation, predict_perturbed
from ktb.analysis.describe import describe_attribution, describe_region
from ktb.analysis.targets import TargetKind, target_at
from ktb.inference.prediction import Drop
from ktb.inference.region import region_mask
from ktb.outputs.layers import attribution_layer, region_layer
from ktb.utils.text import percent

TITLE = "Nothing to inspect yet"
TEXT = """Choose an example, or upload an RGB image and its X and press <i>Run</i>. Then click any pixel
to see what its class rests on."""
NO_X = "this run has no X: with one sensor there is nothing to ablate. Upload an X and run the pair."
SEND_QUESTION = "window.ktbAsk = (asked) => { props.value = asked; trigger('input'); };"  # for page.js
SEND_REGION = SEND_QUESTION.replace("ktbAsk", "ktbAskRegion")


@dataclass(frozen=True)
class Question:
    """What a visitor asks about a pixel of the viewer.

    Attributes:
        at: (y, x), fractions of the image.
        pixel: (row, column) of the stored image, as the viewer counts.
        about: the pixel, its region or its class.
    """

    at: tuple[float, float]
    pixel: tuple[int, int]
    about: TargetKind

    @classmethod
    def read(cls, text: str) -> Question:
        """Parse what the page's script sends; ValueError for anything else."""
        try:
            given = json.loads(text)
            y, x = (float(part) for part in given["at"])
            row, column = (int(part) for part in given["pixel"])
            about = given["about"]
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            raise ValueError("the question about a pixel is not readable. Click the pixel again.") from error
        if not (0 <= y <= 1 and 0 <= x <= 1) or math.isnan(y + x) or about not in get_args(TargetKind):
            raise ValueError(
                "the asked place must be two fractions from 0 to 1, about a pixel, region or class."
            )
        return cls((y, x), (row, column), about)

    def in_image(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """The pixel (y, x) of an image of a size (height, width)."""
        y, x = (min(int(part * side), side - 1) for part, side in zip(self.at, size_hw))
        return y, x


@dataclass(frozen=True)
class RegionQuestion:
    """What a visitor asks about a rectangle of the viewer.

    Attributes:
        rectangle: (left, top, right, bottom), fractions of the image.
        drop: the sensor to ablate there.
    """

    rectangle: tuple[float, float, float, float]
    drop: Drop

    @classmethod
    def read(cls, text: str) -> RegionQuestion:
        """Parse what the page's script sends; ValueError for anything else."""
        try:
            given = json.loads(text)
            left, top, right, bottom = (float(part) for part in given["rectangle"])
            drop = given["drop"]
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
            raise ValueError("the question about a region is not readable. Draw the region again.") from error
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1) or drop not in get_args(Drop):
            raise ValueError(
                "the region must be four fractions from 0 to 1, left < right and top < bottom, and the "
                "sensor rgb or x. Draw the region again."
            )
        return cls((left, top, right, bottom), drop)

    def in_image(self, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
        """The rectangle in pixels of an image of a size (height, width), at least one pixel."""
        height, width = size_hw
        left, top = (min(round(part * side), side - 1) for part, side in zip(self.rectangle, (width, height)))
        right, bottom = (round(part * side) for part, side in zip(self.rectangle[2:], (width, height)))
        return left, top, max(right, left + 1), max(bottom, top + 1)


class Inspect:
    """The tab's handlers."""

    def __init__(self, context: Context):
        self.service, self.store, self.viewer = context.service, context.store, context.viewer

    @shows_errors
    def ablate(self, request: gr.Request, progress=PROGRESS):
        """Run the network without X and without the RGB image, and add both results to the viewer."""
        result = base_run(self.store.result(request.session_hash))
        if result.x_is_missing:
            raise ValueError(NO_X)
        predictor = self.service.predictor(result.offered_as)
        for place, drop in enumerate(("x", "rgb")):
            if drop not in result.ablated:
                progress(
                    0.1 + 0.4 * place, desc=f"Running the network without {'RGB' if drop == 'rgb' else 'X'}"
                )
                change = Perturbation(drop=drop)
                result.ablated[drop] = predict_perturbed(predictor, change, result.rgb, result.prediction.x)
        self.store.keep_result(request.session_hash, result)  # its size has changed
        return self.viewer.ablations(request.session_hash, result)

    def ablate_if_free(self, request: gr.Request):
        """As `ablate`, if nobody else waits for the network, which is not lent, and the run has an X."""
        result = self.store.result(request.session_hash)
        if (
            result is None
            or result.x_is_missing
            or result.prediction.is_lazy
            or self.service.is_lent  # each run takes from the visitor's quota
            or not self.service.scheduler.is_free
        ):
            return None
        return self.ablate(request, progress=lambda *_, **__: None)

    @shows_errors
    def attribute(self, request: gr.Request, asked: str, progress=PROGRESS):
        """Run the network with gradients for the pixel, its region or its class."""
        question = Question.read(asked)
        result = base_run(self.store.result(request.session_hash))
        progress(0.2, desc="Computing the attribution")
        at = question.in_image(result.prediction.size_hw)
        target = target_at(result.prediction.labels["fused"], at, question.about)
        predictor = self.service.predictor(result.offered_as)
        found = predictor.attribute(result.rgb, result.prediction.x, target)
        answer = {
            "pixel": question.pixel,
            "title": f"What this {question.about} reacts to",
            "sentences": [describe_attribution(found, "X"), _area(result, target)],
        }
        return self.viewer.layers(
            request.session_hash, "attribution", result, [attribution_layer(found)],
            attribution=answer, show={"overlay": "layer.attribution", "compare": "none", "opacity": 0.8},
        )  # fmt: skip

    @shows_errors
    def ablate_region(self, request: gr.Request, asked: str, progress=PROGRESS):
        """Run the network with a sensor ablated inside the asked rectangle."""
        question = RegionQuestion.read(asked)
        result = base_run(self.store.result(request.session_hash))
        if result.x_is_missing:
            raise ValueError(NO_X)
        name = "RGB" if question.drop == "rgb" else "X"
        progress(0.2, desc=f"Running the network without {name} in the region")
        region = question.in_image(result.prediction.size_hw)
        predictor = self.service.predictor(result.offered_as)
        change = Perturbation(drop=question.drop, region=region)
        without = stored_prediction(predict_perturbed(predictor, change, result.rgb, result.prediction.x))
        shown = stored(result)  # a sample of a large image, as the viewer shows it
        mask = region_mask(question.in_image(shown.size_hw), shown.size_hw)
        found = region_effect(shown, without, mask, question.drop)
        answer = {
            "rectangle": question.rectangle,
            "drop": question.drop,
            "sentence": describe_region(found),
        }
        return self.viewer.layers(
            request.session_hash, "region", result, [region_layer(without, question.drop, region)],
            region=answer, show={"overlay": "layer.region", "compare": "none"},
        )  # fmt: skip


def _area(result: Result, target: Any) -> str:
    """What the score is of: one position, or how many pixels."""
    if target.region is None and target.kind == "pixel":
        return "The score is that of the position of a quarter of the network's size that contains the pixel."
    labels = result.prediction.labels["fused"]
    area = target.region if target.region is not None else labels == target.class_index
    share = percent(float(area.mean()))
    return f"The score is the mean over {int(area.sum()):,} pixels ({share} of the image)."


@dataclass(frozen=True)
class InspectTab:
    """The components of the tab that the page's handlers change.

    Attributes:
        waiting: shows the status of a run.
        file, layers: pass the bundle of a run, and what is added to it, to the viewer.
        handlers: the tab's handlers.
    """

    waiting: gr.HTML
    file: gr.File
    layers: gr.File
    handlers: Inspect


def build(context: Context) -> InspectTab:
    """Lay out the tab and wire it."""
    inspect = Inspect(context)
    with gr.Tab("Inspect", id="inspect"), gr.Column():
        waiting = waiting_input("ktb-waiting")
        slot("inspect", TITLE, TEXT)
        file, layers = file_of("run"), file_of("layers")
        measure = gr.Button("Switch each sensor off", visible="hidden", elem_id="ktb-measure")
        question = gr.HTML("", elem_id="ktb-question", js_on_load=SEND_QUESTION)
        region = gr.HTML("", elem_id="ktb-region", js_on_load=SEND_REGION)
    busy = {"show_progress_on": waiting, **RUNNING}
    shows(measure.click(inspect.ablate, None, layers, **busy), layers)
    shows(question.input(inspect.attribute, question, layers, **busy), layers)
    shows(region.input(inspect.ablate_region, region, layers, **busy), layers)
    return InspectTab(waiting, file, layers, inspect)
