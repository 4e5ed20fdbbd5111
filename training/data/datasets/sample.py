"""Helpers of the datasets: samples, label tables, sample names, errors that name the file."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ktb.labels import IGNORE_INDEX
from ktb.utils.text import did_you_mean

FORBIDDEN = -1  # in a label table: an invalid stored value


class Sample(NamedTuple):
    """One labelled pair; all arrays have the same H x W.

    name: its name in the split file. rgb: (H, W, 3) uint8 in RGB order. modal_x: (H, W) or (H, W, 3) uint8
    or float32 on the 0..255 scale (-255..255 for AoLP's sine and cosine). label: (H, W) uint8, class or
    255 = ignored.
    """

    name: str
    rgb: np.ndarray
    modal_x: np.ndarray
    label: np.ndarray


class LayoutError(ValueError):
    """A missing or invalid file: its `path`, `what` is wrong; the message also has the layout."""

    def __init__(self, path: Path, what: str, dataset: str, layout: str):
        super().__init__(f"{path}: {what}. Expected layout of {dataset}: {layout}")
        self.path = path
        self.what = what


def choose(what: str, value: str, allowed: Iterable[str]) -> str:
    """Return `value` if it is allowed; else raise ValueError with the allowed values and the nearest one."""
    allowed = list(allowed)
    if value in allowed:
        return value
    hint = did_you_mean(str(value).lower(), allowed)
    raise ValueError(f"{what} '{value}' is not known; choose from {', '.join(allowed)}.{hint}")


def label_table(classes: int, first: int = 0, ignored: Sequence[int] = ()) -> np.ndarray:
    """(256,) int16: stored value → class, for classes stored from `first` on; ignored values → 255."""
    table = np.full(256, FORBIDDEN, np.int16)
    table[first : first + classes] = np.arange(classes)
    table[list(ignored)] = IGNORE_INDEX
    return table


def sample_name(line: str) -> str:
    """The sample's name in a line such as "NAME", "NAME.png" or "RGB/NAME.jpg labels/NAME.png"."""
    name = line.split()[0]
    stem, suffix = os.path.splitext(name)
    name = stem if suffix.lower() in (".jpg", ".jpeg", ".png", ".npy") else name
    return name.rsplit("/", 1)[-1]
