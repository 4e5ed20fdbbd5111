"""Corruptions of a sample at a given level: missing, noisy or misaligned X; blurred or dark RGB image.

    corrupted = Corruption("x-shift", 8)(sample, np.random.default_rng(0))

A corruption changes neither the label nor the sample's arrays in place. At its kind's clean level it returns
the sample itself. The same generator state gives the same directions and positions at every level, so the
levels of one image differ only in strength.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import cv2
import numpy as np

from ktb.config import Modality
from ktb.inputs import fill_holes
from ktb.inputs.perturb import blurred, to_linear, to_srgb, translated
from training.data.datasets.sample import Sample

ELECTRONS = 2000
"""Photoelectrons of a saturated pixel at the original exposure, for the shot noise of "dark"."""
READ_NOISE = 5.0
"""Standard deviation of the sensor's read noise in electrons, for "dark"."""
BLOB_SIDES = (0.02, 0.2)
"""Shortest and longest side of a depth hole, as a fraction of the image's longer side."""


@dataclass(frozen=True)
class Kind:
    """One kind of corruption.

    Attributes:
        apply: (image, level, rng) → the corrupted image; image is the array of the `target`.
        target: the image that is corrupted.
        clean: the level without a change.
        bounds: lowest and highest level. whole: levels are whole numbers.
        levels: the levels of the robustness suite.
        unit: the unit of a level, for axes and tables.
        about: an exact description in one sentence.
        modalities: the modalities of X to which it applies; None for all.
    """

    apply: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
    target: Literal["rgb", "x"]
    bounds: tuple[float, float]
    levels: tuple[float, ...]
    unit: str
    about: str
    clean: float = 0
    whole: bool = False
    modalities: tuple[Modality, ...] | None = None


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption (a key of `KINDS`) at a level. Raises ValueError for an unknown kind or level."""

    name: str
    level: float

    def __post_init__(self):
        if self.name not in KINDS:
            raise ValueError(f"Unknown corruption '{self.name}'; known: {', '.join(KINDS)}.")
        kind = KINDS[self.name]
        low, high = kind.bounds
        fits = low <= self.level <= high or self.level == kind.clean
        if not fits or (kind.whole and self.level != int(self.level)):
            numbers = "a whole number" if kind.whole else "a number"
            raise ValueError(
                f"Level {self.level:g} of '{self.name}' ({kind.unit}): give {numbers} in {low:g}..{high:g}, "
                f"or {kind.clean:g} for no change."
            )

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The corrupted sample with the same shapes and dtypes; the label and the other image are not copied.

        Raises ValueError if the level is too large for the image's size.
        """
        kind = KINDS[self.name]
        if self.level == kind.clean:
            return sample
        if kind.target == "rgb":
            return sample._replace(rgb=kind.apply(sample.rgb, self.level, rng))
        return sample._replace(modal_x=kind.apply(sample.modal_x, self.level, rng))


def drop_pixels(modal_x: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Set exactly round(fraction · H · W) pixels, drawn without replacement, to 0 in all channels (RMM)."""
    count = round(fraction * modal_x.shape[0] * modal_x.shape[1])
    dropped = np.zeros(modal_x.shape[:2], bool)
    dropped.ravel()[rng.permutation(dropped.size)[:count]] = True
    corrupted = modal_x.copy()
    corrupted[dropped] = 0
    return corrupted


def add_noise(modal_x: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise of standard deviation strength · 255, salt and pepper on a fraction `strength` (NM).

    Half of these pixels get the highest value, half the lowest (-255 if X has negative values, else 0). The
    Gaussian noise is drawn per channel, but identical channels stay identical.
    """
    channels = modal_x.reshape(*modal_x.shape[:2], -1)
    low = -255 if modal_x.min() < 0 else 0
    draw = rng.random(channels.shape[:2])
    corrupted = np.empty_like(channels)
    for i in range(channels.shape[2]):
        copies = [j for j in range(i) if np.array_equal(channels[..., i], channels[..., j])]
        if copies:
            corrupted[..., i] = corrupted[..., copies[0]]
            continue
        noisy = channels[..., i] + strength * 255 * rng.standard_normal(draw.shape, np.float32)
        noisy[draw < strength] = 255
        noisy[draw < strength / 2] = low
        corrupted[..., i] = _stored(noisy, modal_x.dtype, low)
    return corrupted.reshape(modal_x.shape)


def shift(modal_x: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """Shift X by whole pixels in a random direction (up, down, left, right); the border is repeated."""
    pixels, (height, width) = int(pixels), modal_x.shape[:2]
    if pixels >= min(height, width):
        raise ValueError(
            f"A shift of {pixels} pixels leaves nothing of an image of {width} x {height}: give fewer pixels."
        )
    down, right = ((0, pixels), (0, -pixels), (pixels, 0), (-pixels, 0))[rng.integers(4)]
    return translated(modal_x, right, down)


def rotate(modal_x: np.ndarray, degrees: float, rng: np.random.Generator) -> np.ndarray:
    """Rotate X about its centre in a random direction: nearest pixel, border repeated."""
    return _warp(modal_x, degrees * rng.choice((-1, 1)), 1.0)


def scale(modal_x: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Scale X about its centre: nearest pixel, border repeated where X becomes smaller."""
    return _warp(modal_x, 0.0, factor)


def blur(rgb: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur of `sigma` pixels, out to 4 sigma."""
    return blurred(rgb, sigma, 2 * math.ceil(4 * sigma) + 1)


def motion_blur(rgb: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """Average over a straight line of `length` pixels in a random direction."""
    side = int(length) | 1
    angle = rng.uniform(0, math.pi)
    offsets = np.arange(int(length)) - (int(length) - 1) / 2
    kernel = np.zeros((side + 2, side + 2), np.float32)  # one pixel of margin for the bilinear weights
    x, y = offsets * math.cos(angle) + side // 2 + 1, offsets * math.sin(angle) + side // 2 + 1
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for i in (0, 1):
        for j in (0, 1):
            weight = np.abs(1 - i - (y - top)) * np.abs(1 - j - (x - left))
            np.add.at(kernel, (top + i, left + j), weight)
    return cv2.filter2D(rgb, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)


def darken(rgb: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """The RGB image at the fraction `factor` of the light: linear light (sRGB curve), shot and read noise.

    A saturated pixel of the original has `ELECTRONS`; the gain does not change, so the image becomes darker.
    """
    linear = to_linear(np.arange(256) / 255)
    electrons = rng.poisson((linear * factor * ELECTRONS)[rgb]).astype(np.float32)
    electrons += READ_NOISE * rng.standard_normal(rgb.shape, np.float32)
    light = np.clip(electrons / ELECTRONS, 0, 1)
    return _stored(to_srgb(light) * 255, rgb.dtype, 0)


def hole_mask(size_hw: tuple[int, int], fraction: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) bool: rotated ellipses and rectangles that cover exactly round(fraction · H · W) pixels.

    The last blob is cut where this number is reached.
    """
    height, width = size_hw
    count = round(fraction * height * width)
    mask = np.zeros(size_hw, np.uint8)
    covered = 0
    while covered < count:
        axes = rng.uniform(*BLOB_SIDES, 2) * max(size_hw) / 2
        centre, angle = rng.uniform(0, 1, 2) * (width, height), rng.uniform(0, 180)
        blob = np.zeros(size_hw, np.uint8)
        if rng.random() < 0.5:
            cv2.ellipse(blob, (tuple(centre), tuple(2 * axes), angle), 1, -1)
        else:
            corners = cv2.boxPoints((tuple(centre), tuple(2 * axes), angle))
            cv2.fillPoly(blob, [corners.round().astype(np.int32)], 1)
        new = np.flatnonzero((blob > 0) & (mask == 0))[: count - covered]
        mask.ravel()[new] = 1
        covered += len(new)
    return mask.astype(bool)


def punch_holes(modal_x: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Set blobs (`hole_mask`) to 0, "no measurement", in all channels."""
    corrupted = modal_x.copy()
    corrupted[hole_mask(modal_x.shape[:2], fraction, rng)] = 0
    return corrupted


def punch_and_fill_holes(modal_x: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """The same blobs, filled with the nearest measured value as `ktb.inputs.fill_holes` does for the page.

    Pixels that were 0 before are neither filled nor used as a source; without any other pixel, blobs stay 0.
    """
    measured = modal_x.reshape(*modal_x.shape[:2], -1).any(axis=-1)
    hole = hole_mask(modal_x.shape[:2], fraction, rng) & measured
    kept = measured & ~hole
    corrupted = modal_x.copy()
    corrupted[hole] = 0
    if not kept.any():
        return corrupted
    for channel in np.moveaxis(corrupted.reshape(*hole.shape, -1), -1, 0):
        channel[hole] = fill_holes(np.where(kept, channel, np.nan).astype(np.float32))[hole]
    return corrupted


def _warp(modal_x: np.ndarray, degrees: float, factor: float) -> np.ndarray:
    height, width = modal_x.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, factor)
    # Nearest: a sensor has no value between two depths, or between an event and no event.
    return cv2.warpAffine(
        modal_x, matrix, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )


def _stored(values: np.ndarray, dtype: np.dtype, low: float) -> np.ndarray:
    """Clip to low..255 and convert to the dtype, rounded if it is an integer type."""
    values = np.clip(values, low, 255)
    return (np.rint(values) if np.issubdtype(dtype, np.integer) else values).astype(dtype)


_DEPTH: tuple[Modality, ...] = ("depth", "hha")

KINDS: Mapping[str, Kind] = MappingProxyType({
    "x-pixels": Kind(
        drop_pixels, "x", (0, 1), (0.25, 0.5, 0.75), "share of X's pixels set to 0",
        "RMM: this share of X's pixels, drawn at random per image, is set to 0 in all channels."),
    "x-noise": Kind(
        add_noise, "x", (0, 1), (0.05, 0.1, 0.2), "p: salt and pepper on p, Gaussian σ = p of full scale",
        "NM: Gaussian noise on X of σ = p · 255, then salt and pepper (half each) on a share p of pixels."),
    "x-shift": Kind(
        shift, "x", (0, 512), (2, 4, 8, 16, 32), "shift of X in pixels",
        "X moved by whole pixels of its own size, up, down, left or right per image; the border is repeated.",
        whole=True),
    "x-rotate": Kind(
        rotate, "x", (0, 45), (1, 2, 5, 10), "rotation of X in degrees",
        "X turned about its centre, to either side per image; nearest pixel, the border is repeated."),
    "x-scale": Kind(
        scale, "x", (0.5, 2), (0.9, 0.95, 1.05, 1.1), "scale of X",
        "X magnified about its centre; nearest pixel, the border is repeated.", clean=1),
    "blur": Kind(
        blur, "rgb", (0, 50), (1, 2, 4), "Gaussian blur of the RGB image, σ in pixels",
        "Gaussian blur of the RGB image, σ in pixels of its own size."),
    "motion-blur": Kind(
        motion_blur, "rgb", (2, 200), (9, 15, 25), "motion blur of the RGB image in pixels",
        "The RGB image averaged over a straight line of this length, drawn direction.", whole=True),
    "dark": Kind(
        darken, "rgb", (0, 1), (0.5, 0.25, 0.1), "light left in the RGB image",
        "The RGB image with this share of its linear light, shot noise (a saturated pixel of the original "
        f"counts {ELECTRONS} electrons) and read noise of {READ_NOISE:g} electrons, 8 bits.", clean=1),
    "holes": Kind(
        punch_holes, "x", (0, 0.95), (0.1, 0.25, 0.5), "share of X lost in holes",
        "Random ellipses and rectangles (sides 2 to 20 % of the image's longer side) set to 0.",
        modalities=_DEPTH),
    "holes-filled": Kind(
        punch_and_fill_holes, "x", (0, 0.95), (0.1, 0.25, 0.5), "share of X lost in holes",
        "The same holes, filled with the nearest measured value as the page does.", modalities=_DEPTH),
})  # fmt: skip
"""The kinds of corruption by name."""
