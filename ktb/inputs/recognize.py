"""Recognition of the sensor behind X: by what the file holds where that can be measured, else by its name.

Event streams, polarizer images and sine-cosine maps are certain. One-channel pictures are told apart by
features of the picture and of its likeness to the RGB image (`picture_features`): depth is smooth between
edges, near infrared repeats the texture of the RGB image, thermal shows neither. `tools/fit_recognizer.py`
fits the weights below and prints the confusion on files that it did not fit on. A name is a hint which adds
to the score, so it decides where the picture is ambiguous.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np

from ktb.inputs.encoders.channels import fourth_is_image
from ktb.inputs.encoders.depth import fill_holes, is_colour
from ktb.inputs.options import XOptions
from ktb.inputs.types import RawX
from ktb.modalities import MODALITIES, Modality

SIDE = 256
"""Longer side in pixels at which features are computed."""
SURE = 0.8
"""Least probability of a recognition that needs no question."""
MOST_BY_TEXTURE, BY_VALUES, NAME_BONUS = 6.0, 7.0, 8.0
"""Most log-odds between modalities by texture; log-odds that usual distances add to depth, and that a name
adds to its modality."""
SOME_HOLES = 0.005
"""Least share of zeros that shows holes of depth in integers of more than 8 bits."""
CANDIDATES: tuple[Modality, ...] = ("depth", "thermal", "nir")
FEATURES = (
    "smooth", "texture", "flat", "likeness", "edge_likeness", "gradient", "holes", "spread", "noise"
)  # fmt: skip
"""Names of `picture_features`."""


@dataclass(frozen=True)
class Recognition:
    """What X is taken for.

    Attributes:
        modality: the most likely one.
        why: the reason in words, which follow "X is thermal:".
        is_sure: False where a person should be asked.
        alternative: the second most likely modality, if not sure.
    """

    modality: Modality
    why: str
    is_sure: bool = True
    alternative: Modality | None = None


def recognize(raw: RawX, rgb: np.ndarray | None = None, options: XOptions | None = None) -> Recognition:
    """Recognize the sensor of X.

    Args:
        rgb: (H, W, 3) uint8 RGB image of the pair, which helps where the shapes agree; None if unknown.
        options: a given modality is returned as it is.
    """
    if options is not None and options.modality != "auto":
        return Recognition(options.modality, "as given")
    if raw.origin == "estimated":
        return Recognition("depth", "it was estimated from the RGB image")
    if raw.kind == "events":
        return Recognition("event", "the file holds an event stream")
    if raw.kind == "counts":
        return Recognition("event", "the file holds counts of events")
    if raw.kind == "angles":
        return Recognition("dolp", "four images behind a polarizer")
    if raw.kind == "sin_cos":
        return Recognition("aolp", "the file holds a sine and a cosine per pixel")
    named = named_modality(raw.name)
    data = np.asarray(raw.data)
    if data.ndim == 3 and data.shape[2] == 4 and is_colour(data) and fourth_is_image(data):
        data = data[..., 3]  # it is X in all that has one measurement per pixel
    if is_colour(data):
        return _colour_picture(data, named)
    return _grey_picture(data if data.ndim == 2 else data[..., 0], rgb, named, raw.name)


def named_modality(name: str) -> Modality | None:
    """The one modality that the words of a file's name indicate, or None."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    said = {modality for modality, info in MODALITIES.items() if words & info.filename_words}
    return said.pop() if len(said) == 1 else None


def _colour_picture(data: np.ndarray, named: Modality | None) -> Recognition:
    if named in ("hha", "event"):
        return Recognition(named, "a colour picture of this name")
    if data.dtype == np.uint8 and _is_event_frame(data):
        return Recognition(
            "event", "mostly empty, with counts of positive and negative events in red and green"
        )
    if named is not None:
        return Recognition(named, f"a colour picture, by its name {MODALITIES[named].noun}")
    return Recognition("other", "a colour picture of no known kind", is_sure=False)


def _is_event_frame(data: np.ndarray) -> bool:
    """Whether red and green are sparse, and blue (recency) is dark only where both are."""
    counts = data[..., :2].max(-1)
    empty = float((counts <= 2).mean())
    overlap = float(((data[..., 0] > 2) & (data[..., 1] > 2)).mean())
    return empty > 0.35 and overlap < 0.6 * (1 - empty) + 0.01 and float((data[..., 2] > 2).mean()) > 0.01


def _grey_picture(data: np.ndarray, rgb: np.ndarray | None, named: Modality | None, name: str) -> Recognition:
    if named not in (None, *CANDIDATES):
        return Recognition(named, f"by the name {name}")
    found = _by_values(data)
    if found is not None and not (found.modality == "depth" and named in ("thermal", "nir")):
        return found
    has_rgb = rgb is not None and _same_shape(data, rgb)
    scores = log_probabilities(picture_features(data, rgb if has_rgb else None), has_rgb)
    why = "by its texture and its likeness to the RGB image" if has_rgb else "by its texture"
    highest = max(scores.values())
    scores = {modality: max(score, highest - MOST_BY_TEXTURE) for modality, score in scores.items()}
    if _are_distances(data):
        scores["depth"] += BY_VALUES
        why = f"{why}, and by values as millimetres or metres have them"
    if named is not None:
        before = max(scores, key=lambda modality: scores[modality])
        scores[named] += NAME_BONUS
        why = f"{why}, and by the name {name}" if before == named else f"by the name {name}"
    total = math.log(sum(math.exp(score) for score in scores.values()))
    first, second = sorted(scores, key=lambda modality: -scores[modality])[:2]
    is_sure = math.exp(scores[first] - total) >= SURE
    return Recognition(first, why, is_sure, None if is_sure else second)


def _by_values(data: np.ndarray) -> Recognition | None:
    """Recognition by stored values that only one sensor has; None for ambiguous ones."""
    if data.dtype == np.uint8:
        return None
    values = data[np.isfinite(data)] if data.dtype.kind == "f" else data.ravel()
    if not values.size:
        return None
    values = values[:: max(1, values.size // 200_000)].astype(np.float64)
    low, middle, high = np.percentile(values, (1, 50, 99))
    if data.dtype.kind == "f":
        if low < 0:
            return Recognition("thermal", "it has values below zero, as degrees Celsius have")
        if low > 250 and high < 400:
            return Recognition("thermal", f"values around {middle:.0f} are kelvins of rooms and streets")
        return None
    if data.dtype.kind != "f" and _has_holes(data, middle):
        return Recognition("depth", "it has pixels of 0, without a measurement, among more than 8 bits")
    if high - low < 0.25 * max(middle, 1) and 26_000 < middle < 34_000:
        return Recognition("thermal", f"values around {middle:,.0f} are hundredths of a kelvin")
    return None


def _are_distances(data: np.ndarray) -> bool:
    """Whether values are usual distances: millimetres of more than 8 bits, or floats in metres."""
    values = data[np.isfinite(data)] if data.dtype.kind == "f" else data[data > 0]
    if data.dtype == np.uint8 or not values.size:
        return False
    low, middle, high = np.percentile(values[:: max(1, values.size // 200_000)], (1, 50, 99))
    if high - low < 0.3 * middle:  # as raw thermal levels, all near their mean
        return False
    if data.dtype.kind == "f":
        return bool(0.3 <= middle <= 50 and high > 1.2)
    return bool(middle >= 300 and high <= 20_000)


def _has_holes(data: np.ndarray, middle: float) -> bool:
    """Whether zeros are holes: areas, not dead pixels, beside usual values, not beside small ones."""
    square = np.ones((3, 3), np.uint8)
    zeros = cv2.morphologyEx((data == 0).astype(np.uint8), cv2.MORPH_OPEN, square)
    beside = (cv2.dilate(zeros, square) > zeros) & (data > 0)
    return float(zeros.mean()) >= SOME_HOLES and bool(np.median(data[beside]) > 0.3 * middle)


def picture_features(data: np.ndarray, rgb: np.ndarray | None) -> dict[str, float]:
    """Features in `FEATURES` of a one-channel picture (H, W); likenesses are 0 without an RGB image."""
    values = data.astype(np.float32)
    measured = np.isfinite(values) & (values != 0)
    holes = 1 - float(measured.mean())
    inside = values[measured] if measured.any() else np.zeros(1, np.float32)
    low, high = np.percentile(inside, (1, 99))
    filled = fill_holes(np.where(measured, values, np.nan)) if measured.any() else np.zeros_like(values)
    scaled = np.clip((filled - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    small = _small(scaled)
    likeness = edge_likeness = 0.0
    if rgb is not None:
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
        other = cv2.resize(_small(grey), small.shape[::-1], interpolation=cv2.INTER_AREA)
        likeness = _correlation(_detail(small), _detail(other))
        edge_likeness = _correlation(_gradient(small), _gradient(other))
    gradient = _gradient(small)
    second = np.abs(cv2.Laplacian(small, cv2.CV_32F))
    return {
        "smooth": _smoothness(small),
        "texture": math.log(float(np.abs(_detail(small)).mean()) + 1e-4),
        "flat": float((second < 0.004).mean()),
        "likeness": likeness,
        "edge_likeness": edge_likeness,
        "gradient": math.log(float(np.median(gradient)) + 1e-4),
        "holes": min(holes, 0.5),
        "spread": float(small.std()),
        "noise": math.log(float(np.median(second)) + 1e-4),
    }


def log_probabilities(features: Mapping[str, float], with_rgb: bool) -> dict[Modality, float]:
    """Log-probability of each candidate, up to a constant."""
    scales, all_weights = FITTED[with_rgb]
    row = [(features[name] - middle) / scale for name, (middle, scale) in zip(FEATURES, scales)]
    return {
        modality: bias + sum(weight * value for weight, value in zip(weights, row, strict=True))
        for modality, (bias, *weights) in zip(CANDIDATES, all_weights)
    }


def _same_shape(data: np.ndarray, rgb: np.ndarray) -> bool:
    """Whether the aspect ratios agree, so that a pixel shows what the same pixel of the RGB image shows."""
    return abs(math.log(rgb.shape[1] / rgb.shape[0] * data.shape[0] / data.shape[1])) < 0.1


def _small(image: np.ndarray) -> np.ndarray:
    """The image with its longer side reduced to `SIDE`."""
    scale = SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    size = max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _detail(image: np.ndarray) -> np.ndarray:
    """High-pass of an image: what a Gaussian of three pixels removes."""
    return image - cv2.GaussianBlur(image, (0, 0), 3)


def _gradient(image: np.ndarray) -> np.ndarray:
    blurred = cv2.GaussianBlur(image, (0, 0), 1)
    return np.hypot(cv2.Sobel(blurred, cv2.CV_32F, 1, 0), cv2.Sobel(blurred, cv2.CV_32F, 0, 1))


def _smoothness(image: np.ndarray) -> float:
    """1 - variance of the detail over the variance of the image, 0..1."""
    variance = float(image.var())
    return 1 - min(1.0, float(_detail(image).var()) / variance) if variance > 1e-8 else 1.0


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first - first.mean(), second - second.mean()
    norm = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / norm if norm > 1e-8 else 0.0


Fitted = tuple[tuple[tuple[float, float], ...], tuple[tuple[float, ...], ...]]
FITTED: Mapping[bool, Fitted] = MappingProxyType(
    {
        True: (
            (
                (0.9241, 0.065),
                (-3.6382, 0.5944),
                (0.2355, 0.1856),
                (0.1756, 0.3278),
                (0.4589, 0.2441),
                (-2.787, 0.5762),
                (0.0039, 0.0135),
                (0.2371, 0.0504),
                (-4.2535, 1.1934),
            ),
            (
                (-1.64, 0.872, -1.171, 1.214, -0.743, -1.97, -0.438, -0.147, 0.224, -0.894),
                (0.998, -1.022, 0.218, -0.472, -1.177, -0.699, 0.289, -0.212, 0.297, 1.094),
                (0.642, 0.15, 0.953, -0.742, 1.919, 2.669, 0.15, 0.359, -0.52, -0.2),
            ),
        ),
        False: (
            (
                (0.9241, 0.065),
                (-3.6382, 0.5944),
                (0.2355, 0.1856),
                (0.0, 0.001),
                (0.0, 0.001),
                (-2.787, 0.5762),
                (0.0039, 0.0135),
                (0.2371, 0.0504),
                (-4.2535, 1.1934),
            ),
            (
                (-1.439, 0.811, -1.455, 1.707, 0.0, 0.0, -0.65, -0.215, 0.045, -1.058),
                (0.653, -1.056, -1.199, 0.564, 0.0, 0.0, 1.134, -0.655, -0.138, 3.018),
                (0.786, 0.245, 2.654, -2.27, 0.0, 0.0, -0.484, 0.87, 0.092, -1.96),
            ),
        ),
    }
)
"""With and without an RGB image: mean and standard deviation of each feature, and bias and weights of each
candidate; written by `tools/fit_recognizer.py`."""
