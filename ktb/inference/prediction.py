"""Predictions: masks, class tables and fusion traces of one pair, independent of the network."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ktb.config import BRANCHES
from ktb.inference.domain import DomainVerdict
from ktb.inputs import EncodedX
from ktb.modalities import MODALITIES, Modality
from ktb.visualize import colorize_labels

if TYPE_CHECKING:  # torch takes more than a second to import
    from torch import Tensor

    from ktb.modeling.trace import FusionTrace

Branch = Literal["fused", "rgb", "x"]
Drop = Literal["rgb", "x"]
"""The ablated sensor."""


def _neighbours(position: int, size: int, source: int) -> tuple[tuple[int, float], tuple[int, float]]:
    """The two of `source` samples around a position of `size`, each with its interpolation weight."""
    centre = min(max((position + 0.5) * source / size - 0.5, 0.0), source - 1.0)
    low = int(centre)
    return (low, 1 - (centre - low)), (min(low + 1, source - 1), centre - low)


def _nearest(side: int, source: int) -> np.ndarray:
    """The sample of `source` nearest to each position of `side`, (side,) increasing integers."""
    return np.minimum(((np.arange(side) + 0.5) * source / side).astype(np.intp), source - 1)


def _shares(position: int, sizes: Sequence[int]) -> dict[int, float]:
    """The samples of sizes[0] and their weights for a position, upsampled to one size after another."""
    if len(sizes) == 1:
        return {position: 1.0}
    shares: dict[int, float] = defaultdict(float)
    for neighbour, part in _neighbours(position, sizes[-1], sizes[-2]):
        for index, share in _shares(neighbour, sizes[:-1]).items():
            shares[index] += part * share
    return shares


def read_bilinear(maps: Tensor, pixel: tuple[int, int], *sizes_hw: tuple[int, int]) -> Tensor:
    """One pixel (y, x) of maps (K, h, w) upsampled bilinearly to one size after another; (K,).

    The result equals that of `F.interpolate` without computing the rest of the image.
    """
    rows, columns = (
        _shares(place, sides) for place, *sides in zip(pixel, maps.shape[1:], *sizes_hw, strict=True)
    )
    around = maps[:, list(rows)][:, :, list(columns)]
    return around @ maps.new_tensor(list(columns.values())) @ maps.new_tensor(list(rows.values()))


@dataclass(frozen=True)
class ClassRow:
    """A class present in a prediction: fraction of the pixels and mean confidence, both in [0, 1]."""

    index: int
    name: str
    color: tuple[int, int, int]
    share: float
    confidence: float


@dataclass(frozen=True)
class Prediction:
    """Prediction of the network for one pair, at the RGB image's own size.

    Attributes:
        model: name of the checkpoint.
        labels: per branch (H, W) uint8 class indices.
        confidences: per branch (H, W) float32, probability of the predicted class, 0..1, calibrated by the
            branch's temperature. On the CPU, they are computed when they are read; so are the labels of a
            large image.
        x: the encoded X input.
        logits: per branch (1, K, h, w) float32 logits of the heads, at a quarter of the network's size and
            before the division by the temperature.
        trace: one FusionTrace per level, or None.
        prompts: per level (1, 2, h, w), relative change of each token by the prompts, or None.
        network_hw: (height, width) of the network's inputs.
        seconds: duration of the network with pre- and postprocessing.
        device: device of the network, "cpu" or "cuda".
        runtime, precision: of the computation, see `ktb.inference.runtimes`.
        temperatures: per branch, class probabilities are softmax(logits / temperature); 1 if not calibrated.
        choice: the reason why this checkpoint was chosen; "" if a person named it.
        expected: the modality of X that the checkpoint was trained with.
        domain: whether the images are like those of the training; None if the checkpoint has no statistics.
    """

    model: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    labels: Mapping[Branch, np.ndarray]
    confidences: Mapping[Branch, np.ndarray]
    x: EncodedX
    logits: Mapping[Branch, Tensor]
    trace: tuple[FusionTrace, ...] | None
    prompts: tuple[Tensor, ...] | None
    network_hw: tuple[int, int]
    seconds: float
    device: str
    runtime: str = "eager"
    precision: str = "float32"
    temperatures: Mapping[Branch, float] = field(default_factory=lambda: dict.fromkeys(BRANCHES, 1.0))
    choice: str = ""
    expected: Modality = "other"
    domain: DomainVerdict | None = None

    @property
    def in_domain(self) -> bool | None:
        """Whether the images are like those of the training; None if that is unknown."""
        return None if self.domain is None else self.domain.in_domain

    @property
    def ribbon(self) -> str:
        """A line to show over the masks of images unlike those of the training; "" for none.

        Another sensor is named first; the warnings have the domain, too.
        """
        if self.x.origin != "missing" and self.expected not in ("other", self.x.modality):
            found, expected = (MODALITIES[modality].noun for modality in (self.x.modality, self.expected))
            return f"outside training: X is {found}, and this model learned from {expected}"
        return self.domain.ribbon if self.domain else ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that every interface shows: about the domain, then those of X."""
        return (*(self.domain.warnings() if self.domain else ()), *self.x.warnings)

    @property
    def is_calibrated(self) -> bool:
        """Whether the checkpoint has fitted temperatures."""
        return any(temperature != 1 for temperature in self.temperatures.values())

    @property
    def is_lazy(self) -> bool:
        """Whether the labels and confidences are computed when they are read."""
        return hasattr(self.labels, "decisions")

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) of the labels, without computing them."""
        decisions = getattr(self.labels, "decisions", None)
        return self.labels["fused"].shape if decisions is None else decisions.size_hw

    def sampled(self, size_hw: tuple[int, int]) -> Prediction:
        """This prediction with the labels and confidences of a regular grid of its pixels, nearest to those
        of an image of a smaller size (height, width); everything else, such as `x`, keeps its size.
        """
        decisions = getattr(self.labels, "decisions", None)
        rows, columns = (_nearest(*sides) for sides in zip(size_hw, self.size_hw))
        labels, confidences = {}, {}
        for branch in self.labels:
            if decisions is not None:
                labels[branch], confidences[branch] = decisions.at(branch, rows, columns)
            else:
                at = np.ix_(rows, columns)
                labels[branch], confidences[branch] = self.labels[branch][at], self.confidences[branch][at]
        return replace(self, labels=labels, confidences=confidences)

    def probabilities_at(self, y: int, x: int) -> dict[Branch, np.ndarray]:
        """Class probabilities of each branch at a pixel of the RGB image, (K,) float32.

        Raises:
            ValueError: for a pixel outside the RGB image.
        """
        height, width = self.size_hw
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(f"pixel ({y}, {x}) is outside the RGB image of {height} x {width} pixels")
        found = {}
        for branch, logits in self.logits.items():  # upsampled twice, as by the network and the predictor
            values = read_bilinear(logits[0], (y, x), self.network_hw, (height, width))
            found[branch] = (values / self.temperatures[branch]).softmax(dim=0).numpy()
        return found

    def class_table(self, branch: Branch = "fused") -> list[ClassRow]:
        """Classes present in the prediction, largest fraction first."""
        label, confidence = self.labels[branch], self.confidences[branch]
        counts = np.bincount(label.ravel(), minlength=len(self.classes))
        sums = np.bincount(label.ravel(), weights=confidence.ravel(), minlength=len(self.classes))
        order = sorted(np.flatnonzero(counts), key=lambda index: (-counts[index], index))
        return [
            ClassRow(
                index=int(i),
                name=self.classes[i],
                color=self.palette[i],
                share=float(counts[i] / label.size),
                confidence=float(sums[i] / counts[i]),
            )
            for i in order
        ]

    def colors(self, branch: Branch = "fused") -> np.ndarray:
        """The mask coloured with the palette, (H, W, 3) uint8 RGB."""
        return colorize_labels(self.labels[branch], self.palette, ignore_index=-1)

    def summary(self) -> dict[str, Any]:
        """JSON-compatible summary without images; shares and confidences are in [0, 1]."""
        height, width = self.size_hw
        return {
            "model": self.model,
            "choice": self.choice,
            "size": {"height": height, "width": width},
            "network_size": {"height": self.network_hw[0], "width": self.network_hw[1]},
            "x": {
                "origin": self.x.origin,
                "modality": self.x.modality,
                "encoding": self.x.encoding,
                "summary": self.x.summary,
                "facts": dict(self.x.facts),
            },
            "warnings": list(self.warnings),
            "in_domain": self.in_domain,
            "domain": self.domain and self.domain.to_dict(),
            "device": self.device,
            "runtime": self.runtime,
            "precision": self.precision,
            "temperatures": dict(self.temperatures),
            "seconds": round(self.seconds, 3),
            "branches": {
                branch: [
                    {
                        "index": row.index,
                        "name": row.name,
                        "color": list(row.color),
                        "share": row.share,
                        "confidence": row.confidence,
                    }
                    for row in self.class_table(branch)
                ]
                for branch in BRANCHES
            },
        }
