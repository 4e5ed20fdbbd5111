"""Joint augmentation of rgb, X and label.

It uses cv2 and numpy with one crop and one resize per array. On two cores this is several times faster than
torchvision.transforms.v2 on tensors.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from ktb.config import Encoding
from ktb.inputs.perturb import blurred
from ktb.labels import IGNORE_INDEX
from training.data.datasets.sample import Sample
from training.data.faults import depth_faults, misaligned, rgb_faults

SINE_SIGNS = np.array([-1, 1, -1], np.float32)
"""Factors that mirror (sin 2φ, cos 2φ, sin 2φ)."""


@dataclass(frozen=True)
class AugmentConfig:
    """Probabilities, and ranges as (low, high); factors are multipliers around 1.

    scale: at 1 the image's short side becomes the crop's short side. dequantise: add uniform noise of half an
    8-bit step to X. x_scale: range of the factor, one per sample, that multiplies X. holes: number of
    rectangles of X that are set to 0. blur_sigma: range of the Gaussian's standard deviation in pixels; None
    is a 3 x 3 kernel. blur_x: blur X together with the RGB image. mirror_angles: a mirrored angle of
    polarization changes its sign, see `augment`. depth_faults, rgb_faults: probability of
    `training.data.faults.depth_faults` and `rgb_faults`. misalignment: X is moved by up to this many pixels
    of the crop, in half of the samples. absent: probability that X is an image of zeros, and the same that
    the RGB image is; never both. mix: probability of `mix_classes` with another augmented sample.
    """

    crop: tuple[int, int] = (480, 640)
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    jitter: float = 0.2
    jitter_range: tuple[float, float] = (0.5, 1.5)
    blur: float = 0.2
    blur_sigma: tuple[float, float] | None = None
    blur_x: bool = False
    dequantise: bool = False
    x_scale: tuple[float, float] = (1.0, 1.0)
    holes: int = 0
    mirror_angles: bool = True
    depth_faults: float = 0.0
    rgb_faults: float = 0.0
    misalignment: float = 0.0
    absent: float = 0.0
    mix: float = 0.0


def augment(
    sample: Sample, config: AugmentConfig, rng: np.random.Generator, encoding: Encoding = "image"
) -> Sample:
    """Scale, crop, flip and perturb one sample; all randomness comes from `rng`.

    encoding: of X. A mirror turns an angle of polarization φ into -φ, so a flip negates the sine of 2φ, the
    channels 0 and 2 of the encoding "aolp", unless `config.mirror_angles` is false.

    Returns arrays of the crop's size: rgb (H, W, 3) uint8, modal_x (H, W[, 3]) float32 in 0..255, label
    (H, W) uint8. The area outside the image is 0 in rgb and X, and ignored in the label.
    """
    rgb, modal_x, label = _scale_and_crop(sample, config, rng)
    if rng.random() < config.flip:
        rgb, modal_x, label = rgb[:, ::-1], modal_x[:, ::-1], label[:, ::-1]
        if encoding == "aolp" and config.mirror_angles:
            modal_x = modal_x * SINE_SIGNS
    rgb = np.ascontiguousarray(rgb)
    if rng.random() < config.jitter:
        rgb = jitter_colors(rgb, *rng.uniform(*config.jitter_range, size=3))
    if rng.random() < config.blur:
        sigma = None if config.blur_sigma is None else rng.uniform(*config.blur_sigma)
        rgb = blur(rgb, sigma)
        modal_x = blur(modal_x, sigma) if config.blur_x else modal_x
    modal_x = disturb_x(modal_x, config, rng)
    rgb, modal_x = _with_faults(rgb, modal_x, config, rng)
    return Sample(sample.name, rgb, modal_x, np.ascontiguousarray(label))


def mix_classes(sample: Sample, other: Sample, rng: np.random.Generator) -> Sample:
    """`sample` with the pixels of half of the classes, rounded up, of `other`, in RGB image, X and label.

    The classes are drawn from `rng`. Ignored pixels of `other` are never taken. Both samples have one size.
    Source: ClassMix (Olsson et al., WACV 2021), here with the labels of both images.
    """
    classes = np.unique(other.label[other.label != IGNORE_INDEX])
    taken = np.isin(other.label, rng.permutation(classes)[: (len(classes) + 1) // 2])
    return Sample(
        sample.name,
        np.where(taken[..., None], other.rgb, sample.rgb),
        np.where(taken if sample.modal_x.ndim == 2 else taken[..., None], other.modal_x, sample.modal_x),
        np.where(taken, other.label, sample.label),
    )


def _with_faults(
    rgb: np.ndarray, modal_x: np.ndarray, config: AugmentConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Both images with the faults that the configuration asks for; without any, `rng` is not used."""
    clear = rgb
    if config.rgb_faults and rng.random() < config.rgb_faults:
        rgb = rgb_faults(rgb, rng)
    if config.misalignment and rng.random() < 0.5:
        modal_x = misaligned(modal_x, config.misalignment, rng)
    if config.depth_faults and rng.random() < config.depth_faults:
        modal_x = depth_faults(modal_x, clear, rng)
    if config.absent:
        draw = rng.random()
        if draw < config.absent:
            modal_x = np.zeros_like(modal_x)
        elif draw > 1 - config.absent:
            rgb = np.zeros_like(rgb)
    return rgb, modal_x


def blur(image: np.ndarray, sigma: float | None) -> np.ndarray:
    """Gaussian blur with a standard deviation in pixels; None is a 3 x 3 kernel."""
    if sigma is None:
        return cv2.GaussianBlur(image, (3, 3), 0)  # cv2 derives the standard deviation from the kernel size
    return blurred(image, max(sigma, 0.1))


def jitter_colors(rgb: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Multiply brightness, contrast (around mean grey), saturation (around grey); (H, W, 3) uint8."""
    rgb = cv2.convertScaleAbs(rgb, alpha=brightness)
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    mean = cv2.mean(gray)[0]
    table = np.clip(np.arange(256) * contrast + mean * (1 - contrast), 0, 255).astype(np.uint8)
    rgb = cv2.LUT(rgb, table)
    gray = cv2.cvtColor(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(rgb, saturation, gray, 1 - saturation, 0)


def disturb_x(modal_x: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Dequantise and scale a float32 X in 0..255, set rectangles to 0; a missing value (0) stays 0."""
    low, high = config.x_scale
    if config.dequantise or (low, high) != (1.0, 1.0):
        missing = modal_x <= 0
        out = modal_x * np.float32(rng.uniform(low, high))
        if config.dequantise:
            out += rng.random(out.shape, dtype=np.float32)
            out -= np.float32(0.5)
        np.clip(out, 0, 255, out=out)
        out[missing] = 0
        modal_x = out
    modal_x = np.ascontiguousarray(modal_x)
    height, width = modal_x.shape[:2]
    for _ in range(config.holes):
        h, w = (int(side * rng.uniform(0.02, 0.15)) for side in (height, width))
        y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        modal_x[y : y + h, x : x + w] = 0
    return modal_x


def _scale_and_crop(sample: Sample, config: AugmentConfig, rng: np.random.Generator) -> list[np.ndarray]:
    size, crop = sample.label.shape, config.crop
    factor = min(crop) / min(size) * rng.uniform(*config.scale)
    windows = [_axis_window(length, out, factor, rng) for length, out in zip(size, crop, strict=True)]
    (y0, y1, top, height), (x0, x1, left, width) = windows
    results = []
    # NEAREST_EXACT has the pixel centres of the bilinear resize; plain NEAREST is shifted by half a pixel.
    for array, dtype, interpolation, fill in (
        (sample.rgb, np.uint8, cv2.INTER_LINEAR, 0),
        (sample.modal_x, np.float32, cv2.INTER_LINEAR, 0),
        (sample.label, np.uint8, cv2.INTER_NEAREST_EXACT, IGNORE_INDEX),
    ):
        part = np.ascontiguousarray(array[y0:y1, x0:x1], dtype=dtype)
        part = cv2.resize(part, (width, height), interpolation=interpolation)
        if (height, width) != tuple(crop):
            canvas = np.full((*crop, *array.shape[2:]), fill, dtype)
            canvas[top : top + height, left : left + width] = part
            part = canvas
        results.append(part)
    return results


def _axis_window(length: int, out: int, factor: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Along one axis: the source range (start, stop), and its (offset, length) in the output."""
    window = max(1, round(out / factor))
    position = rng.random()
    if window <= length:
        start = int(position * (length - window + 1))
        return start, start + window, 0, out
    scaled = min(out, max(1, round(length * factor)))
    return 0, length, int(position * (out - scaled + 1)), scaled
