"""What comes before the network: the sizes at which it sees an image, and a pair that is ready for it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ktb.inputs import EncodedX
from ktb.inputs.limits import MAX_PIXELS, MAX_SIDE, MIN_SIDE
from ktb.modeling.tiling import SIZE_MULTIPLE

MAX_ASPECT = 16  # a longer strip would become a huge image once its shorter side fits the network
MAX_NETWORK_PIXELS = 3840 * 2176  # in one pass
MAX_TILED_PIXELS = MAX_PIXELS + 2**20  # an RGB image at its own size, rounded up


@dataclass(frozen=True, eq=False)
class Prepared:
    """A pair that is ready for the network.

    Attributes:
        size_hw: of the RGB image.
        reading: of X.
        rgb, modal_x: (1, 3, H, W) as `Predictor.network_inputs` makes them.
        without_rgb: the RGB image is ablated.
        seconds: that it took.
    """

    size_hw: tuple[int, int]
    reading: EncodedX
    rgb: Tensor
    modal_x: Tensor
    without_rgb: bool
    seconds: float

    @property
    def network_hw(self) -> tuple[int, int]:
        """The size in the network; only pairs of one size run together."""
        return tuple(self.rgb.shape[-2:])

    @property
    def nbytes(self) -> int:
        """Of its images."""
        return self.rgb.nbytes + self.modal_x.nbytes + self.reading.image.nbytes + self.reading.preview.nbytes


def network_size(size_hw: tuple[int, int], short_side: float | None) -> tuple[int, int]:
    """(height, width) for the network: the shorter side as given, then both up to multiples of 32."""
    scale = short_side / min(size_hw) if short_side else 1.0
    height, width = (SIZE_MULTIPLE * math.ceil(round(side * scale) / SIZE_MULTIPLE) for side in size_hw)
    return height, width


def fitting_size(size_hw: tuple[int, int], short_side: int | None, max_pixels: int) -> tuple[int, int]:
    """`network_size`; ValueError for more pixels, or a strip that would be enlarged."""
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
    """Resize (H, W[, C]) bilinearly; images that shrink by half or more are averaged, so nothing flickers."""
    if image.shape[:2] == tuple(size_hw):
        return image
    averages = image.shape[0] >= 2 * size_hw[0]
    interpolation = cv2.INTER_AREA if averages else cv2.INTER_LINEAR
    return cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=interpolation)


def to_network(image: np.ndarray, size_hw: tuple[int, int], device: torch.device) -> Tensor:
    """An image on the network's scale → (1, 3, h, w) float32 of this size on the device, not yet normalised.

    Args:
        image: (H, W, 3) uint8, or (H, W) or (H, W, 3) float32 on the 0..1 scale; one channel is repeated.
    """
    if image.dtype == np.uint8:
        image = image.astype(np.float32) / 255
    resized = resize_for_network(image, size_hw)
    if resized.ndim == 2:
        resized = np.repeat(resized[..., None], 3, axis=-1)
    tensor = torch.from_numpy(np.ascontiguousarray(resized))
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # its upload runs beside what the GPU computes
    return tensor.to(device, non_blocking=True).permute(2, 0, 1)[None]


def check_rgb(rgb: np.ndarray) -> None:
    """Refuse anything but an (H, W, 3) uint8 RGB image within the limits (ValueError)."""
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
