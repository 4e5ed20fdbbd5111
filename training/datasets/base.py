"""What every RGB+X dataset shares: samples, the memory cache and errors that name the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from ktb.labels import DATASETS

IGNORE_INDEX = 255


class Sample(NamedTuple):
    """One labelled pair, all of the same H x W.

    name: what the split file calls it. rgb: (H, W, 3) uint8 in RGB order. modal_x: (H, W) or (H, W, 3),
    values 0..255 (uint8, or float32 after augmentation). label: (H, W) uint8, class or 255 = ignored.
    """

    name: str
    rgb: np.ndarray
    modal_x: np.ndarray
    label: np.ndarray


class PairDataset:
    """A list of samples below a folder; subclasses say where the files lie and how labels are stored.

    Class attributes to set: `name` (a key of `ktb.labels.DATASETS`), `splits` (split -> list file), `layout`,
    `label_table` (256,) int16: stored value -> class, 255 for ignore, -1 for a value that must not occur.
    The constructor and `[index]` raise ValueError naming the file that is missing or wrong, and the layout.
    """

    name: str
    splits: ClassVar[dict[str, str]]
    layout: str
    label_table: np.ndarray

    def __init__(self, root: str | Path, split: str, *, cache: bool = False):
        self.root = Path(root)
        self.split = split
        self.num_classes = len(DATASETS[self.name].classes)
        self._cache: dict[int, Sample] | None = {} if cache else None
        if split not in self.splits:
            raise ValueError(f"{self.name} has no split '{split}'; choose from {', '.join(self.splits)}.")
        if not self.root.is_dir():
            raise self._error(self.root, "the dataset's folder is missing")
        self.names = self._read_names(self.root / self.splits[split])

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Read sample `index` as stored; arrays may be shared with the cache: do not write into them."""
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        sample = self._read(self.names[index])
        if self._cache is not None:
            self._cache[index] = sample
        return sample

    def paths(self, name: str) -> tuple[Path, Path, Path]:
        """The rgb, X and label files of a sample."""
        raise NotImplementedError

    def _read(self, name: str) -> Sample:
        rgb_path, x_path, label_path = self.paths(name)
        rgb = cv2.cvtColor(self._image(rgb_path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        modal_x = self._image(x_path, cv2.IMREAD_UNCHANGED)
        if modal_x.dtype != np.uint8:
            raise self._error(x_path, f"expected 8-bit values, found {modal_x.dtype}")
        if modal_x.ndim == 3:
            modal_x = cv2.cvtColor(modal_x[..., :3], cv2.COLOR_BGR2RGB)
        stored = self._image(label_path, cv2.IMREAD_UNCHANGED)
        if stored.ndim != 2 or stored.dtype != np.uint8:
            raise self._error(label_path, f"expected one 8-bit channel, found {stored.dtype} {stored.shape}")
        for path, image in ((x_path, modal_x), (label_path, stored)):
            if image.shape[:2] != rgb.shape[:2]:
                raise self._error(
                    path, f"size {image.shape[:2]} differs from the RGB image's {rgb.shape[:2]}"
                )
        mapped = self.label_table[stored]
        if mapped.min() < 0:
            wrong = int(stored[mapped < 0].max())
            allowed = np.flatnonzero(self.label_table >= 0)
            raise self._error(label_path, f"label value {wrong} is outside {allowed[0]}..{allowed[-1]}")
        return Sample(name, rgb, modal_x, mapped.astype(np.uint8))

    def _read_names(self, path: Path) -> list[str]:
        if not path.is_file():
            raise self._error(path, f"the list of the split '{self.split}' is missing")
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not names:
            raise self._error(path, "the list is empty, expected one sample name a line")
        for name in names:
            for file in self.paths(name):
                if not file.is_file():
                    raise self._error(
                        file, f"the list {path.name} names sample '{name}', this file is missing"
                    )
        return names

    def _image(self, path: Path, flags: int) -> np.ndarray:
        image = cv2.imread(str(path), flags)
        if image is None:
            raise self._error(path, "cannot be read as an image")
        return image

    def _error(self, path: Path, what: str) -> ValueError:
        return ValueError(f"{path}: {what}. Expected layout of {self.name}: {self.layout}")


def hold_out(count: int, fraction: float, seed: int) -> tuple[Sequence[int], Sequence[int]]:
    """Split 0..count-1 reproducibly into (kept, held out); at least one is held out if fraction > 0."""
    if not 0 <= fraction < 1:
        raise ValueError(f"val_fraction must be in [0, 1), got {fraction}.")
    held = max(1, round(count * fraction)) if fraction > 0 else 0
    order = np.random.default_rng([seed, count]).permutation(count)
    return sorted(order[held:].tolist()), sorted(order[:held].tolist())
