"""A custom dataset, described by a YAML file (`ktb.datasets.custom`), for training and evaluation."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ktb.config import InputConfig
from ktb.datasets.custom import CustomDataset
from ktb.datasets.labels import read_stored
from ktb.inputs import RawX, RgbImage, read_rgb
from ktb.inputs.alignment.turn import SIDEWAYS, upright
from training.data.datasets.base import PairDataset
from training.data.datasets.sample import choose
from training.data.x_tally import XTally

T = TypeVar("T")
_OFFER = "If it lies as the sensor stored the pixels, say turn_labels: exif in the YAML file."


def _turned(rgb: RgbImage) -> str:
    return f"The RGB image was turned by its EXIF orientation ({rgb.orientation})"


class CustomPairDataset(PairDataset):
    """The pairs of a YAML file; X is encoded by `ktb.inputs.encode_x` as on the page, times 255.

    modal_x: (H, W) float32 for depth, otherwise (H, W, 3): uint8 if the file has 8 bits and the RGB image's
    size, else float32. root: replaces the folder in the file. trained: inputs of the model to evaluate, for
    what the file does not say about X.

    `x_tally` and `stored_labels` count what the readers said of the X files read so far, and the stored
    values of the label files, also of those that were refused.
    """

    def __init__(
        self,
        file: str | Path,
        split: str,
        *,
        root: str | Path | None = None,
        modality: str | None = None,
        cache: bool = False,
        verify: bool = True,
        trained: InputConfig | None = None,
    ):
        self.data = CustomDataset(file, root, trained)
        self.x_tally = XTally()
        self.stored_labels: Counter[int] = Counter()
        self._counted: set[Path] = set()
        keys = self.data.keys
        if not self.data.has_labels:
            raise self.data.error("labels", "missing, and training and evaluation need them")
        self.name, self.root, self.split = self.data.name, self.data.root, split
        self.splits, self.modalities = self.data.splits, (keys.modality,)
        self.modality = choose(f"{self.data.file}: modality", modality or keys.modality, self.modalities)
        self.classes, self.palette = self.data.labels.classes, self.data.labels.palette
        self.layout = self.data.layout
        pairs = self.data.pairs(split, verify=verify)
        self._pairs = {pair.name: pair for pair in pairs}
        self._photos = {file: pair.rgb for pair in pairs for file in (pair.x, pair.label)}
        self._turns: dict[Path, RgbImage] = {}  # without pixels: orientation and notes of photos read so far
        self._open([pair.name for pair in pairs], cache, verify)

    @property
    def input_config(self) -> dict[str, Any]:
        """Fields of `ktb.config.InputConfig` of a model trained on this dataset."""
        return self.data.input_config

    def x_reading(self, examine: int = 0) -> dict[str, Any]:
        """How X is read, as JSON, with the counts of the X files read so far (`XTally.report`).

        examine: number of samples that are read first, evenly spaced.
        """
        for index in sorted(set(np.linspace(0, len(self) - 1, examine).round().astype(int).tolist())):
            self[index]
        return self.data.reading.to_dict(self.modality) | self.x_tally.report()

    def _files(self, name: str) -> tuple[Path, ...]:
        pair = self._pairs[name]
        assert pair.label is not None
        return pair.rgb, pair.x, pair.label

    def _read_rgb(self, path: Path) -> np.ndarray:
        rgb = self._checked(path, lambda: read_rgb(path))
        self._turns[path] = replace(rgb, pixels=np.broadcast_to(np.uint8(0), rgb.pixels.shape))
        return rgb.pixels

    def _read_x(self, paths: Sequence[Path]) -> RawX:
        """X as stored; `_fit_x` encodes it for the network."""
        return self._checked(paths[0], lambda: self.data.read_x(paths[0]))

    def _fit_x(self, modal_x: RawX, path: Path, size_hw: tuple[int, int]) -> np.ndarray:
        rgb = self._turns[self._photos[path]]
        encoded = self._checked(path, lambda: self.data.encode_x(modal_x, rgb))
        if rgb.orientation != 1 and rgb.orientation not in SIDEWAYS and self.data.keys.turn_labels == "auto":
            note = f"{_turned(rgb)}, its label was left as it is. {_OFFER}"
            encoded = replace(encoded, warnings=(*encoded.warnings, note))
        self.x_tally.add(path, encoded)
        image = encoded.image
        if self.data.encoding == "depth":
            return image[..., 0] * np.float32(255)
        if image.min() >= 0 and np.array_equal(image, np.round(image * 255) / np.float32(255)):
            return np.round(image * 255).astype(np.uint8)  # a quarter of the memory, the same values
        return image * np.float32(255)

    def _read_label(self, path: Path) -> np.ndarray:
        stored = self._checked(path, lambda: read_stored(path))
        if stored.ndim == 2 and path not in self._counted:
            self._counted.add(path)
            values, counts = np.unique(stored, return_counts=True)
            self.stored_labels.update(dict(zip(values.tolist(), counts.tolist())))
        rgb = self._turns.get(self._photos[path])  # none if the photo cannot be read
        if rgb is not None and self.data.keys.turn_labels == "exif":
            stored = np.ascontiguousarray(upright(stored, rgb.orientation))
        elif rgb is not None and rgb.orientation in SIDEWAYS and stored.shape[:2] == rgb.pixels.shape[1::-1]:
            size = f"{stored.shape[1]} x {stored.shape[0]}"
            raise self._error(path, f"{_turned(rgb)}; the label has the unturned size, {size}. {_OFFER}")
        return self._checked(path, lambda: self.data.label_rule.to_classes(stored, path.name))

    def _checked(self, path: Path, read: Callable[[], T]) -> T:
        """The result of `read`; a ValueError becomes an error with the file and the layout."""
        try:
            return read()
        except ValueError as error:
            raise self._error(path, str(error)) from error
