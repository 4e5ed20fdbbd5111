"""Open the data of a run: the splits for training and validation, and the dataset for an evaluation."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from ktb.config import InputConfig
from ktb.inputs.units import unit_name
from ktb.modeling.model import KTB
from training.data.datasets import (
    REGISTRY,
    CustomPairDataset,
    PairDataset,
    build_dataset,
    hold_out,
)
from training.engine.validation import Validation
from training.recipes import Recipe

logger = logging.getLogger(__name__)

ORDINALS = {2: "2nd", 3: "3rd"}


def open_data(
    recipe: Recipe, options: argparse.Namespace
) -> tuple[PairDataset, Sequence[int], Validation | None]:
    """The training split, its indices to train on, and the validation (None without one).

    Validation frames are the dataset's split "val", else blocks of train, or "test" on request.
    """
    cache = not options.no_cache

    def split(name: str) -> PairDataset:
        return build_dataset(recipe.dataset, options.data, name, modality=recipe.modality, cache=cache)

    dataset = split("train")
    if recipe.depth_faults and dataset.modality != "depth":
        raise ValueError(
            f"depth_faults is {recipe.depth_faults}, but X is {dataset.modality}: --set depth_faults=0."
        )
    everything: Sequence[int] = range(len(dataset))
    held: Sequence[int] = []
    if "val" not in dataset.splits and not options.select_on_test:
        everything, held = hold_out(len(dataset), recipe.val_fraction)
    if not recipe.eval_every:
        if options.select_on_test:
            raise ValueError("--select-on-test needs --set eval_every=N, the epochs between validations.")
        return dataset, everything, None
    if options.select_on_test:
        test = split("test")
        found = test, range(len(test)), f"the test split ({len(test)} frames)", True
    elif "val" in dataset.splits:
        val = split("val")
        reported = dataset.name in REGISTRY  # DELIVER's published scores are on its val split
        found = val, range(len(val)), f"the split val ({len(val)} frames)", reported
    elif held:
        found = dataset, held, f"{len(held)} frames held out from train in contiguous blocks", False
    else:
        raise ValueError(
            f"{dataset.name} has no split 'val' and eval_every is {recipe.eval_every}: hold frames out with "
            f"--set val_fraction=0.1. (--select-on-test selects on the test split, and the card states it.)"
        )
    frames, indices, description, reported = found
    return dataset, everything, Validation(frames, list(indices), description, reported, options.out)


def frames_to_score(count: int, every: int, limit: int | None, held_out: float = 0.0) -> Sequence[int]:
    """The frames of a split of `count` frames that the command-line options of an evaluation choose.

    held_out: only the frames that a run with this `val_fraction` holds out; 0 for all. Of these, every
    `every`-th is taken, and the first `limit` of them. Raises ValueError for a number out of range.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"--limit is {limit}; give at least 1, or omit it for all images.")
    if every < 1:
        raise ValueError(f"--every is {every}; give 1 for all images, 2 for every other one, ...")
    if not 0 <= held_out < 1:
        raise ValueError(f"--held-out is {held_out}; give the run's val_fraction, such as 0.1.")
    frames = hold_out(count, held_out)[1] if held_out else range(count)
    return frames[::every][:limit]


def open_dataset(
    model: KTB, name: str, data: Path | None, split: str, modality: str | None = None
) -> PairDataset:
    """Open a split with `modality` as X; by default with the X that the model was trained on, if available.

    Raises ValueError as `build_dataset` does. Logs a warning if the model was trained on another X.
    """
    trained = model.config.inputs.modality
    if modality is None and name in REGISTRY and trained in REGISTRY[name].modalities:
        modality = trained
    inputs = model.config.inputs
    dataset = build_dataset(name, data, split, modality=modality, trained=inputs)
    if isinstance(dataset, CustomPairDataset):
        _warn_of_other_reading(dataset, inputs)
    if trained not in ("other", dataset.modality):
        logger.warning("The model was trained on %s and is given %s as X.", trained, dataset.modality)
    return dataset


def chosen_frames(
    dataset: PairDataset, held_out: float | None = None, every: int = 1
) -> tuple[Sequence[int], str]:
    """Indices of some frames of a dataset, and their description for reports.

    Args:
        held_out: only the frames that a training run with this `val_fraction` holds out; None for all.
        every: every N-th of these.

    Raises:
        ValueError: `every` is below 1, or the fraction is not in (0, 1).
    """
    if every < 1:
        raise ValueError(f"--every is {every}; give 1 for all images, 2 for every other one, ...")
    if held_out is not None and not 0 < held_out < 1:
        raise ValueError(f"--held-out is {held_out}; give the val_fraction of the training, such as 0.1.")
    indices: Sequence[int] = range(len(dataset))
    where = f"{dataset.name} {dataset.split}"
    if held_out is not None:
        indices = hold_out(len(dataset), held_out)[1]
        where = f"the held-out blocks of {where}"
    indices = indices[::every]
    which = f", every {ORDINALS.get(every, f'{every}th')}" if every > 1 else ""
    return indices, f"{len(indices)} frames: {where}{which}"


def other_frames(dataset: PairDataset, held: Sequence[int]) -> list[int]:
    """Indices of the frames of a dataset that are not held out."""
    return sorted(set(range(len(dataset))) - set(held))


def _warn_of_other_reading(dataset: CustomPairDataset, trained: InputConfig) -> None:
    """Log a warning if a YAML file names another unit of X than the model was trained with."""
    said, modality = dataset.data.keys.said_unit, dataset.modality
    if "auto" not in (said, trained.unit) and said != trained.unit and modality == trained.modality:
        logger.warning(
            "The model was trained with X in %s, and %s says %s.",
            unit_name(modality, trained.unit),
            dataset.data.file,
            unit_name(modality, said),
        )
