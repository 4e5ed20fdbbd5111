"""Small parts of the datasets: samples, label tables, names in lists, errors that name the file."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ktb.labels import IGNORE_INDEX
from ktb.utils.text import did_you_mean

FORBIDDEN = -1  # in a label table: a stored value that must not occur


class Sample(NamedTuple):
    """One labelled pair, all of the same H x W.

    name: what the split file calls it. rgb: (H, W, 3) uint8 in RGB order. modal_x: (H, W) or (H, W, 3) uint8
    or float32 on the 0..255 scale (-255..255 for AoLP's sine and cosine). label: (H, W) uint8, class or
    255 = ignored.
    """

    name: str
    rgb: np.ndarray
    modal_x: np.ndarray
    label: np.ndarray


class LayoutError(ValueError):
    """A file that is missing or wrong: `path`, `what` is wrong with it, and in the message the layout."""

    def __init__(self, path: Path, what: str, dataset: str, layout: str):
        super().__init__(f"{path}: {what}. Expected layout of {dataset}: {layout}")
        self.path = path
        self.what = what


def choose(what: str, value: str, allowed: Iterable[str]) -> str:
    """`value` if it is allowed; else ValueError with the allowed ones and the nearest of them."""
    allowed = list(allowed)
    if value in allowed:
        return value
    hint = did_you_mean(str(value).lower(), allowed)
    raise ValueError(f"{what} '{value}' is not known; choose from {', '.join(allowed)}.{hint}")


def label_table(classes: int, first: int = 0, ignored: Sequence[int] = ()) -> np.ndarray:
    """(256,) int16: stored value -> class, for classes stored from `first` on; 255 for the ignored values."""
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
