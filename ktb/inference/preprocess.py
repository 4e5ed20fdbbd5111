"""Preprocessing: the network's input size for an image, resizing, and prepared pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import cv2
import numpy as np
import torch
from torch import Tensor

from ktb.config import InputConfig
from ktb.inference.prediction import Drop
from ktb.inference.region import Region, region_mask, region_tokens
from ktb.inputs import EncodedX, missing_x
from ktb.inputs.limits import MAX_PIXELS, MAX_SIDE, MIN_SIDE
from ktb.modeling.model import HEAD_STRIDE
from ktb.modeling.tiling import SIZE_MULTIPLE
from ktb.utils.text import percent

MAX_ASPECT = 16  # longer strips become huge once the shorter side fits the network
MAX_NETWORK_PIXELS = 3840 * 2176  # per pass
MAX_TILED_PIXELS = MAX_PIXELS + 2**20  # the largest RGB image at its own size, rounded up
NO_X = (
    "X was ablated (zero tokens in its stream): this result comes from the RGB image alone. The X head "
    "has only what the prompts pass to it from there."
)
NO_RGB = (
    "The RGB image was ablated (zero tokens in its stream): this result comes from X alone. The RGB "
    "head has only what the prompts pass to it from there."
)


@dataclass(frozen=True, eq=False)
class AblatedPart:
    """A sensor that is ablated in some of its tokens, and these tokens, (h, w) bool."""

    sensor: Drop
    tokens: np.ndarray


@dataclass(frozen=True, eq=False)
class Prepared:
    """A preprocessed pair of an RGB image and X.

    Attributes:
        size_hw: (height, width) of the RGB image.
        reading: the encoded X.
        rgb, modal_x: (1, 3, H, W), from `Predictor.network_inputs`.
        without_rgb: whether the RGB image is ablated.
        seconds: duration of the preprocessing.
        part: where a sensor is ablated in single tokens; None where none is.
    """

    size_hw: tuple[int, int]
    reading: EncodedX
    rgb: Tensor
    modal_x: Tensor
    without_rgb: bool
    seconds: float
    part: AblatedPart | None = None

    @property
    def network_hw(self) -> tuple[int, int]:
        """(height, width) in the network; pairs in a batch must have the same size."""
        return tuple(self.rgb.shape[-2:])

    @property
    def nbytes(self) -> int:
        """Bytes of the pair's images."""
        return self.rgb.nbytes + self.modal_x.nbytes + self.reading.image.nbytes + self.reading.preview.nbytes


def network_size(size_hw: tuple[int, int], short_side: float | None) -> tuple[int, int]:
    """Network size (height, width): the shorter side as given, both sides rounded up to multiples of 32."""
    scale = short_side / min(size_hw) if short_side else 1.0
    height, width = (SIZE_MULTIPLE * math.ceil(round(side * scale) / SIZE_MULTIPLE) for side in size_hw)
    return height, width


def fitting_size(size_hw: tuple[int, int], short_side: int | None, max_pixels: int) -> tuple[int, int]:
    """`network_size`; ValueError if it has more pixels, or if it would enlarge a long strip."""
    height, width = network_size(size_hw, short_side)
    is_strip = short_side and max(size_hw) > MAX_ASPECT * min(size_hw)
    if is_strip or height * width > max_pixels:
        remedy = "" if max_pixels > MAX_NETWORK_PIXELS else ", or set a tile"
        raise ValueError(
            f"the RGB image is {size_hw[1]} x {size_hw[0]} pixels and would be {width} x {height} in "
            f"the network, which is too much. Crop it to at most {MAX_ASPECT}:1, or choose a smaller "
            f"short_side{remedy}."
        )
    return height, width


def resize_for_network(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize (H, W[, C]) bilinearly, or by area averaging when shrinking by half or more (antialiasing)."""
    if image.shape[:2] == tuple(size_hw):
        return image
    averages = image.shape[0] >= 2 * size_hw[0]
    interpolation = cv2.INTER_AREA if averages else cv2.INTER_LINEAR
    return cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=interpolation)


def to_network(image: np.ndarray, size_hw: tuple[int, int], device: torch.device) -> Tensor:
    """Convert an image to a (1, 3, h, w) float32 tensor of the network's size on the device, not normalised.

    Args:
        image: (H, W, 3) uint8, or (H, W) or (H, W, 3) float32 on the 0..1 scale; one channel is repeated.
    """
    if image.dtype == np.uint8:
        image = np.divide(image, 255, dtype=np.float32)
    elif image.ndim == 3 and image.strides[2] == 0:  # equal channels, stored once
        image = image[..., 0]
    resized = resize_for_network(image, size_hw)
    if resized.ndim == 2:
        resized = np.repeat(resized[..., None], 3, axis=-1)
    tensor = torch.from_numpy(np.ascontiguousarray(resized))
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # lets the copy overlap with computation on the GPU
    return tensor.to(device, non_blocking=True).permute(2, 0, 1)[None]


def check_rgb(rgb: np.ndarray) -> None:
    """Raise a ValueError unless `rgb` is an (H, W, 3) uint8 array within the limits."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        found = f"shape {rgb.shape}, dtype {rgb.dtype}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise ValueError(
            f"the RGB image is {found}; give an (H, W, 3) uint8 array in RGB order "
            f"(ktb.read_image_rgb reads files)."
        )
    height, width = rgb.shape[:2]
    if min(height, width) < MIN_SIDE or max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise ValueError(
            f"the RGB image is {width} x {height} pixels; each side needs {MIN_SIDE} to {MAX_SIDE}, and at "
            f"most {MAX_PIXELS:,} pixels in all. Resize it."
        )


def ablated(drop: Drop | None, reading: EncodedX, inputs: InputConfig) -> EncodedX:
    """The encoded X of a run with an ablated sensor, with a warning about it.

    Raises:
        ValueError: the sensor is unknown, or both would be ablated.
    """
    if drop is None:
        return reading
    if drop not in get_args(Drop):
        raise ValueError(f"drop {drop!r}: choose one of {', '.join(get_args(Drop))}, or None")
    if reading.origin != "missing":
        if drop == "rgb":
            return replace(reading, warnings=(*reading.warnings, NO_RGB))
        missing = missing_x(inputs, reading.image.shape[:2])
        return replace(missing, warnings=(*reading.warnings, NO_X))
    if drop == "rgb":
        raise ValueError("there is no X; with the RGB image ablated, no input would be left")
    return reading


def ablated_part(
    drop: Drop | None, region: Region | None, reading: EncodedX, network_hw: tuple[int, int]
) -> AblatedPart | None:
    """The tokens of an ablation inside a region: all that overlap it, see `region_tokens`.

    Returns None without a region, and for one that covers all tokens: the whole sensor is ablated then.

    Raises:
        ValueError: the region is invalid, see `region_mask`, or `drop` names no sensor that is there.
    """
    if region is None:
        return None
    if drop not in get_args(Drop):
        raise ValueError(
            f"the region needs the sensor that is ablated there, but drop is {drop!r}; give one of "
            f"{', '.join(get_args(Drop))}."
        )
    if reading.origin == "missing":
        raise ValueError("there is no X: with one sensor there is nothing to ablate in a region. Give its X.")
    mask = region_mask(region, reading.image.shape[:2])
    tokens = region_tokens(mask, tuple(side // HEAD_STRIDE for side in network_hw))
    return None if tokens.all() else AblatedPart(drop, tokens)


def partly_ablated(part: AblatedPart, reading: EncodedX) -> EncodedX:
    """The encoded X of a run with a sensor ablated in a region, with a warning about it."""
    name = "X" if part.sensor == "x" else "The RGB image"
    said = f"{name} was ablated in a region (zero tokens in {percent(part.tokens.mean())} of its stream)."
    return replace(reading, warnings=(*reading.warnings, said))


def stream_masks(pairs: Sequence[Prepared], device: torch.device) -> tuple[Tensor | None, Tensor | None]:
    """`mask_rgb` and `mask_x` of `KTB.forward` for a batch; None where no token is ablated."""
    off = {
        "rgb": [pair.without_rgb for pair in pairs],
        "x": [pair.reading.origin == "missing" for pair in pairs],
    }
    mask_rgb, mask_x = (_mask(pairs, sensor, whole, device) for sensor, whole in off.items())
    return mask_rgb, mask_x


def _mask(pairs: Sequence[Prepared], sensor: Drop, whole: list[bool], device: torch.device) -> Tensor | None:
    """(B,) bool of whole samples; (B, h, w) bool where a pair has ablated tokens of this sensor."""
    parts = [pair.part.tokens if pair.part and pair.part.sensor == sensor else None for pair in pairs]
    grid = next((part.shape for part in parts if part is not None), None)
    if grid is None:
        return torch.tensor(whole, device=device) if any(whole) else None
    masks = [np.full(grid, is_off) if part is None else part for part, is_off in zip(parts, whole)]
    return torch.from_numpy(np.stack(masks)).to(device)
