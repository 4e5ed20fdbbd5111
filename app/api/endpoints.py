"""The page's actions as stateless endpoints of the HTTP API: files and options in, results out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import get_args

import gradio as gr

from app.api.calls import Calls
from app.api.compare import ChangeApi
from app.api.delivery import Delivery
from app.api.inspect import InspectApi
from app.api.run import RunApi
from app.api.video import SequenceApi
from app.gradio_ext.components import FilesInput
from app.server.sessions import SessionStore
from app.service import Service, XSource
from app.video import ONE_AT_A_TIME
from app.widgets.downloads import EXPORTS
from ktb.analysis.ground_truth import Numbering
from ktb.analysis.targets import TargetKind
from ktb.video.drawing import VIEWS
from ktb.video.encoding import Container
from ktb.video.run import SequenceOptions
from ktb.video.video_source import MAX_FPS

NETWORK = {"concurrency_limit": 1, "concurrency_id": "network"}


def wire_api(service: Service, store: SessionStore, rgb: gr.Image, x_files: gr.File) -> None:
    """Register the endpoints, each named after its function, with the fields of its parameters' names."""
    fields = {"rgb": rgb, "x": x_files, **_fields(service.models)}
    output, button = gr.JSON(visible=False, label="answer"), gr.Button(visible=False)
    calls = Calls(service, store)
    run, inspection, change = RunApi(calls), InspectApi(calls), ChangeApi(calls)
    single: tuple[Callable, ...] = (
        run.segment, run.read_x, run.align, run.agreement, run.export, inspection.inspect, inspection.maps,
        inspection.attribute, change.what_if, change.sensors, change.compare, change.truth,
    )  # fmt: skip
    endpoints = [(function, NETWORK) for function in single]
    for function, turn in [*endpoints, (SequenceApi(calls).sequence, ONE_AT_A_TIME)]:
        inputs = [fields[name] for name in inspect.signature(function).parameters]
        button.click(function, inputs, output, api_name=function.__name__, **turn)
    button.click(run.models, None, output, api_name="models")


def _fields(models: list[str]) -> dict[str, gr.components.Component]:
    """Hidden components that define the types and defaults of the parameters.

    The endpoint itself refuses an invalid choice, so that the call's uploads are deleted.
    """
    choices = {
        "model": (models, models[0]),
        "x_source": (get_args(XSource), "file"),
        "target": (get_args(TargetKind), "pixel"),
        "numbering": (get_args(Numbering), "auto"),
        "other": (models, models[-1]),
        "kind": ((*EXPORTS, "json"), "html"),
        "files": (get_args(Delivery), "url"),
        "container": (get_args(Container), "webm"),
    }
    fields: dict[str, gr.components.Component] = {
        name: gr.Dropdown(list(offered), value=start, allow_custom_value=True, visible=False, label=name)
        for name, (offered, start) in choices.items()
    }
    for name in ("options", "change"):
        fields[name] = gr.JSON({}, visible=False, label=name)
    for name, start in (("row", 0), ("column", 0), ("level", 2), ("head", -1)):
        fields[name] = gr.Number(start, precision=0, visible=False, label=name)
    for name in ("label_picture", "calibration", "recording", "x_video"):
        fields[name] = FilesInput(visible=False, label=name)
    views = list(SequenceOptions.layout)
    return fields | {
        "ply": gr.Checkbox(False, visible=False, label="ply"),
        "class_name": gr.Textbox("", visible=False, label="class_name"),
        "other_x": FilesInput(file_count="multiple", visible=False, label="other_x"),
        "views": gr.CheckboxGroup(list(VIEWS), value=views, visible=False, label="views"),
        "fps": gr.Number(0, minimum=0, maximum=MAX_FPS, visible=False, label="fps"),
    }
