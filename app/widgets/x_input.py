"""The X side of the page: the source of X, its upload, and the fields that override how X is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.gradio_ext.components import FilesInput
from app.service import XSource
from app.settings import form_of
from app.texts import ANY_X, modality_choices, x_hint, x_label
from app.widgets.x_form import Fields, XForm, fields_for, units_of
from ktb.config import InputConfig
from ktb.inputs import XOptions
from ktb.inputs.depth_estimation import unavailable_reason

TIME_UNITS = [("automatic", "auto"), ("seconds", "s"), ("ms", "ms"), ("µs", "us"), ("ns", "ns")]
COLUMN_ORDERS = [
    ("automatic", "auto"),
    *((" ".join(order), order) for order in ("txyp", "xytp", "xypt", "tpxy")),
]
TURNS = [
    ("no", "auto"), ("as the RGB image's EXIF turns it", "exif"),
    ("90° clockwise", "90"), ("180°", "180"), ("270° clockwise", "270"),
]  # fmt: skip
CHANNELS = [("automatic", "auto"), ("colour (1 to 3)", "colour"), *((number, number) for number in "1234")]
BYTE_ORDERS = [("automatic", "auto"), ("as stored", "stored"), ("swapped", "swapped")]
HOT = [("automatic", "auto"), ("white", "white"), ("black", "black")]


def source_choices(inputs: InputConfig) -> list[tuple[str, XSource]]:
    """The sources of X; depth can be estimated for checkpoints of depth where the estimator is installed."""
    choices: list[tuple[str, XSource]] = [("Upload", "file"), ("None (RGB only)", "none")]
    if _may_be_depth(inputs) and not unavailable_reason():
        choices.append(("Estimate depth", "estimate"))
    return choices


def source_note(inputs: InputConfig) -> str:
    """Why depth cannot be estimated here; "" if it can, or if the checkpoint does not take depth."""
    reason = unavailable_reason() if _may_be_depth(inputs) else ""
    return f"Depth estimation is not available: {reason}." if reason else ""


def _may_be_depth(inputs: InputConfig) -> bool:
    return inputs is ANY_X or inputs.modality in ("depth", "hha")


@dataclass(frozen=True)
class XControls:
    """The components of the X side; `form` are those of `XForm`, in its order.

    `shown` is a State with the last updates of the `follow` components, and with the files of X that were
    there last as `x_files`; {}: unknown.
    """

    source: gr.Radio
    files: gr.File
    read: gr.HTML
    corrections: gr.Accordion
    unit: gr.Dropdown
    scale: gr.Textbox
    thermal: gr.Group
    camera: gr.Group
    stream: gr.Group
    table: gr.Group
    start: gr.Slider
    length: gr.Slider
    reset: gr.Button
    shown: gr.State
    form: XForm
    """An `XForm` of components in place of values."""

    @property
    def values(self) -> list[Any]:
        """The fields' components, as inputs of a handler."""
        return list(self.form)

    @property
    def follow(self) -> list[Any]:
        """The components that change with the X that was read, as outputs of a handler."""
        return [self.files, self.corrections, self.unit, self.scale, self.thermal, self.camera,
                self.stream, self.table, self.start, self.length]  # fmt: skip

    def updates(
        self, fields: Fields, is_file: bool, has_x: bool, unit: str, shown: dict[str, Any]
    ) -> dict[Any, Any]:
        """The updates of the `follow` components.

        shown: value of `self.shown`, changed in place, so that concurrent reads see it. Unchanged updates are
            not sent again: each takes Gradio a millisecond on the server, and more in the browser.
        """
        choices = [(text, key) for key, text in fields.units.items()]
        wanted: dict[str, Any] = {
            "files": is_file,
            "corrections": has_x,
            "unit": choices,
            "scale": fields.takes_scale,
            "thermal": fields.is_thermal,
            "camera": fields.needs_camera,
            "stream": fields.span_ms is not None,
            "table": fields.is_table,
        }
        new = {name: value for name, value in wanted.items() if name not in shown or shown[name] != value}
        shown.update(new)
        changed = {getattr(self, name): gr.update(visible=bool(value)) for name, value in new.items()}
        if "unit" in new or unit not in fields.units:
            changed[self.unit] = gr.update(
                choices=choices or [("none", "auto")],
                value=unit if unit in fields.units else "auto",
                visible=bool(choices),
            )
        if "scale" in new and not fields.takes_scale:
            changed[self.scale] = gr.update(value="", visible=False)
        if fields.span_ms is not None:  # otherwise the sliders are hidden
            step = 10.0 ** (math.floor(math.log10(fields.span_ms)) - 3)
            span = math.ceil(fields.span_ms / step) * step  # so that the end is reachable
            for slider, value in zip((self.start, self.length), fields.window_ms):
                changed[slider] = gr.update(minimum=0, maximum=span, step=step, value=value)
        return changed


@dataclass(frozen=True)
class XDetails:
    """How X was read: an accordion that is there once an X was read, and its text."""

    place: gr.Accordion
    text: gr.HTML


def build_x_details(empty: str) -> XDetails:
    """The accordion below the preview of X."""
    with gr.Accordion("How X was read", open=False, visible=False, elem_id="ktb-x-details") as place:
        text = gr.HTML(empty, elem_id="ktb-x-panel")
    return XDetails(place, text)


def build_x_input(takes: InputConfig) -> tuple[gr.Radio, gr.HTML, gr.File]:
    """The choice of the source, a note about a missing one, and the upload."""
    source = gr.Radio(
        source_choices(takes), value="file", label="Second sensor (X)", container=False, elem_id="ktb-source"
    )
    note = gr.HTML(source_note(takes), visible=bool(source_note(takes)), elem_classes="ktb-read")
    files = FilesInput(
        label=x_label(takes), type="filepath", file_count="multiple", height=128, elem_id="ktb-x"
    )
    return source, note, files


def build_corrections(
    source: gr.Radio, files: gr.File, read: gr.HTML, takes: InputConfig, options: XOptions
) -> XControls:
    """The fields that override how X is read, with what `options` say; they appear once there is an X."""
    units = [(text, key) for key, text in units_of(takes.modality).items()]
    shown, said = fields_for(XForm(), takes, None), form_of(options)
    with gr.Accordion("Correct how X is read", open=False, visible=False, elem_id="ktb-fix") as corrections:
        modality = gr.Dropdown(
            modality_choices(takes), value=said.modality, label="X is", elem_id="ktb-modality"
        )
        unit_field = gr.Dropdown(
            units or [("none", "auto")],
            value=said.unit,
            label="Unit",
            visible=bool(units),
            elem_id="ktb-unit",
        )
        scale = gr.Textbox(
            label="or its scale, in place of the unit",
            placeholder="levels per metre, such as 6553.5; or a level's size: 0.25mm, 0.04K",
            value=said.scale,
            visible=shown.takes_scale,
            elem_id="ktb-scale",
        )
        with gr.Group(visible=shown.is_thermal, elem_id="ktb-thermal") as thermal:
            hot = gr.Radio(HOT, value=said.hot, label="Hot pixels are")
            extent = gr.Textbox(
                said.value_range,
                label="Fixed range: black, white",
                placeholder="automatic; such as 15, 40",
            )
        with gr.Group(visible=shown.needs_camera, elem_id="ktb-camera") as camera:
            angle = gr.Textbox(
                said.field_of_view,
                label="Depth camera: horizontal field of view",
                placeholder="degrees; NYU's camera if empty",
            )
            pinhole = gr.Textbox(
                said.intrinsics,
                label="or fx, fy, cx, cy in pixels",
                placeholder="such as 519, 519, 325, 253",
            )
        with gr.Group(visible=False, elem_id="ktb-stream") as stream:
            start = gr.Slider(0, 1, 0, label="Events from, ms", elem_id="ktb-start")
            length = gr.Slider(0, 1, 1, label="for, ms", elem_id="ktb-length")
        with gr.Group(visible=shown.is_table, elem_id="ktb-columns") as table:
            columns = gr.Dropdown(
                COLUMN_ORDERS, value=said.columns, label="Columns of a table", allow_custom_value=True
            )
            time_unit = gr.Dropdown(TIME_UNITS, value=said.time_unit, label="Time unit")
            sensor = gr.Textbox(
                said.sensor, label="Sensor, width x height", placeholder="automatic; such as 346 x 260"
            )
        turn = gr.Dropdown(TURNS, value=said.turn, label="Turn X", elem_id="ktb-turn")
        channel = gr.Dropdown(CHANNELS, value=said.channel, label="Channel", elem_id="ktb-channel")
        byte_order = gr.Dropdown(
            BYTE_ORDERS, value=said.byte_order, label="Byte order", elem_id="ktb-byte-order"
        )
        reset = gr.Button("Back to automatic", size="sm", elem_id="ktb-reset")
    window, alignment = gr.State(None), gr.State(None)
    form = XForm(
        modality,
        unit_field,
        scale,
        hot,
        extent,
        angle,
        pinhole,
        columns,
        time_unit,
        sensor,
        turn,
        channel,
        byte_order,
        window,
        alignment,
    )
    return XControls(
        source,
        files,
        read,
        corrections,
        unit_field,
        scale,
        thermal,
        camera,
        stream,
        table,
        start,
        length,
        reset,
        gr.State({}),
        form,
    )


def hint(inputs: InputConfig, source: XSource) -> str:
    """The line below the upload before X is read."""
    if source == "none":
        return "The network will run on the RGB image alone, with zeros in place of X."
    if source == "estimate":
        return "Depth will be estimated from the RGB image by Depth Anything when you press Run."
    return x_hint(inputs)
