"""Label and confidence maps that are computed from the logits when they are first read."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ktb.inference.postprocess import Size, Upsampling, confidence_of, labels_of


@dataclass(eq=False)
class LazyDecisions:
    """The decisions of all branches of one prediction.

    Attributes:
        logits: per branch (1, K, h, w) float32 on the CPU.
        temperatures: per branch, as for `confidence_of`.
        size_hw, via_hw: as for `Upsampling`.
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
        upsampling = Upsampling(self.logits[branch], self.size_hw, self.via_hw, at)
        confidence = confidence_of(upsampling, self.temperatures[branch])
        return labels_of(upsampling).numpy(), confidence.numpy()


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


class LazyConfidences(Mapping[str, np.ndarray]):
    """Confidences (H, W) float32 by branch, each computed when it is first read.

    Args:
        logits: per branch (1, K, h, w) float32 on the CPU.
        temperatures: per branch, as for `confidence_of`.
        size_hw, via_hw: as for `Upsampling`.

    Attributes:
        computed: the arrays that were read.
    """

    def __init__(
        self, logits: Mapping[str, Tensor], temperatures: Mapping[str, float], size_hw: Size, via_hw: Size
    ):
        self._logits, self._temperatures = logits, temperatures
        self._sizes, self._lock = (size_hw, via_hw), threading.Lock()
        self.computed: dict[str, np.ndarray] = {}

    @torch.inference_mode()
    def __getitem__(self, branch: str) -> np.ndarray:
        with self._lock:
            if branch not in self.computed:
                upsampling = Upsampling(self._logits[branch], *self._sizes)
                self.computed[branch] = confidence_of(upsampling, self._temperatures[branch]).numpy()
            return self.computed[branch]

    def __iter__(self) -> Iterator[str]:
        return iter(self._logits)

    def __len__(self) -> int:
        return len(self._logits)

    def __reduce__(self) -> tuple:
        """Pickled as a dict of the computed arrays."""
        return dict, (list(self.items()),)
