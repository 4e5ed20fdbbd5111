"""From logits to labels and confidences at any size, a few rows at once: full-size maps never exist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MAX_BAND_VALUES = 1_000_000  # logits decided at once: few enough for the processor's cache
Size = tuple[int, int]


def decide(
    logits: Tensor, size_hw: Size, rows_at_once: int | None = None, via_hw: Size | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (1, K, h, w) → labels (H, W) uint8 and the probability of each, (H, W) float32.

    Args:
        size_hw: (H, W); the logits are upsampled bilinearly.
        rows_at_once: of the result; as many as MAX_BAND_VALUES allows by default.
        via_hw: a size to which they are upsampled before.
    """
    label = np.empty(size_hw, np.uint8)
    confidence = np.empty(size_hw, np.float32)
    steps = [step for step in (via_hw, size_hw) if step is not None]
    rows = rows_at_once or max(1, MAX_BAND_VALUES // (logits.shape[1] * size_hw[1]))
    for top, bottom, band in _upsampled_bands(logits, steps, rows):
        highest, index = band.max(dim=1)
        probability = (highest - band.logsumexp(dim=1)).exp()
        label[top:bottom] = index[0].to(torch.uint8).cpu().numpy()
        confidence[top:bottom] = probability[0].cpu().numpy()
    return label, confidence


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
