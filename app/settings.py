"""The page's settings as JSON, in a file or a link. They restore the page and contain no user data."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, get_args

from app.service import XSource
from app.widgets.x_form import Proposal, XForm, unit_fields, x_options
from ktb.inputs import AUTO, XOptions
from ktb.inputs.alignment.files import Alignment

VERSION = 1
MAX_CHARACTERS = 6000  # browsers and servers accept longer addresses, but no settings need one
PARAMETER = "settings"
_KEYS = ("ktb_settings", "model", "x_source", "x", "tab", "view", "example", "controls")
MAX_NAME = 100
_FORMER_TABS = ("Result", "Branches", "Fusion", "X input", "Compare", "Truth", "Sequence")
"""Tabs of earlier versions, whose settings open the first tab; so do their `controls`, which are ignored."""
_VIEW: Mapping[str, Callable[[Any], bool]] = MappingProxyType(
    {
        "overlay": lambda value: isinstance(value, str) and len(value) <= 100,
        "compare": lambda value: isinstance(value, str) and len(value) <= 100,
        "split": lambda value: _is_number(value) and 0 <= value <= 1,
        "opacity": lambda value: _is_number(value) and 0 <= value <= 1,
        "level": lambda value: _is_whole(value) and -1 <= value <= 3,
        "head": lambda value: value is None or (_is_whole(value) and 0 <= value < 1000),
        "isSwapped": lambda value: isinstance(value, bool),
        "inSpace": lambda value: isinstance(value, bool),
        "hasFalseColors": lambda value: value is None or isinstance(value, bool),
        "xRange": lambda value: (
            value is None
            or (
                isinstance(value, list)
                and len(value) == 2
                and all(map(_is_number, value))
                and value[0] != value[1]
            )
        ),
        "pixel": lambda value: (
            value is None
            or (
                isinstance(value, list)
                and len(value) == 2
                and all(_is_whole(one) and one >= 0 for one in value)
            )
        ),
    }
)
"""Parts of the viewer's state, as app/static/page.js gives it, and what each may be."""


@dataclass(frozen=True)
class Settings:
    """The state that a link restores.

    Attributes:
        model: name of an offered checkpoint.
        x_source: where X comes from.
        x: how X is read.
        tab: title of the open tab, "" for the first.
        view: the viewer's state: overlay, level, head, pixel and so on.
        example: name of the offered pair that is open, "" for files of the user.
    """

    model: str
    x_source: XSource = "file"
    x: XOptions = AUTO
    tab: str = ""
    view: Mapping[str, Any] = field(default_factory=dict)
    example: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A dict for JSON; `settings_from_json` reads it back."""
        return {
            "ktb_settings": VERSION,
            "model": self.model,
            "x_source": self.x_source,
            "x": self.x.to_dict(),
            "tab": self.tab,
            "view": dict(self.view),
            "example": self.example,
        }

    def to_json(self) -> str:
        """The file's contents."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def to_query(self) -> str:
        """The link's query, "?settings=…"; ValueError if it would be too long."""
        text = json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)
        code = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
        if len(code) > MAX_CHARACTERS:
            raise ValueError("these settings are too long for a link. Download them as JSON.")
        return f"?{PARAMETER}={code}"


def settings_from_link(code: str, models: Sequence[str], tabs: Sequence[str]) -> Settings:
    """Parse a link's parameter; ValueError for anything that `Settings.to_query` does not write."""
    if len(code) > MAX_CHARACTERS:
        raise ValueError(
            f"the link's settings have {len(code):,} characters; at most {MAX_CHARACTERS:,} are allowed."
        )
    try:
        data = base64.b64decode(code + "=" * (-len(code) % 4), altchars=b"-_", validate=True)
        text = data.decode()
    except (binascii.Error, ValueError) as error:
        raise ValueError("the link's settings are damaged: they are not base64url text.") from error
    return settings_from_json(text, models, tabs)


def settings_from_json(text: str, models: Sequence[str], tabs: Sequence[str]) -> Settings:
    """Parse a settings file; ValueError that names the invalid value, as for a link."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"the settings have {len(text):,} characters; at most {MAX_CHARACTERS:,} are allowed."
        )
    try:
        values = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError("this is not a KTB settings file: it is not JSON.") from error
    if not isinstance(values, dict) or values.get("ktb_settings") != VERSION:
        raise ValueError(f"this is not a KTB settings file (expected ktb_settings {VERSION}).")
    if unknown := sorted(set(values) - set(_KEYS)):
        raise ValueError(f"the settings have unknown keys {_short(unknown)}; allowed: {', '.join(_KEYS)}.")
    model, source, tab = values.get("model"), values.get("x_source", "file"), values.get("tab", "")
    if model not in models:
        raise ValueError(
            f"the settings name the checkpoint {_short(model)}, which is not available here; choose one of "
            f"{', '.join(models)}."
        )
    if source not in get_args(XSource):
        raise ValueError(f"x_source {_short(source)}: choose one of {', '.join(get_args(XSource))}.")
    if tab in _FORMER_TABS:
        tab = ""
    if tab not in ("", *tabs):
        raise ValueError(f"tab {_short(tab)}: choose one of {', '.join(tabs)}.")
    return Settings(
        model=model,
        x_source=source,
        x=XOptions.from_dict(values.get("x", {})),
        tab=tab,
        view=_checked_view(values.get("view", {})),
        example=_checked_example(values.get("example", "")),
    )


def _checked_view(values: Any) -> dict[str, Any]:
    """The viewer's state; ValueError for a part that it does not have, or an impossible value."""
    if not isinstance(values, Mapping):
        raise ValueError(f"view {_short(values)}: give an object.")
    if unknown := sorted(set(values) - set(_VIEW)):
        raise ValueError(
            f"the settings have unknown parts {_short(unknown)} of the view; allowed: {', '.join(_VIEW)}."
        )
    for name, value in values.items():
        if not _VIEW[name](value):
            raise ValueError(f"{name} {_short(value)} of the view is not possible.")
    return dict(values)


def _checked_example(name: Any) -> str:
    """The name of an example, which may not be offered here; ValueError for what is no name."""
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise ValueError(f"example {_short(name)}: give the name of an example.")
    return name


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def form_of(options: XOptions) -> XForm:
    """The page's fields for these options; the inverse of `app.widgets.x_form.x_options`."""
    window = None
    if options.window_ms is not None:
        start, end = options.window_ms
        window = (start, end - start)
    alignment = None
    if options.matrix is not None or options.calibration is not None:
        given = Alignment(options.matrix, options.calibration, "from the settings")
        alignment = Proposal(given, False)
    height_width = options.sensor_hw
    return XForm(
        modality=options.modality,
        **unit_fields(options.unit),
        hot=options.hot,
        value_range=_listed(options.value_range),
        field_of_view="" if options.field_of_view is None else _listed((options.field_of_view,)),
        intrinsics=_listed(options.intrinsics),
        columns=options.columns,
        time_unit=options.time_unit,
        sensor="" if height_width is None else f"{height_width[1]} x {height_width[0]}",
        turn=options.turn,
        channel=options.channel,
        byte_order=options.byte_order,
        window=window,
        alignment=alignment,
    )


def settings_of(
    model: str, source: XSource, form: XForm, tab: str, tabs: Sequence[str], view: str, example: str = ""
) -> Settings:
    """The page's current settings; ValueError for a field that does not hold the number it needs.

    Args:
        view: the viewer's state as JSON; "" before the first run.
        example: name of the open example, "" for files of the user.
    """
    try:
        state = _checked_view(json.loads(view)) if view else {}
    except RecursionError as error:
        raise ValueError("the viewer's state is not readable. Run the pair again.") from error
    return Settings(model, source, x_options(form), tab if tab in tabs else "", state, example)


def _listed(numbers: Sequence[float] | None) -> str:
    return ", ".join(str(int(n)) if float(n).is_integer() else repr(float(n)) for n in numbers or ())


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:79]}…"
