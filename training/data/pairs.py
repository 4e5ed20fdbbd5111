"""Real pairs without pixel labels: RGB and thermal images of streets, some with boxes around objects."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np

from ktb.config import InputConfig
from ktb.inputs import encode_x, read_image_rgb, read_x
from ktb.inputs.perturb import translated

Annotation = Literal["rgb", "thermal", "fused"]
ANNOTATIONS: tuple[Annotation, ...] = ("rgb", "thermal", "fused")
PERSON, BICYCLE, CAR = 0, 1, 2
BLOCKS, HELD_OUT = 10, (2, 7)
LAYOUT = (
    "ROOT/{RGB/NAME.jpg, Thermal/NAME.jpg}, ROOT/pairs.txt with one NAME a line, and with boxes "
    "ROOT/Boxes/{rgb, thermal, fused}/NAME.txt: lines `class cx cy w h` as fractions of the image, classes "
    "0 person, 1 bicycle, 2 car"
)


class Boxes(NamedTuple):
    """Boxes of one annotation: kinds (N,) int64 and corners (N, 4) float32 left, top, right, bottom."""

    kinds: np.ndarray
    corners: np.ndarray

    def of(self, *kinds: int) -> np.ndarray:
        """The corners (M, 4) of the boxes of these kinds."""
        return self.corners[np.isin(self.kinds, kinds)]


class Pair(NamedTuple):
    """One pair; rgb (H, W, 3) uint8, modal_x (H, W) float32 in 0..255 as encoded for the network.

    boxes: in pixels, by annotation; None if nobody annotated the pair.
    """

    name: str
    rgb: np.ndarray
    modal_x: np.ndarray
    boxes: Mapping[Annotation, Boxes] | None


class PairFolder:
    """The pairs of a folder; `split` "train" or "val" are separate blocks, "all" is everything.

    The names of the day and those of the night (a last letter N) are each cut into ten contiguous blocks, of
    which two are "val". The neighbours of a "val" block belong to no split, because consecutive frames are
    alike. Raises ValueError if the folder does not follow the layout.
    """

    def __init__(self, root: str | Path, inputs: InputConfig, split: str = "all"):
        self.root, self.inputs = Path(root), inputs
        path = self.root / "pairs.txt"
        if not path.is_file():
            raise ValueError(f"{path} is missing. Expected layout: {LAYOUT}")
        names = sorted(path.read_text().split())
        if split not in ("train", "val", "all"):
            raise ValueError(f"split '{split}' is not known; choose train, val or all")
        self.names = (
            names if split == "all" else [n for n, part in block_split(names).items() if part == split]
        )
        self.has_boxes = (self.root / "Boxes").is_dir()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Pair:
        name = self.names[index]
        rgb = read_image_rgb(self._file("RGB", name))
        encoded = encode_x(read_x(self._file("Thermal", name)), self.inputs, rgb.shape[:2])
        modal_x = encoded.image[..., 0] * np.float32(255)
        boxes = (
            {kind: self._read_boxes(kind, name, rgb.shape) for kind in ANNOTATIONS}
            if self.has_boxes
            else None
        )
        return Pair(name, rgb, modal_x, boxes)

    def _file(self, folder: str, name: str) -> Path:
        found = sorted((self.root / folder).glob(f"{name}.*"))
        if not found:
            raise ValueError(f"{self.root / folder / name}.jpg is missing. Expected layout: {LAYOUT}")
        return found[0]

    def _read_boxes(self, annotation: str, name: str, shape: Sequence[int]) -> Boxes:
        path = self.root / "Boxes" / annotation / f"{name}.txt"
        if not path.is_file():
            raise ValueError(f"{path} is missing. Expected layout: {LAYOUT}")
        try:
            rows = np.array([line.split() for line in path.read_text().splitlines() if line.strip()], float)
        except ValueError as error:
            raise ValueError(f"{path} is no list of boxes ({error}). Expected layout: {LAYOUT}") from error
        rows = rows.reshape(-1, 5)
        centre, size = rows[:, 1:3], rows[:, 3:5]
        scale = np.array([shape[1], shape[0]] * 2)
        corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1) * scale
        return Boxes(rows[:, 0].astype(np.int64), np.clip(corners, 0, scale).astype(np.float32))


def is_night(name: str) -> bool:
    """Whether a pair's name says that it was taken by night."""
    return name.upper().endswith("N")


def block_split(names: Sequence[str]) -> dict[str, str]:
    """name → "train", "val" or "border" (the neighbours of a "val" block); see `PairFolder`."""
    parts = {}
    for night in (False, True):
        group = [name for name in names if is_night(name) == night]
        block = [index * BLOCKS // max(1, len(group)) for index in range(len(group))]
        held = [number in HELD_OUT for number in block]
        for index, name in enumerate(group):
            near = any(held[max(0, index - 1) : index + 2])
            parts[name] = "val" if held[index] else "border" if near else "train"
    return parts


def crop_pair(
    pair: Pair, crop: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator
) -> Pair:
    """A random crop (height, width) of a pair at a random scale, mirrored in half of the cases.

    scale: as in `training.data.augment.AugmentConfig`, at least 1 is used. Boxes are cut to the crop; those
    without a pixel in it are left out.
    """
    height, width = pair.modal_x.shape
    factor = max(rng.uniform(*scale) * min(crop) / min(height, width), crop[0] / height, crop[1] / width)
    rows, columns = min(height, round(crop[0] / factor)), min(width, round(crop[1] / factor))
    top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - columns + 1)
    mirrored = rng.random() < 0.5
    window = slice(top, top + rows), slice(left, left + columns)

    def cut(image: np.ndarray) -> np.ndarray:
        part = cv2.resize(np.ascontiguousarray(image[window]), crop[::-1], interpolation=cv2.INTER_LINEAR)
        return np.ascontiguousarray(part[:, ::-1]) if mirrored else part

    def moved(boxes: Boxes) -> Boxes:
        corners = boxes.corners - np.array([left, top, left, top])
        corners *= np.array([crop[1] / columns, crop[0] / rows] * 2)
        if mirrored:
            corners[:, [0, 2]] = crop[1] - corners[:, [2, 0]]
        whole = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
        corners = np.clip(corners, 0, np.array([crop[1], crop[0]] * 2))
        seen = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
        kept = seen >= 0.3 * whole
        return Boxes(boxes.kinds[kept], corners[kept].astype(np.float32))

    boxes = None if pair.boxes is None else {kind: moved(found) for kind, found in pair.boxes.items()}
    return Pair(pair.name, cut(pair.rgb), cut(pair.modal_x), boxes)


def displaced(modal_x: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """X (H, W) moved by up to `most` whole pixels along each axis; the border is repeated."""
    right, down = rng.integers(-most, most + 1, 2).tolist()
    return translated(modal_x, right, down)
