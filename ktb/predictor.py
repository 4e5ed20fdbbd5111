"""Arrays in, Prediction out: the only place that knows image sizes, resizing and numpy beside tensors."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Literal, get_args

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ktb.modalities import AUTO, EventStream, RawX, XOptions, XReading, encode_x, missing_x
from ktb.modalities.limits import MAX_PIXELS, MAX_SIDE, MIN_SIDE
from ktb.model import BRANCHES, HEAD_STRIDE, KTB, KTBOutput
from ktb.prediction import Branch, Prediction

Drop = Literal["rgb", "x"]
SIZE_MULTIPLE = 32
MAX_ASPECT = 16  # a longer strip would become a huge image once its shorter side fits the network
MAX_NETWORK_PIXELS = 3840 * 2176
MAX_BAND_VALUES = 1_000_000  # logits decided at once: few enough for the processor's cache
NO_X = (
    "X was switched off (zero tokens in its stream): this result comes from the photograph alone. The X head "
    "has only what the prompts pass to it from there."
)
NO_RGB = (
    "The photograph was switched off (zero tokens in its stream): this result comes from X alone. The RGB "
    "head has only what the prompts pass to it from there."
)


class Predictor:
    """Runs one model on photographs and X inputs of any size.

    Args:
        model: from `ktb.load_model`; it stays on its device.
        short_side: the shorter side in the network, rounded up to a multiple of 32; None takes the model's
            own setting, or the image's size where it has none.
    """

    def __init__(self, model: KTB, short_side: int | None = None):
        if short_side is not None and short_side < MIN_SIDE:
            raise ValueError(f"short_side is {short_side}; the network needs at least {MIN_SIDE} pixels.")
        self.model = model.eval()
        self.short_side = short_side or model.config.inputs.short_side

    def __call__(
        self,
        rgb: np.ndarray,
        x: np.ndarray | EventStream | RawX | XReading | None,
        *,
        options: XOptions = AUTO,
        trace: bool = True,
        drop: Drop | None = None,
    ) -> Prediction:
        """Segment one pair.

        Args:
            rgb: (H, W, 3) uint8 photograph.
            x: what `ktb.read_x` gave, an array, an event stream, or what `read` made of one of them; None
                runs on the photograph alone, with zero tokens in the X stream.
            options: what is known about X; not used if x was read already.
            trace: keep what the fusion did.
            drop: switch "rgb" or "x" off: zero tokens in its stream, as in masked-modality training. The
                prediction's `x` says so in its warnings; without X its origin is "missing".

        Raises:
            ValueError: for arrays of another layout or size, or if nothing is left to see; says what was
                found and what to do.
        """
        started = time.perf_counter()
        check_rgb(rgb)
        reading = x if isinstance(x, XReading) else self.read(x, rgb.shape[:2], options)
        if reading.image.shape[:2] != rgb.shape[:2]:
            raise ValueError(
                f"X was read for a photograph of {reading.image.shape[:2]} (height, width), but this one is "
                f"{rgb.shape[:2]}; read X again for this photograph."
            )
        reading = self._without(drop, reading)
        network_hw = self.network_size(rgb.shape[:2])
        with torch.inference_mode():
            output = self._run(rgb, reading, network_hw, trace, drop == "rgb")
            labels, confidences = self._postprocess(output, network_hw, rgb.shape[:2])
        config = self.model.config
        return Prediction(
            model=config.name,
            classes=config.classes,
            palette=config.palette,
            labels=labels,
            confidences=confidences,
            x=reading,
            logits={branch: getattr(output, branch).float().cpu() for branch in BRANCHES},
            trace=output.trace,
            prompts=output.prompts,
            network_hw=network_hw,
            seconds=time.perf_counter() - started,
            device=self._device.type,
        )

    def read(
        self,
        x: np.ndarray | EventStream | RawX | None,
        size_hw: tuple[int, int] | None = None,
        options: XOptions = AUTO,
    ) -> XReading:
        """What the network gets of an X input, at the photograph's size (height, width) or X's own.

        Raises:
            ValueError: as `ktb.modalities.encode_x`, or for no X without a size.
        """
        inputs = self.model.config.inputs
        if x is not None:
            return encode_x(x, inputs, size_hw, options)
        if size_hw is None:
            raise ValueError("without X the size of the photograph is needed; give size_hw")
        return missing_x(inputs, size_hw)

    def network_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """The size at which the network sees an image: shorter side as set, both up to multiples of 32.

        Raises:
            ValueError: if that is larger than a 4K picture, or the image is a long strip.
        """
        height, width = network_size(size_hw, self.short_side)
        longest, shortest = max(size_hw), min(size_hw)
        if (self.short_side and longest > MAX_ASPECT * shortest) or height * width > MAX_NETWORK_PIXELS:
            raise ValueError(
                f"the photograph is {size_hw[1]} x {size_hw[0]} pixels and would be {width} x {height} in "
                f"the network, which is too much. Crop it to at most {MAX_ASPECT}:1, or choose a smaller "
                f"short_side."
            )
        return height, width

    def network_inputs(
        self, rgb: np.ndarray, reading: XReading, network_hw: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """What `KTB.forward` takes of a photograph and its X: (1, 3, H, W) float each, on the device."""
        rgb_tensor = self._to_network(rgb.astype(np.float32) / 255, network_hw)
        x_tensor = self._to_network(reading.image, network_hw)
        return self.model.normalize_rgb(rgb_tensor), self.model.normalize_x(x_tensor)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _without(self, drop: Drop | None, reading: XReading) -> XReading:
        """The reading of a run with a sensor switched off, which says so."""
        if drop is None:
            return reading
        if drop not in get_args(Drop):
            raise ValueError(f"drop {drop!r}: choose one of {', '.join(get_args(Drop))}, or None")
        if reading.origin != "missing":
            if drop == "rgb":
                return replace(reading, warnings=(*reading.warnings, NO_RGB))
            missing = missing_x(self.model.config.inputs, reading.image.shape[:2])
            return replace(missing, warnings=(*reading.warnings, NO_X))
        if drop == "rgb":
            raise ValueError("there is no X: without the photograph nothing would be left to see")
        return reading

    def _run(
        self,
        rgb: np.ndarray,
        reading: XReading,
        network_hw: tuple[int, int],
        trace: bool,
        without_rgb: bool = False,
    ) -> KTBOutput:
        masked = torch.tensor([True], device=self._device)
        height, width = network_hw
        return self.model(
            *self.network_inputs(rgb, reading, network_hw),
            mask_rgb=masked if without_rgb else None,
            mask_x=masked if reading.origin == "missing" else None,
            trace=trace,
            logits_hw=(height // HEAD_STRIDE, width // HEAD_STRIDE),
        )

    def _to_network(self, image: np.ndarray, network_hw: tuple[int, int]) -> Tensor:
        resized = resize_for_network(image, network_hw)
        return torch.from_numpy(np.ascontiguousarray(resized)).permute(2, 0, 1)[None].to(self._device)

    def _postprocess(
        self, output: KTBOutput, network_hw: tuple[int, int], size_hw: tuple[int, int]
    ) -> tuple[dict[Branch, np.ndarray], dict[Branch, np.ndarray]]:
        labels, confidences = {}, {}
        for branch in BRANCHES:
            logits = F.interpolate(getattr(output, branch), network_hw, mode="bilinear", align_corners=False)
            labels[branch], confidences[branch] = decide(logits, size_hw)
        return labels, confidences


def network_size(size_hw: tuple[int, int], short_side: float | None) -> tuple[int, int]:
    """(height, width) for the network: the shorter side as given, then both up to multiples of 32."""
    scale = short_side / min(size_hw) if short_side else 1.0
    height, width = (SIZE_MULTIPLE * math.ceil(round(side * scale) / SIZE_MULTIPLE) for side in size_hw)
    return height, width


def resize_for_network(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Resize (H, W[, C]) bilinearly; images that shrink by half or more are averaged, so nothing flickers."""
    if image.shape[:2] == tuple(size_hw):
        return image
    averages = image.shape[0] >= 2 * size_hw[0]
    interpolation = cv2.INTER_AREA if averages else cv2.INTER_LINEAR
    return cv2.resize(image, (size_hw[1], size_hw[0]), interpolation=interpolation)


def decide(
    logits: Tensor, size_hw: tuple[int, int], rows_at_once: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (1, K, h, w) → labels (H, W) uint8 and the probability of each, (H, W) float32.

    Upsampling is bilinear; large images are decided in bands of rows, so that K full-size maps never exist.
    """
    label = np.empty(size_hw, np.uint8)
    confidence = np.empty(size_hw, np.float32)
    if logits.shape[-2:] == size_hw:
        bands = [(0, size_hw[0], logits)]
    else:
        rows = rows_at_once or max(1, MAX_BAND_VALUES // (logits.shape[1] * size_hw[1]))
        bands = _upsampled_bands(logits.float(), size_hw, rows)
    for top, bottom, band in bands:
        band = band.float()
        highest, index = band.max(dim=1)
        probability = (highest - band.logsumexp(dim=1)).exp()
        label[top:bottom] = index[0].to(torch.uint8).cpu().numpy()
        confidence[top:bottom] = probability[0].cpu().numpy()
    return label, confidence


def _upsampled_bands(logits: Tensor, size_hw: tuple[int, int], rows_at_once: int):
    """Bands (top, bottom, logits) of `F.interpolate(logits, size_hw, mode="bilinear")`."""
    height, width = size_hw
    source = logits.shape[-2]
    wide = F.interpolate(logits, size=(source, width), mode="bilinear", align_corners=False)
    centres = ((torch.arange(height, device=logits.device) + 0.5) * (source / height) - 0.5).clamp(min=0)
    above = centres.floor().long().clamp(max=source - 1)
    below = (above + 1).clamp(max=source - 1)
    weight = (centres - above)[:, None]
    for top in range(0, height, rows_at_once):
        rows = slice(top, min(height, top + rows_at_once))
        band = torch.lerp(wide[:, :, above[rows]], wide[:, :, below[rows]], weight[rows])
        yield rows.start, rows.stop, band


def check_rgb(rgb: np.ndarray) -> None:
    """Refuse anything but an (H, W, 3) uint8 photograph within the limits (ValueError)."""
    if not isinstance(rgb, np.ndarray) or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        found = f"shape {rgb.shape}, dtype {rgb.dtype}" if isinstance(rgb, np.ndarray) else type(rgb).__name__
        raise ValueError(
            f"the photograph is {found}; give an (H, W, 3) uint8 array in RGB order "
            f"(ktb.read_image_rgb reads files)."
        )
    height, width = rgb.shape[:2]
    if min(height, width) < MIN_SIDE or max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise ValueError(
            f"the photograph is {width} x {height} pixels; each side needs {MIN_SIDE} to {MAX_SIDE}, and at "
            f"most {MAX_PIXELS:,} pixels in all. Resize it."
        )
