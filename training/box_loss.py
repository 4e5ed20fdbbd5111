"""Boxes as weak labels of pixels: the pixels of an object lie inside some box, and every box holds some.

Nothing here looks at the images: a threshold on temperature would make the gain of a thermal camera circular.
"""

import numpy as np
import torch
from torch import Tensor

SHARE = 0.3
"""Fraction of a box's pixels that belong to its object at least."""
WORST = 0.05
"""Fraction of the pixels outside all boxes that count: those with the highest probability."""
MIN_SIDE = 3
"""Boxes with a shorter side, in pixels of the probabilities, demand nothing."""
_SMALL = 1e-4


def inside_loss(probability: Tensor, boxes: np.ndarray) -> Tensor | None:
    """The mean loss of boxes that should each hold an object; None if no box is large enough.

    Args:
        probability: (H, W) float32, of the object's classes together.
        boxes: (N, 4) left, top, right, bottom in pixels of `probability`.

    A box's loss is the mean of -log of the highest probability of each of its rows and columns (a tight box's
    object crosses all of them; the outer tenth at each side is left out), plus -log of the mean over the most
    probable `SHARE` of its pixels. It is 0 if these are certain, whatever the rest is.
    """
    losses = []
    for left, top, right, bottom in np.round(boxes).astype(int).tolist():
        if min(right - left, bottom - top) < MIN_SIDE:
            continue
        inside = probability[top:bottom, left:right]
        lines = torch.cat([_middle(inside.amax(1)), _middle(inside.amax(0))])
        values = inside.flatten()
        top_share = values.topk(max(1, int(SHARE * len(values)))).values.mean()
        losses.append(-_log(lines).mean() - _log(top_share))
    return torch.stack(losses).mean() if losses else None


def stray_loss(probability: Tensor, boxes: np.ndarray, margin: int = 0) -> Tensor:
    """The mean of -log(1 - p) over the `WORST` fraction of the pixels outside all boxes; 0 if there are none.

    Arguments as for `inside_loss`; the boxes are widened by `margin` pixels.
    """
    outside = outside_boxes(tuple(probability.shape), boxes, margin)
    values = probability[torch.from_numpy(outside).to(probability.device)]
    if not len(values):
        return probability.sum() * 0
    worst = values.topk(max(1, int(WORST * len(values)))).values
    return -_log(1 - worst).mean()


def outside_boxes(size_hw: tuple[int, int], boxes: np.ndarray, margin: float = 0) -> np.ndarray:
    """(H, W) bool: the pixels that no box touches, when each is widened by `margin` pixels."""
    outside = np.ones(size_hw, bool)
    for left, top, right, bottom in boxes.tolist():
        rows = slice(max(0, int(np.floor(top - margin))), max(0, int(np.ceil(bottom + margin))))
        columns = slice(max(0, int(np.floor(left - margin))), max(0, int(np.ceil(right + margin))))
        outside[rows, columns] = False
    return outside


def _middle(values: Tensor) -> Tensor:
    skip = len(values) // 10
    return values[skip : len(values) - skip]


def _log(probability: Tensor) -> Tensor:
    """The logarithm of at least `_SMALL`; certainty gives exactly 0, and doubt always has a gradient."""
    return torch.log(probability * (1 - _SMALL) + _SMALL)
