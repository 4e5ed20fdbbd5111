"""The data of a run: the splits to train and validate on, and the dataset to score a model on."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from ktb.modeling.model import KTB
from training.data.datasets import REGISTRY, PairDataset, build_dataset, hold_out
from training.engine.validation import Validation
from training.recipes import Recipe

logger = logging.getLogger(__name__)


def open_data(
    recipe: Recipe, options: argparse.Namespace
) -> tuple[PairDataset, Sequence[int], Validation | None]:
    """The training split, the indices of it to train on, and what validates (None: nothing does).

    Validation frames are the dataset's split "val", else a fraction of train; "test" only if asked for.
    """
    cache = not options.no_cache

    def split(name: str) -> PairDataset:
        return build_dataset(recipe.dataset, options.data, name, modality=recipe.modality, cache=cache)

    dataset = split("train")
    everything = range(len(dataset))
    if not recipe.eval_every:
        if options.select_on_test:
            raise ValueError("--select-on-test needs --set eval_every=N, the epochs between two looks.")
        return dataset, everything, None
    if options.select_on_test:
        test = split("test")
        found = test, range(len(test)), f"the test split ({len(test)} frames)", True
    elif "val" in dataset.splits:
        val = split("val")
        reported = dataset.name in REGISTRY  # DELIVER's published figures are on its val split
        found = val, range(len(val)), f"the split val ({len(val)} frames)", reported
    elif recipe.val_fraction:
        everything, held = hold_out(len(dataset), recipe.val_fraction, recipe.seed)
        found = dataset, held, f"{len(held)} frames held out from train (seed {recipe.seed})", False
    else:
        raise ValueError(
            f"{dataset.name} has no split 'val' and eval_every is {recipe.eval_every}: hold frames out with "
            f"--set val_fraction=0.1. (--select-on-test chooses on the test split, and the card will say so.)"
        )
    frames, indices, description, reported = found
    return dataset, everything, Validation(frames, list(indices), description, reported, options.out)


def open_dataset(
    model: KTB, name: str, data: Path | None, split: str, modality: str | None = None
) -> PairDataset:
    """The dataset with the X that the model was trained on, if it offers that, unless `modality` says which.

    Raises ValueError as `build_dataset` does; logs a warning if the model was trained on another X.
    """
    trained = model.config.inputs.modality
    if modality is None and name in REGISTRY and trained in REGISTRY[name].modalities:
        modality = trained
    dataset = build_dataset(name, data, split, modality=modality)
    if trained not in ("other", dataset.modality):
        logger.warning("The model was trained on %s and is given %s as X.", trained, dataset.modality)
    return dataset
