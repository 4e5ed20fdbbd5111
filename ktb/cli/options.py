"""Shared parts of the commands: options of X, and the output of errors and warnings."""

import functools
import inspect
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from ktb.modalities import MODALITIES

if TYPE_CHECKING:
    from ktb.inputs import XOptions

_SPEED = "Runtime"
RuntimeFlag = Annotated[
    Literal["auto", "eager", "openvino", "onnx", "compile", "cudagraph"],
    typer.Option(
        help="auto uses CUDA graphs on an NVIDIA GPU, else OpenVINO if installed.",
        rich_help_panel=_SPEED,
    ),
]
PrecisionFlag = Annotated[
    Literal["float32", "bfloat16"],
    typer.Option(help="bfloat16 is faster if the CPU or GPU supports it.", rich_help_panel=_SPEED),
]
DeviceFlag = Annotated[
    str,
    typer.Option(
        help="auto (an NVIDIA GPU that works, else Apple's if it computes as the CPU, else the CPU), cpu, "
        "cuda, cuda:1, mps, ...",
        rich_help_panel=_SPEED,
    ),
]
_ABOUT_X = "Properties of X, if detected wrongly"
_ALIGNMENT = "Alignment of X to the RGB image"


def _said(text: str, metavar: str, *names: str, panel: str = _ABOUT_X) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel)


def _one_of(names: Iterable[str]) -> str:
    """ "a, b or c"."""
    *first, last = names
    return f"{', '.join(first)} or {last}"


@dataclass(frozen=True)
class XFlags:
    """Options of an X input; None where not given. `takes_x_flags` adds them to a command."""

    modality: Annotated[
        str | None,
        _said(f"{_one_of(MODALITIES)}.", "NAME"),
    ] = None
    unit: Annotated[
        str | None,
        _said(
            "Unit of depth (mm, m, 1/256m, sun, ...; or any scale: 0.25mm, 1/4000m), temperature or "
            "polarization.",
            "UNIT",
        ),
    ] = None
    depth_scale: Annotated[
        float | None,
        _said("Scale of depth in levels per metre, such as 6553.5, in place of --unit.", "NUMBER"),
    ] = None
    hot: Annotated[str | None, _said("Polarity of a thermal image.", "white|black")] = None
    value_range: Annotated[
        tuple[float, float] | None, _said("Thermal values mapped to 0 and 1.", "LOW HIGH", "--range")
    ] = None
    field_of_view: Annotated[
        float | None,
        _said(
            "Horizontal field of view of the depth camera, for HHA and for points in space.",
            "DEGREES",
            "--fov",
        ),
    ] = None
    intrinsics: Annotated[
        tuple[float, float, float, float] | None,
        _said("Intrinsics of the depth camera, for HHA and for points in space.", "FX FY CX CY"),
    ] = None
    window_ms: Annotated[
        tuple[float, float] | None,
        _said("Time window of the events, in milliseconds from the first one.", "START END"),
    ] = None
    columns: Annotated[str | None, _said("Order of an event table, such as txyp.", "LETTERS")] = None
    time_unit: Annotated[str | None, _said("Unit of the events' times.", "s|ms|us|ns")] = None
    sensor: Annotated[str | None, _said("Size of the event sensor, such as 346x260.", "WIDTHxHEIGHT")] = None
    turn: Annotated[
        str | None,
        _said("Turn X: as the RGB image's EXIF orientation turns that, or degrees.", "exif|90|180|270"),
    ] = None
    channel: Annotated[str | None, _said("Channel of an image with several.", "1|2|3|4|colour")] = None
    byte_order: Annotated[str | None, _said("Byte order of 16-bit values.", "stored|swapped")] = None
    align: Annotated[
        Path | None,
        _said(
            "A 2 x 3 or 3 x 3 matrix from X's pixels to the RGB image's, or both cameras: JSON, npy, txt.",
            "FILE",
            panel=_ALIGNMENT,
        ),
    ] = None
    options: Annotated[
        Path | None, _said("All of these options as a JSON object; flags take precedence.", "FILE.json")
    ] = None

    def to_options(self) -> "XOptions":
        """The options of X from the flags; InputError, or OSError for an unreadable file."""
        from ktb.inputs import XOptions, read_alignment

        values = {} if self.options is None else _json_object(self.options)
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        sensor, align = given.pop("sensor"), given.pop("align")
        given.pop("options")
        values |= {name: value for name, value in given.items() if value is not None}
        if sensor is not None:
            values["sensor_hw"] = _height_width(sensor)
        options = XOptions.from_dict(values)
        return options if align is None else read_alignment(align).applied_to(options)


def takes_x_flags(command: Callable) -> Callable:
    """Decorator that replaces a command's keyword parameter `flags` by the options of `XFlags`."""
    hints = get_type_hints(XFlags, include_extras=True)
    more = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name])
        for f in fields(XFlags)
    ]
    signature = inspect.signature(command, eval_str=True)
    own = [p for name, p in signature.parameters.items() if name != "flags"]

    @functools.wraps(command)
    def expanded(**arguments: Any) -> None:
        said = {parameter.name: arguments.pop(parameter.name) for parameter in more}
        command(**arguments, flags=XFlags(**said))

    expanded.__signature__ = signature.replace(parameters=[*own, *more])
    expanded.__annotations__ = {p.name: p.annotation for p in [*own, *more]}
    return expanded


def user_errors(command: Callable) -> Callable:
    """Decorator that prints user errors on stderr with exit code 2; Ctrl-C exits with 130."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:  # the reader of stdout has closed it, as `head` does
            raise
        except (ValueError, OSError) as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            typer.echo("Stopped.", err=True)
            raise typer.Exit(130) from None

    return guarded


def require_one(given: dict[str, bool], what: str) -> str:
    """The only given flag; ValueError for none or several."""
    chosen = [flag for flag, is_given in given.items() if is_given]
    if len(chosen) == 1:
        return chosen[0]
    found = " and ".join(chosen) if chosen else "none of them"
    raise ValueError(f"{what}: give one of {', '.join(given)}; found {found}.")


def require_none(given: dict[str, bool], reason: str) -> None:
    """Raise a ValueError if one of these flags is given."""
    if chosen := [flag for flag, is_given in given.items() if is_given]:
        raise ValueError(f"{', '.join(chosen)}: {reason}.")


def chosen_device(device: str, runtime: str) -> str:
    """The device of a command, printed with the reason for its choice on stderr; ValueError if unusable."""
    from ktb.inference.runtimes import device_for

    choice = device_for(runtime, device)
    typer.echo(f"device {choice}", err=True)
    return choice.device


def echo_warnings(warnings: Iterable[str]) -> None:
    """Print each warning as a line on stderr."""
    for warning in warnings:
        typer.echo(f"Warning: {warning}", err=True)


def _json_object(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"--options {file}: no JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f'--options {file}: give an object such as {{"unit": "mm"}}')
    return values


def _height_width(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,5})\s*[xX]\s*(\d{1,5})", text.strip())
    if not match:
        raise ValueError(f"--sensor {text!r}: give width and height in pixels, such as 346x260")
    return int(match[2]), int(match[1])
