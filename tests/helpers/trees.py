"""Miniature trees of the datasets: the exact folders, names, bit depths and label codes, tiny images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

SIZE = (8, 12)


def write(path: Path, image: np.ndarray) -> None:
    """Write an array in RGB order as the suffix says (png, jpg or npy), making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, image)
    else:
        assert cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)


def write_list(path: Path, lines: list[str]) -> None:
    """Write the lines of a list file, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def make_tree(name: str, root: Path, *, size: tuple[int, int] | None = None, count: int = 2) -> Path:
    """Build the dataset `name` below `root`: `count` samples of size (H, W) in each split; returns root."""
    root.mkdir(parents=True, exist_ok=True)
    TREES[name](root, size or SIZE, count, np.random.default_rng(0))
    return root


def picture(rng: np.random.Generator, size: tuple[int, int], channels: int = 3, bits: int = 8) -> np.ndarray:
    """Random blocks, so that JPEG keeps them about as they are; (H, W) for one channel."""
    high, dtype = (256, np.uint8) if bits == 8 else (65536, np.uint16)
    shape = (-(-size[0] // 4), -(-size[1] // 4)) + ((channels,) if channels > 1 else ())
    blocks = rng.integers(0, high, shape).astype(dtype)
    return blocks.repeat(4, axis=0).repeat(4, axis=1)[: size[0], : size[1]]


def codes(stored: list[int], size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8 in which every stored label value occurs as often as there is room."""
    return np.resize(np.array(stored, np.uint8), size)


def _names(splits: tuple[str, ...], count: int) -> dict[str, list[int]]:
    """Numbers from 1 on for the samples of each split."""
    return {s: list(range(1 + i * count, 1 + (i + 1) * count)) for i, s in enumerate(splits)}


def _nyuv2(root, size, count, rng):
    for split, numbers in _names(("train", "test"), count).items():
        names = [f"{n:04d}" for n in numbers]
        for name in names:
            write(root / "RGB" / f"{name}.jpg", picture(rng, size))
            write(root / "Depth" / f"{name}.png", picture(rng, size, 1) // 2 + 20)
            write(root / "HHA" / f"{name}.jpg", picture(rng, size))
            write(root / "Event" / f"{name}.png", picture(rng, size))
            write(root / "Label" / f"{name}.png", codes(list(range(41)), size))
        write_list(root / f"{split}.txt", names)


def _sunrgbd(root, size, count, rng):
    for split, numbers in _names(("train", "test"), count).items():
        names = [f"img-{n:06d}" for n in numbers]
        for number, name in zip(numbers, names):
            write(root / "RGB" / f"{name}.jpg", picture(rng, size))
            depth = picture(rng, size, 1, bits=8 if number % 2 else 16)
            depth = depth if number % 2 else depth // 8 * 8  # millimetres below 8.192 m, rotated by 3 bits
            write(root / "Depth" / f"{name}.png", depth)
            write(root / "labels" / f"{name}.png", codes(list(range(38)), size))
        long = split == "train"
        write_list(root / f"{split}.txt", [f"RGB/{n}.jpg labels/{n}.png" if long else n for n in names])


def _mfnet(root, size, count, rng):
    for split, numbers in _names(("train", "test"), count).items():
        names = [f"{n:05d}{'DN'[n % 2]}" for n in numbers]
        for name in names:
            write(root / "rgb" / f"{name}.png", picture(rng, size))
            write(root / "ther" / f"{name}.png", picture(rng, size, 1))
            write(root / "labels" / f"{name}.png", codes(list(range(9)), size))
        write_list(root / f"{split}.txt", names)


def _pst900(root, size, count, rng):
    for split, numbers in _names(("train", "test"), count).items():
        for name in (f"{n}_bag_rgb" for n in numbers):
            write(root / split / "rgb" / f"{name}.png", picture(rng, size))
            write(root / split / "thermal" / f"{name}.png", picture(rng, size, 1))
            write(root / split / "labels" / f"{name}.png", codes(list(range(5)), size))


def _mcubes(root, size, count, rng):
    size = (size[0], size[1] + 192)  # so much wider than what is read
    for split, numbers in _names(("train", "test"), count).items():
        names = [f"outscene{n:04d}" for n in numbers]
        for number, name in zip(numbers, names):
            bits = 16 if number % 2 else 8
            angle = rng.uniform(0, np.pi, size)
            write(root / "polL_color" / f"{name}.png", picture(rng, size, bits=bits))
            write(root / "NIR_warped" / f"{name}.png", picture(rng, size, 1, bits))
            write(root / "polL_aolp_sin" / f"{name}.npy", np.sin(2 * angle))
            write(root / "polL_aolp_cos" / f"{name}.npy", np.cos(2 * angle))
            write(root / "polL_dolp" / f"{name}.npy", rng.uniform(0, 1, size))
            write(root / "GT" / f"{name}.png", codes([*range(20), 255], size))
            write(root / "SS" / f"{name}.png", codes([0, 1], size))
        write_list(root / "list_folder" / f"{split}.txt", names)


def _deliver(root, size, count, rng):
    """Weathers in turn; the second sample of a split is a corruption case."""
    for split, numbers in _names(("train", "val", "test"), count).items():
        for turn, number in enumerate(numbers):
            weather = ("cloud", "fog", "night", "rain", "sun")[number % 5]
            scene = f"MAP_1_point{number}" + ("_motionblur" if turn == 1 else "")
            label = np.zeros((*size, 3), np.uint8)
            label[..., 0] = codes([*range(26), 255], size)
            label[..., 1:] = 77  # instance numbers, not to be read
            small = (max(1, size[0] // 2), max(1, size[1] // 2))
            for folder, word, image in (
                ("img", "rgb", picture(rng, size)),
                ("event", "event", picture(rng, small)),
                ("depth", "depth", picture(rng, size, 1, bits=16)),
                ("hha", "depth", picture(rng, size)),
                ("lidar", "lidar", picture(rng, size)),
                ("semantic", "semantic", label),
            ):
                write(root / folder / weather / split / scene / f"{number:06d}_{word}_front.png", image)


def _camvid(root, size, count, rng):
    for split, numbers in _names(("train", "val"), count).items():
        names = [f"0001TP_{n:06d}" for n in numbers]
        for name in names:
            write(root / "RGB" / f"{name}.jpg", picture(rng, size))
            write(root / "Label" / f"{name}.png", codes([*range(11), 255], size))
        write_list(root / f"{split}.txt", names)


def make_pairs(root: Path, names: list[str], *, size: tuple[int, int] = (48, 64), boxes: bool = True) -> Path:
    """Build a folder of RGB and thermal pairs; each annotation has a person, a bicycle and a car."""
    rng = np.random.default_rng(1)
    for name in names:
        write(root / "RGB" / f"{name}.jpg", picture(rng, size))
        write(root / "Thermal" / f"{name}.jpg", picture(rng, size, 1))
        for annotation in ("rgb", "thermal", "fused") if boxes else ():
            lines = ["0  0.25 0.5  0.25 0.5", "1 0.5 0.75 0.125 0.25 ", "2 0.75 0.5 0.25 0.25"]
            write_list(root / "Boxes" / annotation / f"{name}.txt", lines)
    write_list(root / "pairs.txt", names)
    return root


TREES: dict[str, Callable] = {
    "nyuv2": _nyuv2,
    "sunrgbd": _sunrgbd,
    "mfnet": _mfnet,
    "pst900": _pst900,
    "mcubes": _mcubes,
    "deliver": _deliver,
    "camvid": _camvid,
}
