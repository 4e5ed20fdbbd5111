"""The evaluation loop: run the network on every image as `ktb.Predictor` does, count pixels, compute scores.

Protocol: each image is resized (bilinear) to the short side `size`, with both sides rounded up to multiples
of 32. The logits are resized (bilinear) to the label's own resolution. The scores are computed there, over
all pixels of the split together.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ktb.config import BRANCHES, LEVELS
from ktb.labels import generic_labels
from ktb.modeling.model import KTB
from training.data.datasets.base import PairDataset
from training.data.datasets.sample import Sample
from training.evaluation.boundary import BoundaryCounts
from training.evaluation.inference import Missing, MissingAs, Views, Window, attention_statistics
from training.evaluation.metrics import ConfusionMatrix

__all__ = ["Corruption", "Tally", "attention_statistics", "describe", "evaluate"]

Corruption = Callable[[Sample, np.random.Generator], Sample]
PART_SEPARATOR = "/"  # of `PairDataset.condition`


def evaluate(
    model: KTB,
    dataset: PairDataset,
    *,
    indices: Sequence[int] | None = None,
    size: int | None = None,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
    window: Window | None = None,
    overlap: float = 0.5,
    bf16: bool = False,
    reference: bool = False,
    attention: bool = False,
    boundary: bool | float = False,
    confusion: bool = False,
    corruption: Corruption | None = None,
    missing: Missing | None = None,
    missing_as: MissingAs = "tokens",
    seed: int = 0,
    reduce: Callable[[Tensor], Tensor] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Compute the scores of all three branches on a dataset, or on its `indices`, in percent.

    Args:
        size: the short side in pixels to which images are resized (default: the model's, else their own).
        scales, flip: average the softmax over these scales and the mirrored image; with one scale and no flip
            the logits are used directly.
        window, overlap: run the network on windows (height, width) of the resized image that overlap by at
            least this fraction, and average their logits; a side shorter than the window is not divided.
        bf16: run the network in bfloat16.
        reference: use the protocol of the released scripts (labels resized with the images, absent classes
            count as 0, a mirrored angle of polarization keeps its sign).
        attention: add the statistics of the fusion per level.
        boundary: add boundary F1; a number is the tolerance in pixels instead of 0.75 % of the diagonal.
        confusion: add the confusion matrices.
        corruption: changes each stored sample before resizing, with a generator seeded by (seed, index).
        missing: the modality to remove; `missing_as` "tokens" zeroes its tokens after patch embedding, as
            MMST does, and "image" replaces it by an image of zeros.
        reduce: sums a tensor on the model's device over processes with different `indices` (int64 counts;
            also float64 with `attention`): `training.engine.distributed.summed`. Every process then returns
            the scores of all images.

    Returns:
        {branch: {"miou", "pixel_accuracy", "class_accuracy", "f1", "iou", "accuracy_per_class",
        "f1_per_class"[, "boundary_f1", "boundary_f1_per_class"]} for "fused", "rgb", "x"; "images";
        "protocol"; [, "conditions": {condition: {branch: ..., "images"}}][, "attention"]
        [, "confusion": {branch: K lists of K counts, rows are the truth}]}. A class without a score is None,
        a mean without any is NaN. Conditions with several parts ("night/motionblur") also appear by part.
        The model stays in eval mode.

    Raises:
        ValueError: the model's classes differ from the dataset's, a setting is out of range, or no image is
            left to score.
    """
    _check_classes(model, dataset)
    size = model.config.inputs.short_side if size is None else size
    views = Views(size, tuple(scales), flip, window, overlap, missing, missing_as, not reference)
    model.eval()
    device = next(model.parameters()).device
    indices = range(len(dataset)) if indices is None else indices
    classes = dataset.classes
    tolerance = None if isinstance(boundary, bool) else boundary
    conditions = sorted({dataset.condition(index) or "" for index in range(len(dataset))})
    if attention and model.config.fusion.kind == "mean":
        raise ValueError(f"{model.config.name} fuses by a mean and has no attention: omit --attention.")
    tallies = {c: Tally(len(classes), boundary is not False, tolerance) for c in conditions}
    statistics = torch.zeros(LEVELS, 2, dtype=torch.float64)
    for index in tqdm(indices, unit="image", desc="evaluate", disable=not progress):
        sample = dataset[index]
        if corruption is not None:
            sample = corruption(sample, np.random.default_rng([seed, index]))
        label = torch.from_numpy(sample.label).long()
        if reference:
            size_hw = views.network_size(sample.label.shape)
            label = F.interpolate(label[None, None].float(), size_hw).long()[0, 0]
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            preds, of_image = views.predict(model, sample, label.shape, attention)
        tallies[dataset.condition(index) or ""].update(preds, label)
        if attention:
            statistics += of_image
    if reduce is not None:
        _reduce(list(tallies.values()), reduce, device)
        statistics = reduce(statistics.to(device)).cpu() if attention else statistics
    whole = _sum(list(tallies.values()))
    if whole.images == 0:
        raise ValueError("no image is left to score; give at least one index, or omit `indices`.")
    result: dict[str, Any] = whole.report(classes, reference)
    result["protocol"] = describe(
        size,
        scales,
        flip,
        bf16,
        reference,
        window=window,
        overlap=overlap,
        boundary=boundary,
        corrupted=corruption is not None,
        missing=missing,
        missing_as=missing_as,
    )
    if len(conditions) > 1 or conditions[0]:
        result["conditions"] = {
            name: tally.report(classes, reference) for name, tally in _with_parts(tallies).items()
        }
    if attention:
        means = (statistics / whole.images).tolist()
        result["attention"] = [{"level": i, "entropy": e, "balance_std": s} for i, (e, s) in enumerate(means)]
    if confusion:
        result["confusion"] = {b: matrix.counts.tolist() for b, matrix in whole.matrices.items()}
    return result


def describe(
    size: int | None,
    scales: Sequence[float],
    flip: bool,
    bf16: bool,
    reference: bool,
    *,
    window: Window | None = None,
    overlap: float = 0.5,
    boundary: bool | float = False,
    corrupted: bool = False,
    missing: Missing | None = None,
    missing_as: MissingAs = "tokens",
) -> str:
    """The protocol in one sentence, for every report of a score."""
    one_view = len(scales) == 1 and not flip and scales[0] == 1
    views = "single scale" if one_view else f"scales {', '.join(map(str, scales))}"
    views += ", flip" if flip else ""
    if window:
        views += f", windows of {window[0]} x {window[1]} (height x width) overlapping by {overlap:.0%}"
    where = (
        "labels resized with the images, absent classes count as 0; the released scripts fill their F1 and "
        "accuracy columns with IoU, here they are F1 and accuracy"
        if reference
        else "scored at the label's own resolution, absent classes left out of the mean"
    )
    if boundary is not False:
        within = "0.75 % of the diagonal" if boundary is True else f"{boundary:g} pixels"
        where += f"; boundary F1 within {within}"
    if corrupted:
        where += "; inputs corrupted"
    if missing:
        zeroed = "its tokens zeroed" if missing_as == "tokens" else "a picture of zeros in its place"
        where += f"; {missing} missing, {zeroed}"
    side = f"short side {size}" if size else "the images' own size"
    return f"{side}, sides up to multiples of 32, {views}, {'bfloat16' if bf16 else 'float32'}; {where}"


class Tally:
    """The counts of one group of images: per branch a confusion matrix and, optionally, boundary counts."""

    def __init__(self, num_classes: int, boundary: bool, tolerance: float | None):
        self.num_classes, self.boundary, self.tolerance = num_classes, boundary, tolerance
        self.images = torch.zeros((), dtype=torch.int64)
        self.matrices = {branch: ConfusionMatrix(num_classes) for branch in BRANCHES}
        self.boundaries = {
            branch: BoundaryCounts(num_classes, tolerance) for branch in (BRANCHES if boundary else ())
        }

    def counts(self) -> list[Tensor]:
        """The int64 tensors of all counts; changing them in place changes the tally."""
        parts = (*self.matrices.values(), *self.boundaries.values())
        return [self.images, *(part.counts for part in parts)]

    def update(self, preds: Sequence[Tensor], label: Tensor) -> None:
        """Add one image: predicted classes (H, W) in the order of BRANCHES, and its labels."""
        self.images += 1
        for branch, pred in zip(BRANCHES, preds, strict=True):
            pred = pred.cpu()
            self.matrices[branch].update(pred, label)
            if self.boundary:
                self.boundaries[branch].update(pred.numpy(), label.numpy())

    def report(self, classes: Sequence[str], absent_as_zero: bool) -> dict[str, Any]:
        """{branch: scores, "images": count}, as `evaluate` documents."""
        result: dict[str, Any] = {}
        for branch, matrix in self.matrices.items():
            scores = matrix.scores(absent_as_zero=absent_as_zero)
            result[branch] = {
                "miou": scores.miou,
                "pixel_accuracy": scores.pixel_accuracy,
                "class_accuracy": scores.class_accuracy,
                "f1": scores.mean_f1,
                "iou": _by_class(classes, scores.iou),
                "accuracy_per_class": _by_class(classes, scores.accuracy),
                "f1_per_class": _by_class(classes, scores.f1),
            }
        for branch, counts in self.boundaries.items():
            result[branch]["boundary_f1"] = counts.mean_f1(absent_as_zero=absent_as_zero)
            per_class = counts.f1(absent_as_zero=absent_as_zero)
            result[branch]["boundary_f1_per_class"] = _by_class(classes, per_class)
        result["images"] = int(self.images)
        return result


def _check_classes(model: KTB, dataset: PairDataset) -> None:
    config = model.config
    if config.num_classes != len(dataset.classes):
        raise ValueError(
            f"The model predicts {config.num_classes} classes ({config.dataset or 'unnamed'}), "
            f"{dataset.name} has {len(dataset.classes)}: choose the dataset that the model was trained for."
        )
    if tuple(config.classes) in (tuple(dataset.classes), generic_labels(config.num_classes).classes):
        return
    pairs = enumerate(zip(config.classes, dataset.classes, strict=True))
    index, (own, other) = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    raise ValueError(
        f"Class {index} of the model is '{own}', of {dataset.name} '{other}': choose the dataset that the "
        f"model was trained for, or give its classes the model's names."
    )


def _by_class(classes: Sequence[str], values: Sequence[float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in zip(classes, values, strict=True)}


def _sum(tallies: Sequence[Tally]) -> Tally:
    first = tallies[0]
    total = Tally(first.num_classes, first.boundary, first.tolerance)
    for tally in tallies:
        for into, counts in zip(total.counts(), tally.counts(), strict=True):
            into += counts
    return total


def _reduce(tallies: Sequence[Tally], reduce: Callable[[Tensor], Tensor], device: torch.device) -> None:
    """Replace all counts by their sums over the processes, with one call of `reduce`."""
    counts = [tensor for tally in tallies for tensor in tally.counts()]
    summed = reduce(torch.cat([tensor.flatten() for tensor in counts]).to(device)).cpu()
    assert summed.dtype == torch.int64
    for tensor, values in zip(counts, summed.split([tensor.numel() for tensor in counts]), strict=True):
        tensor.copy_(values.view_as(tensor))


def _with_parts(tallies: dict[str, Tally]) -> dict[str, Tally]:
    """The conditions that occur, and then their parts that are no condition themselves."""
    seen = {name: tally for name, tally in tallies.items() if name and tally.images > 0}
    parts: dict[str, list[Tally]] = {}
    for name, tally in seen.items():
        for part in dict.fromkeys(name.split(PART_SEPARATOR)):
            parts.setdefault(part, []).append(tally)
    return seen | {part: _sum(group) for part, group in sorted(parts.items())}
