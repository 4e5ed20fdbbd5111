"""Window partition of Swin: one gather each way, including padding and shifts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT_PENALTY = -100.0
RIGHT, BOTTOM = 1, 2  # bits of a window's kind: it crosses the shift's boundary in columns, in rows


@dataclass(frozen=True)
class WindowLayout:
    """The windows of an h×w token map, grouped by kind, that is by the attention mask they need.

    Attributes:
        groups: per kind (windows·N,) positions y·w + x of the tokens, window by window; h·w where padded.
        back: (h·w,) index of each token in the concatenation of all groups.
        padded: whether there is padding.
    """

    groups: tuple[tuple[int, Tensor], ...]
    back: Tensor
    padded: bool


def window_layout(height: int, width: int, window: int, shift: int, device: torch.device) -> WindowLayout:
    """Pad bottom and right to whole windows, then roll by −shift (reference section 2)."""
    positions = torch.arange(height * width, device=device).view(height, width)
    # Padding comes before the roll: timm's own block rolls first, which differs wherever it pads.
    positions = F.pad(positions, (0, -width % window, 0, -height % window), value=height * width)
    padded = positions.numel() > height * width
    positions = positions.roll((-shift, -shift), dims=(0, 1))
    windows = positions.unflatten(1, (-1, window)).unflatten(0, (-1, window)).transpose(1, 2).flatten(2)
    groups = {0: windows}
    if shift:
        groups = {
            0: windows[:-1, :-1],
            RIGHT: windows[:-1, -1],
            BOTTOM: windows[-1, :-1],
            RIGHT | BOTTOM: windows[-1, -1],
        }
    found = tuple((kind, group.flatten()) for kind, group in groups.items() if group.numel())
    # Sorting restores the tokens' order: each occurs once, and padding has the largest position.
    back = torch.cat([group for _, group in found]).argsort()[: height * width]
    return WindowLayout(found, back, padded)


def relative_positions(window: int) -> Tensor:
    """Index of the offset of each pair of positions in a window, 0..(2·window - 1)² - 1: (N, N) int64."""
    position = torch.arange(window**2)
    row, column = position // window, position % window
    down, right = row[:, None] - row[None] + window - 1, column[:, None] - column[None] + window - 1
    return down * (2 * window - 1) + right


def shift_penalty(kind: int, window: int, shift: int, device: torch.device) -> Tensor:
    """Attention mask (N, N): −100 between positions on different sides of the shift's boundary."""
    beyond = torch.arange(window, device=device) >= window - shift
    region = (kind & BOTTOM) * beyond[:, None] + (kind & RIGHT) * beyond[None]
    different = region.flatten()[:, None] != region.flatten()[None]
    return SHIFT_PENALTY * different
