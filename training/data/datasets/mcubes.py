"""MCubeS: colour, near infrared and polarisation of streets, 20 materials."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from training.data.datasets.base import READ_COLOR, PairDataset
from training.data.datasets.sample import label_table

MARGIN = 192  # columns on the left side where the cameras do not overlap
_X = {
    "nir": (("NIR_warped", "png"),),
    "dolp": (("polL_dolp", "npy"),),
    "aolp": (("polL_aolp_sin", "npy"), ("polL_aolp_cos", "npy")),
}


class MCubeS(PairDataset):
    """Labels are used as stored; 255 is ignored. The first 192 columns of every image are removed.

    Images may have 8 or 16 bits: 16-bit RGB is rounded to 8 bits, 16-bit NIR is scaled by 255 / 65535 in the
    whole set, whatever levels an image has. AoLP is (sin, cos, sin) * 255, in -255..255. DoLP is the stored
    value * 255 in three channels.
    """

    name = "mcubes"
    splits: ClassVar = ("train", "test")
    modalities: ClassVar = ("nir", "dolp", "aolp")
    published: ClassVar = {"train": 302, "test": 102}
    layout = (
        "ROOT/{polL_color/NAME.png (8- or 16-bit), GT/NAME.png (0..19, 255 = ignored)} and, as X, "
        "ROOT/{NIR_warped/NAME.png (8- or 16-bit) or polL_dolp/NAME.npy or polL_aolp_sin/NAME.npy with "
        "polL_aolp_cos/NAME.npy}, ROOT/list_folder/{train,test}.txt with one NAME a line."
    )
    labels_stored = label_table(20, ignored=[255])
    sixteen_bit: ClassVar = frozenset({"nir"})

    def _list_file(self) -> Path:
        return self.root / "list_folder" / f"{self.split}.txt"

    def _files(self, name: str) -> tuple[Path, ...]:
        x_files = (self.root / folder / f"{name}.{suffix}" for folder, suffix in _X[self.modality])
        return (self.root / "polL_color" / f"{name}.png", *x_files, self.root / "GT" / f"{name}.png")

    def _read_rgb(self, path: Path) -> np.ndarray:
        image = self._image(path, READ_COLOR)
        if image.dtype == np.uint16:
            image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)  # round(v * 255 / 65535)
        elif image.dtype != np.uint8:
            raise self._error(path, f"expected 8- or 16-bit values, found {image.dtype}")
        return self._crop(image, path)

    def _read_x(self, paths: Sequence[Path]) -> np.ndarray:
        if self.modality == "nir":
            nir = self._crop(super()._read_x(paths), paths[0])
            return cv2.merge([nir] * 3)
        arrays = [self._crop(self._array(path), path) * np.float32(255) for path in paths]
        if arrays[0].shape != arrays[-1].shape:
            raise self._error(
                paths[1], f"shape {arrays[1].shape} differs from {paths[0]}'s {arrays[0].shape}"
            )
        return np.ascontiguousarray(np.stack([arrays[0], arrays[-1], arrays[0]], axis=-1))

    def _read_label(self, path: Path) -> np.ndarray:
        return self._crop(super()._read_label(path), path)

    def _array(self, path: Path) -> np.ndarray:
        """(H, W) float32; sines and cosines lie in -1..1, degrees of polarisation are not negative."""
        try:
            array = np.load(path, allow_pickle=False)
        except FileNotFoundError as error:
            raise self._error(path, "the file is missing") from error
        except Exception as error:  # damaged files raise many types
            raise self._error(path, f"cannot be read as a .npy array ({error})") from error
        if array.ndim != 2 or array.dtype.kind != "f":
            raise self._error(path, f"expected a float array (H, W), found {array.dtype} {array.shape}")
        low, high = (-1.001, 1.001) if self.modality == "aolp" else (0.0, np.inf)
        if not (np.isfinite(array).all() and array.min() >= low and array.max() <= high):
            allowed = "-1..1" if self.modality == "aolp" else "finite and not negative"
            raise self._error(path, f"values {array.min():g}..{array.max():g}, expected {allowed}")
        return array.astype(np.float32)

    def _crop(self, image: np.ndarray, path: Path) -> np.ndarray:
        if image.shape[1] <= MARGIN:
            raise self._error(path, f"{image.shape[1]} columns, of which the first {MARGIN} are removed")
        return np.ascontiguousarray(image[:, MARGIN:])
