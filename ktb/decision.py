"""From logits to labels and confidences at any size, a few rows at once: full-size maps never exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MAX_BAND_VALUES = 1_000_000  # logits decided at once: few enough for the processor's cache
MAX_GPU_BAND_VALUES = 64_000_000  # so many that a card is busy
Size = tuple[int, int]


def decide(
    logits: Tensor, size_hw: Size, rows_at_once: int | None = None, via_hw: Size | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """As `decide_there`, brought to the CPU: labels (H, W) uint8 and probabilities (H, W) float32."""
    label, confidence = to_host(decide_there(logits, size_hw, rows_at_once, via_hw))
    return label.numpy(), confidence.numpy()


def decide_there(
    logits: Tensor, size_hw: Size, rows_at_once: int | None = None, via_hw: Size | None = None
) -> tuple[Tensor, Tensor]:
    """Logits (1, K, h, w) → labels (H, W) uint8 and the probability of each, (H, W) float32, on their device.

    Args:
        size_hw: (H, W); the logits are upsampled bilinearly.
        rows_at_once: of the result; as many as suits the device by default.
        via_hw: a size to which they are upsampled before.
    """
    device = logits.device
    label = torch.empty(size_hw, dtype=torch.uint8, device=device)
    confidence = torch.empty(size_hw, device=device)
    steps = [step for step in (via_hw, size_hw) if step is not None]
    most = MAX_BAND_VALUES if device.type == "cpu" else MAX_GPU_BAND_VALUES
    rows = rows_at_once or max(1, most // (logits.shape[1] * size_hw[1]))
    for top, bottom, band in _upsampled_bands(logits, steps, rows):
        highest, index = band.max(dim=1)
        label[top:bottom] = index[0]
        confidence[top:bottom] = (highest - band.logsumexp(dim=1)).exp()[0]
    return label, confidence


def to_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors on the CPU: from a card in one transfer."""
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return list(tensors)
    order = sorted(range(len(tensors)), key=lambda i: -tensors[i].element_size())  # so that each lies aligned
    flat = torch.cat([tensors[i].contiguous().flatten().view(torch.uint8) for i in order]).cpu()
    parts = zip(order, flat.split([tensors[i].nbytes for i in order]))
    found = {i: part.view(tensors[i].dtype).view(tensors[i].shape) for i, part in parts}
    return [found[i] for i in range(len(tensors))]


def _upsampled_bands(
    logits: Tensor, steps: Sequence[Size], rows_at_once: int
) -> Iterator[tuple[int, int, Tensor]]:
    """Bands (top, bottom, logits) of `F.interpolate(logits, step, mode="bilinear")` of each step in turn."""
    height = steps[-1][0]
    for top in range(0, height, rows_at_once):
        bottom = min(height, top + rows_at_once)
        yield top, bottom, _rows(logits, steps, top, bottom)


def _rows(logits: Tensor, steps: Sequence[Size], top: int, bottom: int) -> Tensor:
    """Rows top..bottom of the last step; only what they need of the steps before is made."""
    if not steps:
        return logits[..., top:bottom, :].float()
    *before, (height, width) = steps
    source_h, source_w = before[-1] if before else logits.shape[-2:]
    if (source_h, source_w) == (height, width):
        return _rows(logits, before, top, bottom)
    centres = ((torch.arange(top, bottom) + 0.5) * (source_h / height) - 0.5).clamp(min=0)
    above = centres.floor().long().clamp(max=source_h - 1)
    below = (above + 1).clamp(max=source_h - 1)
    first, last = int(above[0]), int(below[-1]) + 1
    source = _rows(logits, before, first, last)
    wide = F.interpolate(source, size=(last - first, width), mode="bilinear", align_corners=False)
    weight = (centres - above)[:, None].to(wide.device)
    return torch.lerp(wide[:, :, above - first], wide[:, :, below - first], weight)
