"""The page's fields of X as `XOptions`, and the fields that apply to a given X."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from app.results import XView
from ktb.config import InputConfig, Modality
from ktb.inputs import XOptions
from ktb.inputs.alignment.files import Alignment
from ktb.inputs.units import UNITS, checked_unit

MIN_SPAN_MS = 1e-3
_WITH_SCALE = ("depth", "hha", "thermal")


class Proposal(NamedTuple):
    """An alignment to preview or apply; an estimate is valid for its pair only."""

    alignment: Alignment
    is_estimate: bool


class XForm(NamedTuple):
    """The fields' values in the order of the components; "" is an empty text field.

    `scale` is that of depth or temperature, and replaces the unit. `value_range`, `intrinsics` and `sensor`
    (width x height) hold several numbers. `window` is the sliders' (start, length) in ms, None until
    a visitor moves them; `alignment` is the applied alignment.
    """

    modality: str = "auto"
    unit: str = "auto"
    scale: str = ""
    hot: str = "auto"
    value_range: str = ""
    field_of_view: str = ""
    intrinsics: str = ""
    columns: str = "auto"
    time_unit: str = "auto"
    sensor: str = ""
    turn: str = "auto"
    channel: str = "auto"
    byte_order: str = "auto"
    window: tuple[float, float] | None = None
    alignment: Proposal | None = None


def x_options(form: XForm) -> XOptions:
    """The options of a form; ValueError with the remedy for missing or invalid numbers."""
    window = None
    if form.window is not None:
        start, length = form.window
        window = (start, start + max(length, MIN_SPAN_MS))
    unit = form.unit or "auto"
    if form.modality != "auto" and unit not in units_of(form.modality):
        unit = "auto"  # the unit belongs to the previous modality
    if form.modality in ("auto", *_WITH_SCALE) and (scale := (form.scale or "").strip()):
        unit = checked_unit("thermal" if scale[-1:].upper() in ("K", "C") else "depth", scale)
    angle = numbers("field of view", form.field_of_view, ("degrees",))
    sensor = numbers("sensor", form.sensor, ("width", "height"))
    if sensor and any(side != int(side) for side in sensor):
        raise ValueError(f"sensor {form.sensor!r}: give whole pixels, such as 346 x 260")
    options = XOptions(
        modality=form.modality or "auto",
        unit=unit,
        hot=form.hot or "auto",
        value_range=numbers("fixed range", form.value_range, ("lowest", "highest")),
        field_of_view=angle and angle[0],
        intrinsics=numbers("camera", form.intrinsics, ("fx", "fy", "cx", "cy")),
        window_ms=window,
        columns=(form.columns or "auto").replace(" ", "") or "auto",
        time_unit=form.time_unit or "auto",
        sensor_hw=sensor and (int(sensor[1]), int(sensor[0])),
        turn=form.turn or "auto",
        channel=form.channel or "auto",
        byte_order=form.byte_order or "auto",
    )
    return form.alignment.alignment.applied_to(options) if form.alignment else options


def numbers(what: str, text: str | None, names: Sequence[str]) -> tuple[float, ...] | None:
    """The numbers of a text field, None if it is empty; ValueError that names the expected numbers."""
    parts = [part for part in re.split(r"[\s,;x×]+", (text or "").strip()) if part]
    if not parts:
        return None
    try:
        found = tuple(float(part) for part in parts)
    except ValueError:
        found = ()
    if len(found) != len(names) or not all(map(math.isfinite, found)):
        count = "one number" if len(names) == 1 else f"{len(names)} numbers"
        raise ValueError(f"{what} {(text or '').strip()!r}: give {count} ({', '.join(names)}), or nothing")
    return found


def units_of(modality: Modality | str) -> dict[str, str]:
    """The units that X of a modality may have, key → text; "auto" first."""
    units = UNITS.get(modality, {})
    return {"auto": "automatic", **units} if units else {}


def unit_fields(unit: str) -> dict[str, str]:
    """The fields `unit` and `scale` that show a unit of X."""
    is_listed = unit == "auto" or any(unit in units for units in UNITS.values())
    return {"unit": unit, "scale": ""} if is_listed else {"unit": "auto", "scale": unit}


@dataclass(frozen=True)
class Fields:
    """The fields that apply to an X, and the choices of those that vary.

    Attributes:
        units: key → text, empty if there is no unit to choose; takes_scale: whether another scale
            can be said.
        span_ms: length of the event stream, for the sliders; None hides them.
        window_ms: (start, length) that the sliders show.
    """

    units: Mapping[str, str]
    takes_scale: bool
    is_thermal: bool
    needs_camera: bool
    is_table: bool
    span_ms: float | None
    window_ms: tuple[float, float]


def fields_for(form: XForm, inputs: InputConfig, view: XView | None) -> Fields:
    """The fields for an X; for the checkpoint's modality if X is missing or unreadable."""
    if view is not None:
        modality = view.reading.modality
    else:
        modality = form.modality if form.modality != "auto" else inputs.modality
    units = units_of(modality)
    if view is None and form.unit not in (
        "auto",
        *units,
    ):  # chosen for an X to come
        units = next((found for found in map(units_of, UNITS) if form.unit in found), units)
    span = view.span_ms if view else None
    is_of_events = view is None or "pixels with events" in view.reading.facts  # a stream or its counts
    start, end = (view and view.window_ms) or (0.0, span or 0.0)
    start = min(max(start, 0.0), span or 0.0)
    return Fields(
        units=units,
        takes_scale=modality in _WITH_SCALE,
        is_thermal=modality == "thermal",
        needs_camera=modality == "depth" or (modality == "hha" and (view is None or view.is_one_channel)),
        is_table=modality == "event" and is_of_events,
        span_ms=span if span and span > MIN_SPAN_MS else None,
        window_ms=(start, max(0.0, min(end, span or 0.0) - start)),
    )


def frame_options(form: XForm) -> XOptions:
    """The options of the page's fields, without an estimated alignment, which belongs to another pair."""
    if form.alignment is not None and form.alignment.is_estimate:
        form = form._replace(alignment=None)
    return x_options(form)
