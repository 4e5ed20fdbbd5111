"""Segmentation scores from an integer confusion matrix."""

from dataclasses import dataclass

import numpy as np
import torch

from ktb.analysis.metrics import class_accuracy, class_f1, class_iou, pixel_accuracy
from ktb.labels import IGNORE_INDEX


@dataclass(frozen=True)
class Scores:
    """Scores in percent; NaN if nothing can be scored.

    miou, class_accuracy, mean_f1: means over the classes whose value below is not NaN.
    pixel_accuracy: fraction of the labelled pixels that are correct.
    iou: per class hits / (truth + prediction - hits); NaN if neither truth nor prediction has the class.
    accuracy: per class hits / truth (recall); NaN if the truth does not have the class.
    f1: per class 2 hits / (truth + prediction), NaN as for iou.
    """

    miou: float
    pixel_accuracy: float
    class_accuracy: float
    mean_f1: float
    iou: tuple[float, ...]
    accuracy: tuple[float, ...]
    f1: tuple[float, ...]


class ConfusionMatrix:
    """Counts of (true class, predicted class) over all pixels seen, as int64 (K, K) on the CPU.

    Pixels are counted on the tensors' own device, so no label map is copied from a GPU.
    """

    def __init__(self, num_classes: int, ignore_index: int = IGNORE_INDEX):
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)

    def update(self, pred: torch.Tensor, label: torch.Tensor) -> None:
        """Add pixels: integer tensors of one shape, classes 0..K-1; a label may be ignored.

        Raises ValueError for differing shapes or a class outside 0..K-1.
        """
        if pred.shape != label.shape:
            raise ValueError(f"pred {tuple(pred.shape)} and label {tuple(label.shape)} differ in shape.")
        valid = label != self.ignore_index
        truth, guess = label[valid].long(), pred[valid].long()
        if truth.numel() == 0:
            return
        if not (int(truth.min()) >= 0 and int(truth.max()) < self.num_classes):
            raise ValueError(
                f"A label lies outside 0..{self.num_classes - 1} and is not {self.ignore_index}."
            )
        if not (int(guess.min()) >= 0 and int(guess.max()) < self.num_classes):
            raise ValueError(f"A predicted class lies outside 0..{self.num_classes - 1}.")
        pairs = torch.bincount(truth * self.num_classes + guess, minlength=self.num_classes**2)
        self.counts += pairs.view(self.num_classes, self.num_classes).cpu()

    def scores(self, *, absent_as_zero: bool = False) -> Scores:
        """The scores of all counts; means exclude absent classes (absent_as_zero=True: they count as 0)."""
        counts = self.counts.numpy()
        iou, accuracy, f1 = class_iou(counts), class_accuracy(counts), class_f1(counts)
        if absent_as_zero:
            iou, accuracy, f1 = map(np.nan_to_num, (iou, accuracy, f1))
        return Scores(
            miou=100 * _mean(iou),
            pixel_accuracy=100 * pixel_accuracy(counts),
            class_accuracy=100 * _mean(accuracy),
            mean_f1=100 * _mean(f1),
            iou=tuple((100 * iou).tolist()),
            accuracy=tuple((100 * accuracy).tolist()),
            f1=tuple((100 * f1).tolist()),
        )


def _mean(values: np.ndarray) -> float:
    """The mean without NaN, in PyTorch's order of summation: recorded results depend on it."""
    return torch.from_numpy(values).nanmean().item()
