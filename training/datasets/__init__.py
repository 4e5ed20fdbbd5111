"""The datasets by name."""

import difflib
from pathlib import Path

from training.datasets.base import PairDataset, Sample, hold_out
from training.datasets.nyuv2 import NYUv2

REGISTRY: dict[str, type[PairDataset]] = {"nyuv2": NYUv2}

__all__ = ["REGISTRY", "NYUv2", "PairDataset", "Sample", "build_dataset", "hold_out"]


def build_dataset(name: str, root: str | Path, split: str, *, cache: bool = False) -> PairDataset:
    """Open the `split` of the dataset `name` below the folder `root`.

    `cache` keeps every decoded sample in memory. Raises ValueError for an unknown name or split, or when the
    files do not follow the dataset's layout.
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(name, REGISTRY, 1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(f"Unknown dataset '{name}'; known: {', '.join(REGISTRY)}.{hint}")
    return REGISTRY[name](root, split, cache=cache)
