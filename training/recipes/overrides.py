"""Change a recipe from the command line: `--set key=value` and `--set model.PATH=VALUE`."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from ktb.config import ModelConfig
from ktb.modeling.build import VARIANTS
from ktb.utils.text import did_you_mean
from ktb.utils.validation import from_text, literal
from training.recipes.base import NO_SETTINGS, Recipe

MODEL = "model."
# Fields of a model's configuration that follow from something else, and their source.
GIVEN = {
    "name": "the recipe and the dataset",
    "dataset": "the dataset (--set dataset=...)",
    "num_classes": "the dataset",
    "classes": "the dataset",
    "palette": "the dataset",
    "backbone.kind": f"the backbone (--set backbone=NAME: {', '.join(VARIANTS)})",
    "inputs.modality": "the dataset and its modality (--set modality=...)",
    "inputs.encoding": "the dataset and its modality (--set modality=...)",
}


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Apply `key=value` assignments; `model.PATH=VALUE` changes the model's configuration.

    Values are parsed by the field's type: numbers, true/false, `none` where allowed, lists as `0.8,2.0`.
    Raises ValueError for an unknown key or path (with the nearest one), a value of the wrong type,
    inconsistent settings, and a recipe for a custom dataset without a dataset.
    """
    hints = {
        k: v
        for k, v in typing.get_type_hints(Recipe, include_extras=True).items()
        if k not in (*NO_SETTINGS, "name", "model")
    }
    changes: dict[str, Any] = {}
    for text in assignments:
        key, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"--set takes key=value, got '{text}'.")
        if key.startswith(MODEL):
            model = changes.get("model", recipe.model)
            changes["model"] = {**model, key.removeprefix(MODEL): literal(value)}
            continue
        if key not in hints:
            paths = [MODEL + path for path in _settable(template(recipe).to_dict())]
            near = did_you_mean(key, [*hints, *paths], dotted=True)
            raise ValueError(
                f"Recipe '{recipe.name}' has no setting '{key}'.{near} "
                f"Known: {', '.join(hints)}, and model.PATH for the network, such as {paths[0]}."
            )
        try:
            changes[key] = from_text(hints[key], value)
        except ValueError as error:
            raise ValueError(
                f"--set {key}: '{value}' is not valid ({error}); now {getattr(recipe, key)!r}."
            ) from None
    changed = dataclasses.replace(recipe, **changes)
    changed_model(template(changed), changed.model)
    if not changed.dataset:
        raise ValueError(
            f"Recipe '{recipe.name}' is for a custom dataset: add --set dataset=FILE.yaml "
            f"(training/README.md section 4 describes it), or the name of a benchmark."
        )
    return changed


def template(recipe: Recipe) -> ModelConfig:
    """A recipe's network before `recipe.model`, with the classes of NYUv2 as a placeholder."""
    return VARIANTS[recipe.backbone].make("nyuv2")


def changed_model(config: ModelConfig, changes: Mapping[str, Any]) -> ModelConfig:
    """A model's configuration with values replaced by path, such as {"inputs.short_side": 480}.

    Raises ValueError for an unknown path (with the nearest one and the allowed ones), for a value of the
    wrong type, and for inconsistent values.
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
                f"{did_you_mean(MODEL + path, [MODEL + p for p in allowed], dotted=True)} Allowed: {MODEL}"
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
        text = str(error).replace("configuration.", MODEL)
        given = ", ".join(f"{MODEL}{path}={value}" for path, value in changes.items())
        raise ValueError(f"The network cannot be set to {given}: {text}") from None


def _settable(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The paths of all values of a configuration that may be changed."""
    paths = []
    for key, value in values.items():
        path = prefix + key
        if isinstance(value, dict):
            paths += _settable(value, f"{path}.")
        elif path not in GIVEN:
            paths.append(path)
    return paths
