"""The page's actions as endpoints of the HTTP API: each takes files and options, runs, and keeps nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import get_args

import gradio as gr

from app.api.calls import Calls
from app.api.compare import ChangeApi
from app.api.inspect import InspectApi
from app.api.run import RunApi
from app.api.video import SequenceApi
from app.gradio_ext.components import FilesPlace
from app.server.sessions import SessionStore
from app.service import Service, XSource
from app.video import ONE_AT_A_TIME
from app.widgets.downloads import EXPORTS
from ktb.analysis.ground_truth import Numbering
from ktb.analysis.targets import TargetKind
from ktb.video.drawing import VIEWS
from ktb.video.run import SequenceOptions
from ktb.video.video_source import MAX_FPS

NETWORK = {"concurrency_limit": 1, "concurrency_id": "network"}


def wire_api(service: Service, store: SessionStore, rgb: gr.Image, x_files: gr.File) -> None:
    """Make every endpoint, named like its function; its parameters are the fields of the same names."""
    fields = {"rgb": rgb, "x": x_files, **_fields(service.models)}
    answer, button = gr.JSON(visible=False, label="answer"), gr.Button(visible=False)
    calls = Calls(service, store)
    run, look, change = RunApi(calls), InspectApi(calls), ChangeApi(calls)
    single: tuple[Callable, ...] = (
        run.segment, run.read_x, run.align, run.agreement, run.export, look.inspect, look.maps,
        look.attribute, change.what_if, change.sensors, change.compare, change.truth,
    )  # fmt: skip
    endpoints = [(function, NETWORK) for function in single]
    for function, turn in [*endpoints, (SequenceApi(calls).sequence, ONE_AT_A_TIME)]:
        inputs = [fields[name] for name in inspect.signature(function).parameters]
        button.click(function, inputs, answer, api_name=function.__name__, **turn)
    button.click(run.models, None, answer, api_name="models")


def _fields(models: list[str]) -> dict[str, gr.components.Component]:
    """Hidden components, which give the parameters their types and defaults.

    A choice that is not offered is refused by the endpoint itself, which then deletes the call's uploads.
    """
    choices = {
        "model": (models, models[0]),
        "x_source": (get_args(XSource), "file"),
        "target": (get_args(TargetKind), "pixel"),
        "numbering": (get_args(Numbering), "stored"),
        "other": (models, models[-1]),
        "kind": ((*EXPORTS, "json"), "html"),
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
        fields[name] = FilesPlace(visible=False, label=name)
    views = list(SequenceOptions.layout)
    return fields | {
        "class_name": gr.Textbox("", visible=False, label="class_name"),
        "other_x": FilesPlace(file_count="multiple", visible=False, label="other_x"),
        "views": gr.CheckboxGroup(list(VIEWS), value=views, visible=False, label="views"),
        "fps": gr.Number(0, minimum=0, maximum=MAX_FPS, visible=False, label="fps"),
    }
