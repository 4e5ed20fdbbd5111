"""`python -m training.train RECIPE --dry-run`: describe a run without training."""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from ktb.labels import DATASETS
from ktb.modeling.model import KTB, count_parameters
from ktb.utils.files import write_atomically
from training.cost import ASSUMED_RATES, SHORTEST_STEP, Cost, measure, shapes_only
from training.data.datasets import REGISTRY
from training.data.datasets.sample import choose
from training.data.loader import BatchLoader
from training.data.open import open_data
from training.data.sheets import draw_batch
from training.data.x_tally import EXAMINED, describe
from training.engine.trainer import batch_masks
from training.model import initial_weights
from training.recipes import RECIPES, Recipe
from training.recipes.base import NO_SETTINGS

PICTURE_FILE, REPORT_FILE = "batch.png", "dry_run.json"


def report(recipe: Recipe, options: argparse.Namespace) -> None:
    """Print the resolved recipe, parameters, operations, memory and time; with data also draw one batch,
    and print how X is read.

    Args:
        options: the parsed command line of `training.train`, of which `data`, `out`, `init`, `no_cache` and
            `select_on_test` are used. The image and dry_run.json, with the reading of X, are written into
            `out` (else the current folder).

    Raises:
        ValueError: the data do not follow their layout, `init` does not match, or one batch cannot be filled.
    """
    described = recipe.dataset in REGISTRY
    data, kept = None, None
    if options.data is not None or not described:
        data, kept, _ = open_data(recipe, options)
        loader = BatchLoader(data, kept, recipe.batch_size, recipe.augmentation, recipe.seed, workers=0)
    model = shapes_only(recipe, data or _without_files(recipe))
    if options.init is not None:
        initial_weights(model, options.init, options.new_classes)  # raises if they do not match
    print("\n".join(_settings(recipe)))
    if data is not None:
        reading = data.x_reading(EXAMINED)
        print("\n".join(("", *describe(reading))))
    print("\n".join(_parameters(model)))
    cost = measure(model, recipe)
    pairs = len(kept) if kept is not None else REGISTRY[recipe.dataset].published.get("train")
    print("\n".join(_cost(recipe, cost)))
    print("\n".join(_schedule(recipe, cost, pairs, "here" if kept is not None else "as published")))
    if data is None:
        print("\nGive --data to draw one batch.")
        return
    path = (options.out or Path()) / PICTURE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = draw_batch(next(loader.epoch(0))[0], batch_masks(recipe, 0) or (None, None), data)
    if not cv2.imwrite(str(path), picture[..., ::-1]):
        raise ValueError(f"{path} cannot be written; choose another --out.")
    about = {"recipe": recipe.as_dict(), "x_reading": reading}
    text = json.dumps(about, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path.with_name(REPORT_FILE), lambda file: file.write_text(text, encoding="utf-8"))
    print(f"\nThe first batch, augmented: {path}")
    print(f"The recipe, and how X is read: {path.with_name(REPORT_FILE)}")


@dataclass(frozen=True)
class _Described:
    """The properties of a dataset that a network needs, without its files."""

    name: str
    modality: str

    @property
    def classes(self) -> tuple[str, ...]:
        return DATASETS[self.name].classes

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        return DATASETS[self.name].palette

    @property
    def input_config(self) -> dict[str, Any]:
        return REGISTRY[self.name].inputs_of(self.modality)


def _without_files(recipe: Recipe) -> _Described:
    modalities = REGISTRY[recipe.dataset].modalities
    return _Described(
        recipe.dataset,
        choose(f"{recipe.dataset}: modality", recipe.modality or modalities[0], modalities),
    )


def _settings(recipe: Recipe) -> Iterator[str]:
    """The recipe's settings; changed ones are marked and show their previous value."""
    registered = RECIPES.get(recipe.name, recipe)
    parent = registered.parent or Recipe("the defaults", recipe.dataset)
    yield f"Recipe {recipe.name}   (* differs from {parent.name}, > changed by --set)"
    for field in dataclasses.fields(Recipe):
        if field.name in (*NO_SETTINGS, "name"):
            continue
        value, own, before = (getattr(r, field.name) for r in (recipe, registered, parent))
        mark, old = (">", own) if value != own else ("*", before) if value != before else (" ", None)
        line = f" {mark} {field.name:<24}{_text(value)}"
        yield f"{line:<58} was {_text(old)}" if mark != " " else line
    if recipe.published is not None:
        changed = "" if recipe == registered else ", of the recipe as it was before --set"
        yield f"Published: {recipe.published} mIoU, probably at several scales with flip{changed}"


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_text(item)}" for key, item in value.items()) or "unchanged"
    if isinstance(value, tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).lower() if value is None or isinstance(value, bool) else str(value) or "not given"


def _parameters(model: KTB) -> Iterator[str]:
    counts = count_parameters(model)
    total = tuple(map(sum, zip(*counts.values(), strict=True)))
    yield f"\n{'Parameters':<18}{'all':>14}{'trainable':>14}"
    for part, (every, trainable) in [*counts.items(), ("together", total)]:
        yield f"   {part:<15}{every:>14,}{trainable:>14,}"


def _cost(recipe: Recipe, cost: Cost) -> Iterator[str]:
    height, width = recipe.crop
    yield f"\nOperations per image of {height} x {width} (counted; grid sampling and sums count as 0)"
    yield f"   forward        {cost.forward_flops / 1e9:10,.1f} GFLOP"
    yield f"   training step  {cost.training_flops / 1e9:10,.1f} GFLOP (forward and backward)"
    images = recipe.batch_size // recipe.accumulate
    yield f"\nMemory with {images} images at a time in {recipe.precision} (estimated, not measured)"
    for purpose, size in [*cost.memory.items(), ("together", sum(cost.memory.values()))]:
        yield f"   {purpose:<18}{size / 2**30:8.2f} GiB"
    yield "   Activations are the tensors that autograd keeps of one step, from shapes. Fused attention keeps"
    yield "   fewer; the device's own memory is not included."


def _schedule(recipe: Recipe, cost: Cost, pairs: int | None, where: str) -> Iterator[str]:
    if pairs is None:
        yield "\nThe number of training pairs is unknown: give --data for steps and time."
        return
    steps = pairs // recipe.batch_size
    rate, shortest = ASSUMED_RATES[recipe.precision] / 1e12, SHORTEST_STEP
    total = steps * recipe.epochs
    seconds = total * cost.seconds_per_step(recipe)
    yield f"\nSchedule: {pairs:,} training pairs {where}, {steps:,} steps an epoch, {total:,} in all"
    yield f"Time on one GPU: {_duration(seconds)} (estimated, not measured: the counted operations at"
    yield f"   {rate:.0f} TFLOP/s, assumed for an A100 in {recipe.precision}, at least {shortest} s a step)"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return "a minute or less"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 72 * 3600 else f"{seconds / 86400:.1f} days"
