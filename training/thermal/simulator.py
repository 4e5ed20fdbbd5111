"""Simulate a thermal image from a street frame's labels and its RGB image.

Nothing is measured: every class draws a temperature relative to the air, every object its own, and drift,
texture of the RGB image with a random sign, misalignment, blur and noise follow. The image is stretched as
`ktb.inputs.encoders.thermal` stretches a file. A network that is trained on these images has seen no thermal
camera, and its scores on them say nothing about one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from ktb.labels import DATASETS

Range = tuple[float, float]
PERCENTILES = (0.5, 99.5)
"""The ends of the stretch, as in the configuration of the models trained on these images."""


@dataclass(frozen=True)
class Heat:
    """Kelvin above the air of a class in one image (low, high), and the standard deviation of its objects."""

    above_air: Range
    objects: float = 0.0


# The classes of CamVid by night or under clouds, where people are warmest, and in the sun.
COOL: Mapping[str, Heat] = MappingProxyType(
    {
        "sky": Heat((-18, -1)),
        "building": Heat((-3, 6), 2),
        "pole": Heat((-3, 4), 2),
        "road": Heat((-3, 4)),
        "pavement": Heat((-3, 4), 1),
        "tree": Heat((-4, 3), 1),
        "sign": Heat((-4, 5), 2),
        "fence": Heat((-3, 4), 1),
        "car": Heat((-3, 9), 4),
        "pedestrian": Heat((6, 32), 3),
        "bicyclist": Heat((6, 32), 3),
    }
)
SUNNY: Mapping[str, Heat] = MappingProxyType(
    {
        "sky": Heat((-25, -4)),
        "building": Heat((-2, 12), 4),
        "pole": Heat((-3, 8), 3),
        "road": Heat((2, 14)),
        "pavement": Heat((2, 12), 2),
        "tree": Heat((-6, 3), 2),
        "sign": Heat((-1, 9), 3),
        "fence": Heat((0, 9), 3),
        "car": Heat((-2, 16), 6),
        "pedestrian": Heat((3, 16), 3),
        "bicyclist": Heat((3, 14), 3),
    }
)


COLD_THINGS = tuple(
    DATASETS["camvid"].classes.index(name) for name in ("building", "pole", "tree", "sign", "fence")
)
"""Classes with hot spots."""


@dataclass(frozen=True)
class ThermalOptions:
    """Ranges (low, high), one uniform draw per image; temperatures in kelvin, lengths in pixels."""

    sunny: float = 0.35  # probability of SUNNY instead of COOL
    drift: Range = (0.0, 3.0)
    texture: Range = (2.0, 14.0)  # a step from black to white of the RGB image
    mottle: Range = (0.0, 0.7)  # irregular surfaces, over a twentieth of the image
    hot_spots: int = 8  # at most this many lamps, lit windows, pipes, which are no people
    hot_spot: Range = (3.0, 25.0)
    shift_px: float = 4.0  # largest misalignment along each axis
    turn_degrees: float = 1.0
    zoom: float = 0.02
    blur_px: Range = (0.3, 1.4)
    noise: Range = (0.05, 0.9)
    stripes: float = 0.3  # largest standard deviation of the columns
    gamma: Range = (0.6, 1.7)


def simulate_thermal(
    rgb: np.ndarray, label: np.ndarray, rng: np.random.Generator, options: ThermalOptions = ThermalOptions()
) -> np.ndarray:
    """A thermal image (H, W) uint8, warm is bright, of rgb (H, W, 3) uint8 and label (H, W) uint8 of CamVid.

    Equal states of `rng` give equal images. Ignored pixels (255) have the temperature of the air.
    Raises ValueError if the sizes differ or a label is no class of CamVid.
    """
    classes = DATASETS["camvid"].classes
    if rgb.shape != (*label.shape, 3):
        raise ValueError(f"rgb has the shape {rgb.shape} and label {label.shape}: give one size")
    if bool(((label >= len(classes)) & (label != 255)).any()):
        raise ValueError(f"a label is outside 0..{len(classes) - 1} (and 255 = ignored)")
    heats = SUNNY if rng.random() < options.sunny else COOL
    table = np.zeros(256, np.float32)
    table[: len(classes)] = [rng.uniform(*heats[name].above_air) for name in classes]
    kelvin = table[label]
    for index, name in enumerate(classes):
        _vary_objects(kelvin, label == index, name, table[index], heats[name].objects, rng)
    kelvin += smooth_noise(label.shape, 4, rng) * np.float32(rng.uniform(*options.drift))
    kelvin += _texture(rgb, label, len(classes), rng) * np.float32(rng.uniform(*options.texture))
    kelvin += smooth_noise(label.shape, 20, rng) * np.float32(rng.uniform(*options.mottle))
    _add_hot_spots(kelvin, np.isin(label, COLD_THINGS), options, rng)
    kelvin = _displaced(kelvin, options, rng)
    kelvin = cv2.GaussianBlur(kelvin, (0, 0), rng.uniform(*options.blur_px))
    kelvin += rng.standard_normal(label.shape, np.float32) * np.float32(rng.uniform(*options.noise))
    kelvin += rng.standard_normal(label.shape[1], np.float32) * np.float32(rng.uniform(0, options.stripes))
    image = stretched(kelvin) ** np.float32(rng.uniform(*options.gamma))
    return np.round(image * 255).astype(np.uint8)


def stretched(image: np.ndarray) -> np.ndarray:
    """(H, W) in any unit → float32 in 0..1 between PERCENTILES; an even image becomes zeros."""
    low, high = np.percentile(image, PERCENTILES)
    if high <= low:
        return np.zeros(image.shape, np.float32)
    return np.clip((image.astype(np.float32) - np.float32(low)) / np.float32(high - low), 0, 1)


def smooth_noise(size_hw: tuple[int, int], cells: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W) float32 noise of standard deviation about 1 that varies over a fraction 1/cells of the image."""
    coarse = rng.standard_normal((cells, cells + cells // 3), np.float32)
    return cv2.resize(coarse, size_hw[::-1], interpolation=cv2.INTER_CUBIC)


def _vary_objects(
    kelvin: np.ndarray,
    mask: np.ndarray,
    name: str,
    excess: float,
    spread: float,
    rng: np.random.Generator,
) -> None:
    """Add to `kelvin` what differs between the objects of a class and between their parts."""
    if not mask.any() or not spread:
        return
    count, parts, boxes, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    own = rng.normal(0, spread, count).astype(np.float32)
    own[0] = 0
    kelvin += own[parts]
    if name not in ("car", "pedestrian", "bicyclist"):
        return
    for part in range(1, count):
        left, top, width, height, area = boxes[part]
        if area < 12:
            continue
        window = slice(top, top + height), slice(left, left + width)
        inside = parts[window] == part
        down = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        if name == "car":  # wheels and exhaust below, an engine on one side
            below = rng.uniform(0, 8) * np.clip((down - 0.65) * 5, 0, 1)
            across = np.linspace(-1, 1, width, dtype=np.float32)
            change = below + rng.uniform(0, 4) * rng.choice((-1, 1)) * across
        elif name == "bicyclist":  # the bicycle is as cold as the air
            change = -rng.uniform(0.4, 1) * excess * np.clip((down - rng.uniform(0.4, 0.7)) * 6, 0, 1)
        else:  # clothes
            change = 0.18 * abs(excess) * smooth_noise((height, width), 4, rng)
        kelvin[window] += np.where(inside, change, 0).astype(np.float32)


def _texture(rgb: np.ndarray, label: np.ndarray, classes: int, rng: np.random.Generator) -> np.ndarray:
    """(H, W) float32: the RGB image's high-pass with a gain of either sign for each class."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    gains = rng.normal(rng.uniform(-0.7, 0.7), 0.6, 256).astype(np.float32)
    gains[0] *= 0.3  # the sky
    return (grey - cv2.blur(grey, (2 * int(rng.integers(4, 30)) + 1,) * 2)) * gains[label]


def _add_hot_spots(
    kelvin: np.ndarray, allowed: np.ndarray, options: ThermalOptions, rng: np.random.Generator
) -> None:
    """Add small hot rectangles in place, at pixels that are `allowed`."""
    places = np.flatnonzero(allowed)
    if not places.size:
        return
    for place in rng.choice(places, rng.integers(0, options.hot_spots + 1)).tolist():
        row, column = divmod(place, kelvin.shape[1])
        height, width = np.exp(rng.uniform(np.log(1), np.log(12), 2)).astype(int)
        window = slice(row, row + height), slice(column, column + width)
        kelvin[window] += np.where(allowed[window], np.float32(rng.uniform(*options.hot_spot)), 0)


def _displaced(image: np.ndarray, options: ThermalOptions, rng: np.random.Generator) -> np.ndarray:
    height, width = image.shape
    turn = rng.uniform(-1, 1) * options.turn_degrees
    matrix = cv2.getRotationMatrix2D(
        ((width - 1) / 2, (height - 1) / 2), turn, 1 + rng.uniform(-1, 1) * options.zoom
    )
    matrix[:, 2] += rng.uniform(-1, 1, 2) * options.shift_px
    return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
