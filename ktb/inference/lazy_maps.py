"""Label and confidence maps of large images, computed from the logits when they are first read."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ktb.inference.postprocess import Size, labels_and_confidence


@dataclass(eq=False)
class LazyDecisions:
    """The decisions of all branches of one prediction.

    Attributes:
        logits: per branch (1, K, h, w) float32 on the CPU.
        temperatures: per branch, as for `labels_and_confidence`.
        size_hw, via_hw: as for `labels_and_confidence`.
        computed: per branch its labels (H, W) uint8 and confidences (H, W) float32, where they were read.
    """

    logits: Mapping[str, Tensor]
    temperatures: Mapping[str, float]
    size_hw: Size
    via_hw: Size
    computed: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def full(self, branch: str) -> tuple[np.ndarray, np.ndarray]:
        """Labels and confidences of a branch at the image's size, computed once."""
        with self._lock:
            if branch not in self.computed:
                self.computed[branch] = self._decide(branch, None)
            return self.computed[branch]

    def at(self, branch: str, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels and confidences at rows (h,) and columns (w,) of the image, (h, w)."""
        if branch in self.computed:
            label, confidence = (values[np.ix_(rows, columns)] for values in self.computed[branch])
            return label, confidence
        return self._decide(branch, (rows, columns))

    @torch.inference_mode()
    def _decide(self, branch: str, at: tuple[np.ndarray, np.ndarray] | None) -> tuple[np.ndarray, np.ndarray]:
        found = labels_and_confidence(
            self.logits[branch],
            self.size_hw,
            via_hw=self.via_hw,
            temperature=self.temperatures[branch],
            at=at,
        )
        return found[0].numpy(), found[1].numpy()


class LazyMaps(Mapping[str, np.ndarray]):
    """The labels or the confidences of `decisions`, by branch; as a dict of arrays (H, W).

    Args:
        part: 0 for the labels, 1 for the confidences.
    """

    def __init__(self, decisions: LazyDecisions, part: int):
        self.decisions, self._part = decisions, part

    def __getitem__(self, branch: str) -> np.ndarray:
        if branch not in self.decisions.logits:
            raise KeyError(branch)
        return self.decisions.full(branch)[self._part]

    def __iter__(self) -> Iterator[str]:
        return iter(self.decisions.logits)

    def __len__(self) -> int:
        return len(self.decisions.logits)

    def __reduce__(self) -> tuple:
        """Pickled as a dict of the computed arrays."""
        return dict, (list(self.items()),)
