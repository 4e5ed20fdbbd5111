"""Inference for an evaluation: sizes, scales, flip, sliding windows, a missing modality."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ktb.config import BRANCHES, LEVELS
from ktb.inference.preprocess import MAX_NETWORK_PIXELS, network_size, to_network
from ktb.modeling.model import KTB, KTBOutput
from ktb.modeling.tiling import SIZE_MULTIPLE
from training.data.augment import SINE_SIGNS
from training.data.datasets.sample import Sample

MSF_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)  # the released scripts' EVAL.MSF, used with flip
MIN_SIZE, MAX_SIZE = 32, 16_384
MIN_SCALE, MAX_SCALE = 0.1, 8.0

Missing = Literal["rgb", "x"]
MissingAs = Literal["tokens", "image"]
Window = tuple[int, int]


@dataclass(frozen=True)
class Views:
    """The views of an image that are averaged; arguments as of `training.evaluation.evaluator.evaluate`.

    size=None keeps the images' own size. With `mirror_angles` a mirrored angle of polarization changes its
    sign, which it does not in the released scripts. Raises ValueError for a setting out of range.
    """

    size: int | None = None
    scales: Sequence[float] = (1.0,)
    flip: bool = False
    window: Window | None = None
    overlap: float = 0.5
    missing: Missing | None = None
    missing_as: MissingAs = "tokens"
    mirror_angles: bool = True

    def __post_init__(self):
        size, window = self.size, self.window
        if size is not None and not MIN_SIZE <= size <= MAX_SIZE:
            raise ValueError(f"size is {size}; choose a short side of {MIN_SIZE} to {MAX_SIZE} pixels.")
        if not self.scales:
            raise ValueError("scales is empty; give at least one, such as 1.")
        for scale in self.scales:
            if not MIN_SCALE <= scale <= MAX_SCALE:
                raise ValueError(
                    f"scale {scale} is out of range; choose {MIN_SCALE} to {MAX_SCALE}, such as "
                    f"{' '.join(map(str, MSF_SCALES))}."
                )
        if window is not None and (
            len(window) != 2 or any(side < SIZE_MULTIPLE or side % SIZE_MULTIPLE for side in window)
        ):
            nearest = " ".join(str(SIZE_MULTIPLE * max(1, round(side / SIZE_MULTIPLE))) for side in window)
            raise ValueError(
                f"window is {' '.join(map(str, window))}; give height and width as multiples of "
                f"{SIZE_MULTIPLE}, such as {nearest}."
            )
        if not 0 <= self.overlap < 1:
            raise ValueError(f"overlap is {self.overlap}; give a fraction from 0 to below 1, such as 0.5.")
        for name, value, allowed in (
            ("missing", self.missing, (None, "rgb", "x")),
            ("missing_as", self.missing_as, ("tokens", "image")),
        ):
            if value not in allowed:
                raise ValueError(f"{name} is {value!r}; allowed: {', '.join(map(repr, allowed))}.")

    @property
    def single(self) -> bool:
        """Whether there is only one view."""
        return len(self.scales) == 1 and not self.flip

    def network_size(self, shape: Sequence[int], scale: float = 1.0) -> tuple[int, int]:
        """(height, width) in the network of an image of `shape`; ValueError if this needs too much memory."""
        height, width = network_size(shape, (self.size or min(shape)) * scale)
        if height * width > MAX_NETWORK_PIXELS and self.window is None:
            raise ValueError(
                f"an image of {shape[1]} x {shape[0]} pixels would be {width} x {height} in the network, "
                f"which is too large; choose a smaller size or scale, or a window such as 1024 1024."
            )
        return height, width

    def predict(
        self, model: KTB, sample: Sample, shape: Sequence[int], attention: bool = False
    ) -> tuple[list[Tensor], Tensor | None]:
        """Predicted classes (H, W) int64 per branch at `shape`, in the order of BRANCHES.

        The second value is the `attention_statistics` of the first view (mean over its windows), or None.
        """
        statistics: list[Tensor] = []
        sums: list[Tensor] | None = None
        for scale in self.scales:
            inputs = network_input(model, sample, self.network_size(sample.label.shape, scale))
            inputs = self._without_missing(model, *inputs)
            for mirrored in (False, True) if self.flip else (False,):
                keep = statistics if attention and sums is None else None
                views = self._mirrored(model, *inputs) if mirrored else inputs
                logits = self._logits(model, *views, keep)
                logits = [v.flip(-1) if mirrored else v for v in logits]
                logits = [F.interpolate(v, tuple(shape), mode="bilinear") for v in logits]
                if not self.single:
                    logits = [v.softmax(1) for v in logits]
                sums = logits if sums is None else [a + b for a, b in zip(sums, logits, strict=True)]
        mean = torch.stack(statistics).mean(0) if statistics else None
        return [v.argmax(1)[0] for v in sums], mean

    def _mirrored(self, model: KTB, rgb: Tensor, modal_x: Tensor) -> tuple[Tensor, Tensor]:
        """Both inputs mirrored; a mirror turns the angle of polarization φ into -φ."""
        rgb, modal_x = rgb.flip(-1), modal_x.flip(-1)
        if model.config.inputs.encoding == "aolp" and self.mirror_angles:
            signs = torch.from_numpy(SINE_SIGNS).to(modal_x).view(1, 3, 1, 1)
            zero = model.normalize_x(torch.zeros_like(modal_x))
            modal_x = zero + signs * (modal_x - zero)
        return rgb, modal_x

    def _without_missing(self, model: KTB, rgb: Tensor, modal_x: Tensor) -> tuple[Tensor, Tensor]:
        if self.missing_as == "image" and self.missing == "rgb":
            rgb = model.normalize_rgb(torch.zeros_like(rgb))
        if self.missing_as == "image" and self.missing == "x":
            modal_x = model.normalize_x(torch.zeros_like(modal_x))
        return rgb, modal_x

    def _logits(self, model: KTB, rgb: Tensor, modal_x: Tensor, keep: list[Tensor] | None) -> list[Tensor]:
        """Float32 logits (1, K, h, w) per branch at the inputs' size; statistics are appended to `keep`."""
        options = {"trace": True} if keep is not None else {}
        if self.missing and self.missing_as == "tokens":
            options[f"mask_{self.missing}"] = torch.ones(len(rgb), dtype=torch.bool, device=rgb.device)

        def run(rgb: Tensor, modal_x: Tensor) -> list[Tensor]:
            output: KTBOutput = model(rgb, modal_x, **options)
            if keep is not None:
                keep.append(attention_statistics(output.trace))
            return [getattr(output, branch).float() for branch in BRANCHES]

        if self.window is None:
            return run(rgb, modal_x)
        return average_windows(run, rgb, modal_x, self.window, self.overlap)


def network_input(model: KTB, sample: Sample, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Both images as `ktb.Predictor` prepares them: (1, 3, h, w) float32 on the model's device."""
    device = next(model.parameters()).device
    rgb, modal_x = (
        to_network(image.astype(np.float32) / 255, size_hw, device) for image in (sample.rgb, sample.modal_x)
    )
    return model.normalize_rgb(rgb), model.normalize_x(modal_x)


def average_windows(
    run: Callable[[Tensor, Tensor], list[Tensor]],
    rgb: Tensor,
    modal_x: Tensor,
    window: Window,
    overlap: float,
) -> list[Tensor]:
    """Run on overlapping windows of (1, 3, H, W) images and average the logits: a list of (1, K, H, W).

    A side shorter than the window is not divided. The last window of a row or column ends at the border.
    """
    height, width = rgb.shape[-2:]
    sums: list[Tensor] | None = None
    visits = rgb.new_zeros(1, 1, height, width)
    for rows in _spans(height, window[0], overlap):
        for columns in _spans(width, window[1], overlap):
            part = (..., rows, columns)
            logits = run(rgb[part], modal_x[part])
            if sums is None:
                sums = [v.new_zeros(1, v.shape[1], height, width) for v in logits]
            for total, value in zip(sums, logits, strict=True):
                total[part] += value
            visits[part] += 1
    return [total / visits for total in sums]


def attention_statistics(trace: Sequence) -> Tensor:
    """(levels, 2) float64: per level the mean normalised entropy and the balance map's standard deviation."""
    rows = [(level.entropy().double().mean(), level.balance().double().std()) for level in trace]
    assert len(rows) == LEVELS
    return torch.tensor([[value.item() for value in row] for row in rows], dtype=torch.float64)


def _spans(length: int, window: int, overlap: float) -> Iterator[slice]:
    """Equal spans that cover 0..length, each overlapping the next by at least `overlap` of a window."""
    window = min(window, length)
    stride = max(1, int(window * (1 - overlap)))
    steps = math.ceil((length - window) / stride)
    for start in (min(i * stride, length - window) for i in range(steps + 1)):
        yield slice(start, start + window)
