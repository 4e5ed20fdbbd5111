"""Validate the values of a call before Gradio processes them: files, and the type of each value."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

MAX_NUMBER = 2.0**53  # beyond it, a float cannot represent every integer
KINDS = {
    type(None): "nothing", bool: "true or false", int: "a number", float: "a number", str: "a text",
    list: "a list", dict: "an object",
}  # fmt: skip
FILE = 'a file, as {"path": what the upload answered, "meta": {"_type": "gradio.FileData"}}'


def files_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a `path` in a value, at any depth."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if "path" in found:
                yield found
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)


def with_defaults(block_fn: gr.blocks.BlockFunction, values: Sequence[Any]) -> list[Any]:
    """The values of a call, and the handler's defaults for those that are left out at the end."""
    names = input_names(block_fn)
    try:
        defaults = [one.default for one in inspect.signature(block_fn.fn).parameters.values()]
    except (TypeError, ValueError):  # not a Python function
        return list(values)
    missing = defaults[len(values) :] if len(defaults) == len(names) else []
    return [*values, *missing] if inspect.Parameter.empty not in missing else list(values)


def check_values(block_fn: gr.blocks.BlockFunction, values: Sequence[Any], blocks: Sequence[Any]) -> None:
    """Check that the values of a call are valid for its components.

    Args:
        values: the received values, one per input.
        blocks: the inputs' components in the state of this session.

    Raises:
        ValueError: names the input and the valid values.
    """
    names = input_names(block_fn)
    if len(values) < len(names):
        needed = f" ({', '.join(names)})" if names else ""
        raise ValueError(f"this call takes {len(names)} values{needed}, and {len(values)} were given.")
    for name, value, block in zip(names, values, blocks):
        if (wrong := describe_problem(block, value)) is not None:
            raise ValueError(f"{name}: give {wrong}, not {_kind(value)}.")


def input_names(block_fn: gr.blocks.BlockFunction) -> list[str]:
    """The name of each input in messages: the handler's parameters if they are complete, else the labels."""
    labels = [_label(block) for block in block_fn.inputs]
    try:
        parameters = list(inspect.signature(block_fn.fn).parameters.values())
    except (TypeError, ValueError):  # not a Python function
        return labels
    plain = all(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters)
    names = [one.name for one in parameters]
    return names if plain and len(names) == len(labels) else labels


def parameters_of(block_fn: gr.blocks.BlockFunction) -> dict[str, bool]:
    """The parameters of an endpoint by name, and whether each is required."""
    defaults = [one.default for one in inspect.signature(block_fn.fn).parameters.values()]
    names = input_names(block_fn)
    return {
        name: default is inspect.Parameter.empty and getattr(block, "value", None) is None
        for name, default, block in zip(names, defaults, block_fn.inputs)
    }


def describe_problem(block: Any, value: Any) -> str | None:
    """The valid values of a component if this value is invalid, else None."""
    if isinstance(block, gr.State | gr.JSON):  # what a State holds is not taken from the call
        return None
    if isinstance(block, gr.Image | gr.File | gr.UploadButton | gr.DownloadButton):
        return _wrong_file(value, getattr(block, "file_count", "single") != "single")
    if isinstance(block, gr.Slider):
        return None if _is_number(value) else "a number"
    if isinstance(block, gr.Number):
        return None if value is None or _is_number(value) else "a number or null"
    if isinstance(block, gr.CheckboxGroup):
        known = [key for _, key in block.choices]
        is_right = isinstance(value, list) and all(_is_choice(one, known) for one in value)
        return None if is_right else f"a list of some of {_listed(known)}"
    if isinstance(block, gr.Radio | gr.Dropdown):
        return _wrong_choice(block, value)
    if isinstance(block, gr.Textbox | gr.HTML | gr.Markdown):
        return None if value is None or isinstance(value, str) else "a text or null"
    return None


def _wrong_file(value: Any, are_many: bool) -> str | None:
    if value is None:
        return None
    if are_many:
        is_right = isinstance(value, list) and all(_is_file(one) for one in value)
        return None if is_right else f"null or a list of files, each {FILE[2:]}"
    return None if _is_file(value) else f"null or {FILE}"


def _wrong_choice(block: gr.Radio | gr.Dropdown, value: Any) -> str | None:
    if value is None:
        return None
    known = [key for _, key in block.choices]
    if getattr(block, "allow_custom_value", False):
        return None if isinstance(value, str) or _is_number(value) else "a text"
    return None if _is_choice(value, known) else f"one of {_listed(known)}"


def _is_choice(value: Any, known: list[Any]) -> bool:
    return isinstance(value, str | int | float) and value in known


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("path"), str)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= MAX_NUMBER  # false for NaN, too


def _kind(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN or infinity"
    if isinstance(value, int | float) and abs(value) > MAX_NUMBER:
        return "a number beyond 2^53"
    return KINDS.get(type(value), "something else")


def _listed(choices: list[Any]) -> str:
    return ", ".join(repr(one) for one in choices) or "nothing: there is no choice now"


def _label(block: Any) -> str:
    return str(getattr(block, "label", None) or getattr(block, "elem_id", None) or type(block).__name__)
