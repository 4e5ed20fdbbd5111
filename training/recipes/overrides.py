"""Changing a recipe from the command line: `--set key=value` and `--set model.PATH=VALUE`."""

import ast
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ktb.config import ModelConfig
from ktb.modeling.build import lite_config, swin_config
from training.recipes.base import NO_SETTINGS, Recipe

MODEL = "model."
# Parts of a model's configuration that follow from something else, and what that is.
GIVEN = {
    "name": "the recipe and the dataset",
    "dataset": "the dataset (--set dataset=...)",
    "num_classes": "the dataset",
    "classes": "the dataset",
    "palette": "the dataset",
    "backbone.kind": "the backbone (--set backbone=lite, swin-b or swin-l)",
    "inputs.modality": "the dataset and its modality (--set modality=...)",
    "inputs.encoding": "the dataset and its modality (--set modality=...)",
}
TYPE_NAMES = {int: "a whole number", float: "a finite number"}


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Replace fields by `key=value` texts; `model.PATH=VALUE` changes the model's configuration.

    Values are read by the field's type: numbers, true/false, `none` where allowed, lists as `0.8,2.0`.
    Raises ValueError for an unknown key or path (with the nearest one), a value of the wrong type, settings
    that do not go together, and a recipe for own data that still has no dataset.
    """
    hints = {
        k: v for k, v in typing.get_type_hints(Recipe).items() if k not in (*NO_SETTINGS, "name", "model")
    }
    changes: dict[str, Any] = {}
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"--set takes key=value, got '{text}'.")
        if key.startswith(MODEL):
            model = changes.get("model", recipe.model)
            changes["model"] = {**model, key.removeprefix(MODEL): _literal(value)}
            continue
        if key not in hints:
            paths = [MODEL + path for path in _settable(template(recipe).to_dict())]
            raise ValueError(
                f"Recipe '{recipe.name}' has no setting '{key}'.{_near(key, [*hints, *paths])} "
                f"Known: {', '.join(hints)}, and model.PATH for the network, such as {paths[0]}."
            )
        try:
            changes[key] = _parse(value, hints[key])
        except ValueError as error:
            raise ValueError(
                f"--set {key}: '{value}' is not valid ({error}); now {getattr(recipe, key)!r}."
            ) from None
    changed = dataclasses.replace(recipe, **changes)
    changed_model(template(changed), changed.model)
    if not changed.dataset:
        raise ValueError(
            f"Recipe '{recipe.name}' is for your own data: add --set dataset=FILE.yaml "
            f"(ktb/datasets/custom.py says what is in it), or the name of a benchmark."
        )
    return changed


def template(recipe: Recipe) -> ModelConfig:
    """A recipe's network before its changes, with classes that stand for any dataset's."""
    return lite_config() if recipe.backbone == "lite" else swin_config(recipe.backbone[-1], "nyuv2")


def changed_model(config: ModelConfig, changes: Mapping[str, Any]) -> ModelConfig:
    """A model's configuration with values replaced by path, such as {"inputs.short_side": 480}.

    Raises ValueError for a path that the configuration does not have (with the nearest one and what is
    allowed there), for a value of the wrong type, and for values that do not go together.
    """
    values = config.to_dict()
    allowed = _settable(values)
    for path, value in changes.items():
        if path in GIVEN:
            raise ValueError(f"{MODEL}{path} cannot be set: it follows from {GIVEN[path]}.")
        if path not in allowed:
            group = path.partition(".")[0]
            beside = [p for p in allowed if p.startswith(f"{group}.")] or allowed
            raise ValueError(
                f"The {config.backbone.kind} network has no setting '{MODEL}{path}'."
                f"{_near(MODEL + path, [MODEL + p for p in allowed])} Allowed: {MODEL}"
                f"{f', {MODEL}'.join(beside)}."
            )
        *parents, key = path.split(".")
        node = values
        for parent in parents:
            node = node[parent]
        node[key] = value
    try:
        return ModelConfig.from_dict(values)
    except ValueError as error:
        text = str(error).replace("configuration.", MODEL).replace("NoneType", "none")
        given = ", ".join(f"{MODEL}{path}={value}" for path, value in changes.items())
        raise ValueError(f"The network cannot be set to {given}: {text}") from None


def _settable(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The paths of a configuration's values that may be changed."""
    paths = []
    for key, value in values.items():
        path = prefix + key
        if isinstance(value, dict):
            paths += _settable(value, f"{path}.")
        elif path not in GIVEN:
            paths.append(path)
    return paths


def _near(key: str, known: Iterable[str]) -> str:
    """ " Did you mean ...?" for the known key most like `key`; the last part of a path counts as well."""
    last = {name.rpartition(".")[2]: name for name in reversed(list(known))}
    matches = difflib.get_close_matches(key, known, 1) or difflib.get_close_matches(
        key.rpartition(".")[2], last, 1
    )
    return f" Did you mean '{last.get(matches[0], matches[0])}'?" if matches else ""


def _parse(text: str, hint: Any) -> Any:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if type(None) in options and text.lower() == "none":
        return None
    kind = next(option for option in options if option is not type(None))
    if typing.get_origin(kind) is Literal:
        if text not in typing.get_args(kind):
            raise ValueError(f"expected one of {', '.join(typing.get_args(kind))}")
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError("expected true or false")
        return text.lower() == "true"
    if typing.get_origin(kind) is tuple:
        items = typing.get_args(kind)
        parts = [part for part in text.strip("()[] ").split(",") if part.strip()]
        if Ellipsis not in items and len(parts) != len(items):
            raise ValueError(f"expected {len(items)} values separated by commas")
        return tuple(_parse(part, items[0]) for part in parts)
    if kind is str:
        return text
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected {TYPE_NAMES[kind]}")
    return number


def _literal(text: str) -> Any:
    """What a text means where no field says what is expected: none, true, a number, a list, else the text."""
    words = {"none": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
