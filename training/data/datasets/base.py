"""The base class of all datasets: lists, checked reading, the cache, errors that name the file."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from PIL import Image

from ktb.config import Modality
from ktb.datasets.lists import read_lines
from ktb.inputs.readers.labels import LOSSLESS
from ktb.inputs.readers.stills import PICTURE_FORMATS
from ktb.inputs.units import unit_name
from ktb.labels import DATASETS, IGNORE_INDEX
from ktb.modalities import DATASET_INPUTS, DEFAULT_ENCODINGS
from training.data.datasets.sample import LayoutError, Sample, choose, sample_name

HELD_BLOCKS = 8
"""Number of blocks of consecutive samples that `hold_out` takes."""
READ_COLOR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


class PairDataset(ABC):
    """A list of samples; subclasses define the paths and the storage of the files.

    Class attributes to set:
        name: a key of `ktb.labels.DATASETS`.
        splits: names of the splits.
        published: number of samples of each split in publications, if known.
        modalities: possible modalities of X, the default first; values of `ktb.config.Modality`.
        layout: the paths of all files, one sentence for messages.
        labels_stored: `label_table` of the stored values.
        grey, sixteen_bit: modalities with one channel; modalities that may have 16 bits.

    Attributes: `classes`, `palette`, `num_classes`, `modality`, `split`, `names`, `root`.

    The constructor and `[index]` raise ValueError with the missing or invalid file, the expectation and the
    layout. With verify=False a missing file is reported when it is read.
    """

    name: str
    splits: ClassVar[tuple[str, ...]]
    modalities: ClassVar[tuple[str, ...]]
    published: ClassVar[dict[str, int]] = {}
    layout: str
    labels_stored: ClassVar[np.ndarray]
    grey: ClassVar[frozenset[str]] = frozenset({"depth", "thermal", "nir"})
    sixteen_bit: ClassVar[frozenset[str]] = frozenset()

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        modality: str | None = None,
        cache: bool = False,
        verify: bool = True,
    ):
        self.root = Path(root)
        self.split = choose(f"{self.name}: split", split, self.splits)
        self.modality = choose(f"{self.name}: modality", modality or self.modalities[0], self.modalities)
        self.classes = DATASETS[self.name].classes
        self.palette = DATASETS[self.name].palette
        if not self.root.is_dir():
            raise self._error(self.root, "the dataset's folder is missing")
        self._open(self._list_names(), cache, verify)

    def _open(self, names: list[str], cache: bool, verify: bool) -> None:
        self.names = names
        self._cache: dict[int, Sample] | None = {} if cache else None
        missing = self.missing_files() if verify else []
        if missing:
            more = f" (and {len(missing) - 1} more files)" if len(missing) > 1 else ""
            raise self._error(missing[0][1], f"sample '{missing[0][0]}' needs this file, it is missing{more}")

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.classes)

    @classmethod
    def inputs_of(cls, modality: Modality) -> dict[str, Any]:
        """Fields of `ktb.config.InputConfig` of a model trained on this modality."""
        fields = {"modality": modality, "encoding": DEFAULT_ENCODINGS[modality]}
        return fields | dict(DATASET_INPUTS.get((cls.name, modality), {}))

    @property
    def input_config(self) -> dict[str, Any]:
        """Fields of `ktb.config.InputConfig` of a model trained on this dataset."""
        return self.inputs_of(self.modality)

    def x_reading(self, examine: int = 0) -> dict[str, Any]:
        """How X is read, as JSON: `unit` and `surety`; of custom datasets also counts of the files read.

        examine: number of samples that are read first.
        """
        unit = self.input_config.get("unit", "auto")
        if unit == "auto":
            return {}
        return {"unit": unit_name(self.modality, unit), "surety": "certain, by the dataset's layout"}

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Read sample `index` as stored; the cache may share the arrays, so do not write into them."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        sample, problems = self.examine(index)
        if problems:
            raise problems[0]
        assert sample is not None
        if self._cache is not None:
            self._cache[index] = sample
        return sample

    def drawn(self, index: int, rng: np.random.Generator) -> Sample:
        """Sample `index` for training, before augmentation; a dataset that simulates draws from `rng`."""
        return self[index]

    def files(self, index: int) -> tuple[Path, ...]:
        """The rgb file, the X file or files, and the label file of a sample."""
        return self._files(self.names[index])

    def condition(self, index: int) -> str | None:
        """The condition of sample `index`, for tables per condition; None if unknown.

        It joins the values of `conditions`, such as "night" or "night/motionblur".
        """
        return "/".join(self.conditions(index).values()) or None

    def conditions(self, index: int) -> dict[str, str]:
        """The conditions by kind, such as {"weather": "night", "case": "motionblur"}."""
        return {}

    def missing_files(self) -> list[tuple[str, Path]]:
        """(sample name, file) of every missing file of a sample."""
        here: dict[Path, set[str]] = {}  # one listing per folder instead of one lookup per file
        missing = []
        for index, name in enumerate(self.names):
            for file in self.files(index):
                if file.parent not in here:
                    here[file.parent] = set(os.listdir(file.parent)) if file.parent.is_dir() else set()
                if file.name not in here[file.parent]:
                    missing.append((name, file))
        return missing

    def examine(self, index: int) -> tuple[Sample | None, list[LayoutError]]:
        """Read sample `index`; errors are collected, at most one per file."""
        rgb_file, *x_files, label_file = self.files(index)
        parts, problems = [], []
        for read, argument in (
            (self._read_rgb, rgb_file),
            (self._read_x, x_files),
            (self._read_label, label_file),
        ):
            try:
                parts.append(read(argument))
            except LayoutError as error:
                problems.append(error)
        if problems:
            return None, problems
        rgb, modal_x, label = parts
        try:
            modal_x = self._fit_x(modal_x, x_files[0], rgb.shape[:2])
        except LayoutError as error:
            return None, [error]
        for path, image in ((x_files[0], modal_x), (label_file, label)):
            if image.shape[:2] != rgb.shape[:2]:
                size = f"size {_size(image)} differs from the RGB image's {_size(rgb)} (width x height)"
                problems.append(self._error(path, size))
        if problems:
            return None, problems
        return Sample(self.names[index], rgb, modal_x, label), []

    # Subclasses define or override these.

    @abstractmethod
    def _files(self, name: str) -> tuple[Path, ...]:
        """The paths of a sample: RGB image, X in one or more files, label."""

    def _list_file(self) -> Path:
        return self.root / f"{self.split}.txt"

    def _list_names(self) -> list[str]:
        """The names of the split, from its list file."""
        path = self._list_file()
        if not path.is_file():
            raise self._error(path, f"the list of the split '{self.split}' is missing")
        try:
            names = [sample_name(line) for line in read_lines(path)]
        except ValueError as error:
            raise self._error(path, str(error)) from error
        if not names:
            raise self._error(path, "the list is empty, expected one sample name a line")
        return names

    def _list_folder(self, folder: Path, pattern: str) -> list[Path]:
        """The files of a split that is a folder, sorted, without hidden files."""
        if not folder.is_dir():
            raise self._error(folder, f"the folder of the split '{self.split}' is missing")
        found = sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))
        if not found:
            raise self._error(folder, f"the folder of the split '{self.split}' has no {pattern}")
        return found

    def _read_rgb(self, path: Path) -> np.ndarray:
        """(H, W, 3) uint8."""
        image = self._image(path, READ_COLOR)
        if image.dtype != np.uint8:
            raise self._error(path, f"expected 8 bits a channel, found {image.dtype}")
        return image

    def _read_x(self, paths: Sequence[Path]) -> np.ndarray:
        """(H, W) or (H, W, 3), uint8; float32 in 0..255 if the file has 16 bits."""
        (path,) = paths
        image = self._image(path, cv2.IMREAD_UNCHANGED)
        if self.modality in self.grey and image.ndim == 3:
            if np.ptp(image, axis=-1).any():
                raise self._error(path, f"expected one channel of {self.modality}, found a colour image")
            image = image[..., 0].copy()
        if self.modality in ("hha", "event") and image.ndim == 2:
            raise self._error(path, f"expected 3 channels of {self.modality}, found 1")
        if image.dtype == np.uint16 and self.modality in self.sixteen_bit:
            return image.astype(np.float32) * np.float32(255 / 65535)
        if image.dtype != np.uint8:
            allowed = "8- or 16-bit" if self.modality in self.sixteen_bit else "8-bit"
            raise self._error(path, f"expected {allowed} values, found {image.dtype}")
        return image

    def _read_label(self, path: Path) -> np.ndarray:
        """(H, W) uint8: classes and 255."""
        stored = self._stored_label(path)
        if stored.ndim != 2 or stored.dtype != np.uint8:
            raise self._error(path, f"expected one 8-bit channel, found {stored.dtype} {stored.shape}")
        mapped = self.labels_stored[stored]
        if mapped.min() < 0:
            wrong = np.unique(stored[mapped < 0])
            raise self._error(path, f"label value {_some(wrong)} is outside {self._allowed_labels()}")
        return mapped.astype(np.uint8)

    def _stored_label(self, path: Path) -> np.ndarray:
        """The label image as stored; a palette image gives its indices, not its colours."""
        try:
            with Image.open(path, formats=PICTURE_FORMATS) as picture:
                stored, kind = np.array(picture), picture.format
        except FileNotFoundError as error:
            raise self._error(path, "the file is missing") from error
        except Exception as error:  # decoders raise many types for damaged data
            raise self._error(path, f"cannot be read as an image ({error})") from error
        if kind not in LOSSLESS:
            raise self._error(path, f"a {kind} picture loses class numbers; give the labels as PNG")
        return stored

    def _fit_x(self, modal_x: np.ndarray, path: Path, size_hw: tuple[int, int]) -> np.ndarray:
        """X at the RGB image's size (height, width); subclasses resize if their layout has another size."""
        return modal_x

    # Helpers for messages and files.

    def _allowed_labels(self) -> str:
        table = self.labels_stored
        classes = np.flatnonzero((table >= 0) & (table != IGNORE_INDEX))
        ignored = np.flatnonzero(table == IGNORE_INDEX)
        text = f"{classes[0]}..{classes[-1]}"
        return text + (f" (and {', '.join(map(str, ignored))} = ignored)" if len(ignored) else "")

    def _image(self, path: Path, flags: int) -> np.ndarray:
        """An image in RGB order without alpha, with its own bit depth."""
        image = cv2.imread(str(path), flags)
        if image is None:
            raise self._error(path, "cannot be read as an image" if path.is_file() else "the file is missing")
        return image if image.ndim == 2 else np.ascontiguousarray(image[..., 2::-1])

    def _error(self, path: Path, what: str) -> LayoutError:
        return LayoutError(path, what, self.name, self.layout)


def hold_out(count: int, fraction: float) -> tuple[Sequence[int], Sequence[int]]:
    """Split 0..count-1 into (kept, held out); at least one is held out if fraction > 0.

    The list is cut into `HELD_BLOCKS` equal parts, and the middle of each is held out: neighbours in a list
    often show one scene, and a frame whose neighbours are trained on would flatter the model. The split
    depends on nothing else, so all runs on a list can be compared.

    Raises:
        ValueError: the fraction is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"val_fraction must be in [0, 1), got {fraction}.")
    number = max(1, round(count * fraction)) if fraction > 0 else 0
    blocks = min(HELD_BLOCKS, number)
    held: list[int] = []
    for block in range(blocks):
        start, stop = (count * side // blocks for side in (block, block + 1))
        size = number * (block + 1) // blocks - number * block // blocks
        first = start + (stop - start - size) // 2
        held += range(first, first + size)
    return sorted(set(range(count)) - set(held)), held


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _some(values: np.ndarray, limit: int = 5) -> str:
    return ", ".join(map(str, values[:limit])) + (" ..." if len(values) > limit else "")
