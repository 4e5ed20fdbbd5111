"""The page's actions as endpoints of the HTTP API: each takes files and options, runs, and keeps nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import gradio as gr

from app.api_calls import Calls
from app.api_change import ChangeApi
from app.api_inspect import InspectApi
from app.api_run import RunApi
from app.export import EXPORTS
from app.service import Service
from app.sessions import SessionStore


def wire_api(
    service: Service, store: SessionStore, rgb: gr.Image, x_files: gr.File, model: gr.Dropdown
) -> None:
    """Hidden components give the parameters their types; every endpoint is named like its function."""
    fields: dict[str, gr.components.Component] = {"rgb": rgb, "x": x_files, "model": model}
    fields["options"] = gr.JSON({}, visible=False, label="options")
    fields["x_source"] = gr.Textbox("file", visible=False, label="x_source")
    for name, start in (("row", 0), ("column", 0), ("level", 2), ("head", -1)):
        fields[name] = gr.Number(start, precision=0, visible=False, label=name)
    fields["class_name"] = gr.Textbox("", visible=False, label="class_name")
    fields["change"] = gr.JSON({}, visible=False, label="change")
    fields["other"] = gr.Dropdown(service.models, value=service.models[-1], visible=False, label="other")
    fields["kind"] = gr.Dropdown(list(EXPORTS), value="html", visible=False, label="kind")
    answer, button = gr.JSON(visible=False, label="answer"), gr.Button(visible=False)
    calls = Calls(service, store)
    one, look, change = RunApi(calls), InspectApi(calls), ChangeApi(calls)
    endpoints: tuple[Callable, ...] = (
        one.segment, one.read_x, look.inspect, look.maps, look.attribute, change.what_if, change.compare,
        one.export,
    )  # fmt: skip
    for function in endpoints:
        inputs = [fields[name] for name in inspect.signature(function).parameters]
        button.click(
            function,
            inputs,
            answer,
            api_name=function.__name__,
            concurrency_limit=1,
            concurrency_id="network",
        )
    button.click(one.models, None, answer, api_name="models")
