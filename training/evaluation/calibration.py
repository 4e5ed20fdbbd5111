"""Calibration of confidences: temperatures by negative log-likelihood, and the expected calibration error.

After Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. A branch's class probabilities are
softmax(logits / T) with one temperature T. The expected calibration error (ECE) sorts pixels by confidence
into equally wide bins and averages |accuracy - mean confidence| over the bins, weighted by their pixels.
Pixels are taken on a grid of every `STRIDE`-th row and column of the label, whose start moves from image to
image. Ignored pixels are left out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ktb.config import BRANCHES
from ktb.inference.postprocess import logits_at
from ktb.labels import IGNORE_INDEX
from ktb.modeling.model import KTB
from training.data.datasets.base import PairDataset
from training.evaluation.inference import Views, network_input
from training.robustness.corruptions import Corruption

BINS = 15
STRIDE = 8
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.4, 6.0, 25))
"""Candidates of the fit; a parabola through the best one and its neighbours refines it."""


@dataclass(frozen=True)
class Condition:
    """A condition of the inputs.

    missing_x: zero tokens in place of X. light: fraction of the RGB image's light, with sensor noise.
    """

    title: str
    missing_x: bool = False
    light: float = 1.0


CONDITIONS: Mapping[str, Condition] = MappingProxyType(
    {
        "both": Condition("both sensors"),
        "no-x": Condition("without X", missing_x=True),
        "quarter-light": Condition("RGB image at a quarter of the light", light=0.25),
    }
)
"""The conditions in which confidences are fitted and measured."""


@dataclass
class Reliability:
    """Pixels by confidence: per bin their number, the sum of their confidences, and how many are correct."""

    count: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(BINS))
    correct: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def update(self, confidence: Tensor, correct: Tensor) -> None:
        """Add pixels: confidences in 0..1, and whether each is correct, of one shape."""
        index = (confidence * BINS).long().clamp(max=BINS - 1).flatten()
        self.count += torch.bincount(index, minlength=BINS).cpu().numpy()
        self.confidence += torch.bincount(index, confidence.flatten().double(), BINS).cpu().numpy()
        self.correct += torch.bincount(index[correct.flatten()], minlength=BINS).cpu().numpy()

    def error(self) -> float:
        """Expected calibration error in percent; NaN without pixels."""
        if not self.count.sum():
            return math.nan
        return float(100 * np.abs(self.correct - self.confidence).sum() / self.count.sum())

    def report(self) -> dict[str, Any]:
        """ECE, accuracy and mean confidence in percent, and the bins: share, confidence and accuracy 0..1."""
        total = max(1, int(self.count.sum()))
        filled = np.maximum(1, self.count)
        bins = zip(self.count / total, self.confidence / filled, self.correct / filled)
        return {
            "ece": self.error(),
            "accuracy": 100 * float(self.correct.sum()) / total,
            "mean_confidence": 100 * float(self.confidence.sum()) / total,
            "bins": [[round(float(value), 5) for value in row] for row in bins],
        }


def fit_temperatures(
    model: KTB,
    dataset: PairDataset,
    indices: Sequence[int],
    conditions: Sequence[str] = tuple(CONDITIONS),
    size: int | None = None,
) -> tuple[float, float, float]:
    """Temperatures of the branches with the least negative log-likelihood over all conditions together."""
    grid = torch.tensor(TEMPERATURES, dtype=torch.float32)
    losses = torch.zeros(len(BRANCHES), len(grid), dtype=torch.float64)
    for _, values, truth in _pixels(model, dataset, indices, conditions, size, "fit"):
        for branch, logits in enumerate(values):
            for i, temperature in enumerate(grid.tolist()):
                scaled = logits / temperature
                losses[branch, i] += F.cross_entropy(scaled.T, truth, reduction="sum").double().cpu()
    fused, rgb, x = (_least(row) for row in losses.tolist())
    return fused, rgb, x


def measure(
    model: KTB,
    dataset: PairDataset,
    indices: Sequence[int],
    temperatures: Sequence[float],
    conditions: Sequence[str] = tuple(CONDITIONS),
    size: int | None = None,
) -> dict[str, Any]:
    """{condition: {branch: {"before": `Reliability.report`, "after": ...}}}: temperatures 1 and as given."""
    found = {
        (name, branch, when): Reliability()
        for name in conditions
        for branch in BRANCHES
        for when in ("before", "after")
    }
    for name, values, truth in _pixels(model, dataset, indices, conditions, size, "measure"):
        for branch, logits, temperature in zip(BRANCHES, values, temperatures, strict=True):
            for when, divisor in (("before", 1.0), ("after", temperature)):
                confidence, guess = (logits / divisor).softmax(0).max(0)
                found[name, branch, when].update(confidence, guess == truth)
    return {
        name: {
            branch: {when: found[name, branch, when].report() for when in ("before", "after")}
            for branch in BRANCHES
        }
        for name in conditions
    }


def _pixels(
    model: KTB,
    dataset: PairDataset,
    indices: Sequence[int],
    conditions: Sequence[str],
    size: int | None,
    what: str,
) -> Iterator[tuple[str, list[Tensor], Tensor]]:
    """Per image and condition: name, logits (K, N) of each branch at labelled pixels, their classes (N,)."""
    views = Views(size or model.config.inputs.short_side)
    model.eval()
    for index in tqdm(indices, unit="image", desc=what):
        stored = dataset[index]
        rows, columns = (range(index % STRIDE, side, STRIDE) for side in stored.label.shape)
        truth = torch.from_numpy(stored.label[rows.start :: STRIDE, columns.start :: STRIDE].copy()).long()
        valid = truth != IGNORE_INDEX
        for name in conditions:
            condition, sample = CONDITIONS[name], stored
            if condition.light < 1:
                sample = Corruption("dark", condition.light)(stored, np.random.default_rng([0, index]))
            inputs = network_input(model, sample, views.network_size(sample.label.shape))
            hidden = torch.tensor([True], device=inputs[0].device) if condition.missing_x else None
            network_hw = tuple(inputs[0].shape[-2:])
            places = rows, columns, stored.label.shape, network_hw
            with torch.inference_mode():
                output = model(*inputs, mask_x=hidden, logits_hw=[side // 4 for side in network_hw])
                found = [logits_at(getattr(output, branch), *places).cpu() for branch in BRANCHES]
                values = [logits[:, valid] for logits in found]
            yield name, values, truth[valid]


def _least(losses: Sequence[float]) -> float:
    """The temperature at the minimum of a parabola in log T around the least loss, to four digits."""
    best = int(np.argmin(losses))
    step = math.log(TEMPERATURES[1] / TEMPERATURES[0])
    offset = 0.0
    if 0 < best < len(losses) - 1:
        low, middle, high = losses[best - 1 : best + 2]
        curvature = low - 2 * middle + high
        offset = 0.5 * (low - high) / curvature if curvature > 0 else 0.0
    return round(TEMPERATURES[best] * math.exp(offset * step), 4)
