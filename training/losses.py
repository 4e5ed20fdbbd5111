"""Masked-modality self-teaching (MMST): the choice of masked samples, and the loss of the branches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from ktb.labels import IGNORE_INDEX

ROWS_AT_ONCE = 32768  # pixels whose probabilities are computed at once; they fit into the CPU's cache


class BranchLogits(Protocol):
    """The output that the losses need: logits (B, K, H, W) of the three branches."""

    fused: Tensor
    rgb: Tensor
    x: Tensor


class LossParts(NamedTuple):
    """Scalar tensors. `total` = fused + branch_weight * (rgb + x); the others are detached."""

    total: Tensor
    fused: Tensor
    rgb: Tensor
    x: Tensor


def draw_masks(
    batch: int, fraction_rgb: float, fraction_x: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose samples whose rgb tokens are set to zero, and other samples whose x tokens are.

    Returns two disjoint bool tensors (batch,) on the CPU. Each has fraction * batch samples, rounded, at
    least one if its fraction is positive; the released recipe is 0.25 each of a batch of 4.
    Raises ValueError if the batch is too small for two disjoint sets or a fraction lies outside [0, 0.5].
    """
    fractions = {"mask_rgb": fraction_rgb, "mask_x": fraction_x}
    for name, fraction in fractions.items():
        if not 0 <= fraction <= 0.5:
            raise ValueError(f"{name} must lie in [0, 0.5], got {fraction}: no sample may lose both streams.")
    if batch < 2:
        raise ValueError(f"Masking needs a batch of at least 2 samples, got {batch}: raise batch_size.")
    # int(x + 0.5), because Python rounds 0.5 to 0.
    count_rgb, count_x = (max(f > 0, min(batch // 2, int(f * batch + 0.5))) for f in fractions.values())
    order = torch.randperm(batch, generator=generator)
    mask_rgb, mask_x = torch.zeros(2, batch, dtype=torch.bool)
    mask_rgb[order[:count_rgb]] = True
    mask_x[order[count_rgb : count_rgb + count_x]] = True
    return mask_rgb, mask_x


@dataclass(frozen=True)
class PixelLoss:
    """The loss of one branch: a weighted mean over the selected pixels.

    Attributes:
        kind: "ce" (all valid pixels) or "ohem" (only hard pixels).
        threshold, min_kept: for "ohem", see `hard_pixels`.
        label_smoothing: fraction of each label that is spread evenly over the classes.
        class_weights: (K,) float32, or None for equal weights.
        shared: maps this process's sum of weights to the mean over all processes. The mean of the
            processes' losses is then the loss of the whole batch.
    """

    kind: Literal["ce", "ohem"] = "ce"
    threshold: float = 0.7
    min_kept: float = 1 / 16
    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    shared: Callable[[Tensor], Tensor] = lambda total: total
    ignore_index: int = IGNORE_INDEX

    def __call__(self, logits: Tensor, label: Tensor) -> Tensor:
        """Float logits (B, K, H, W) and int64 labels (B, H, W) → a float32 scalar.

        It is 0, not NaN, if every pixel is ignored.
        """
        rows, label = _pixel_rows(logits), label.flatten()
        valid = label != self.ignore_index
        safe = label.where(valid, 0)
        weight = valid.float()
        if self.kind == "ohem":
            weight = weight * hard_pixels(rows, safe, valid, self.threshold, self.min_kept)
        if self.class_weights is not None:
            weight = weight * self.class_weights.to(weight.device)[safe]
        total = _SummedCrossEntropy.apply(rows, safe, weight, self.label_smoothing)
        return total / self.shared(weight.sum()).clamp(min=torch.finfo(torch.float32).tiny)


@torch.no_grad()
def hard_pixels(rows: Tensor, label: Tensor, valid: Tensor, threshold: float, min_kept: float) -> Tensor:
    """Online hard example mining: the valid pixels whose true class has a probability below `threshold`.

    If their fraction is below `min_kept`, the least probable pixels up to that fraction are chosen instead.
    rows: (N, K) logits; label: (N,) int64; valid: (N,) bool → (N,) bool.
    """
    chosen = valid.nonzero().flatten()
    if not len(chosen):
        return valid
    parts = zip(rows[chosen].split(ROWS_AT_ONCE), label[chosen].split(ROWS_AT_ONCE), strict=True)
    loss = torch.cat([F.cross_entropy(part.float(), index, reduction="none") for part, index in parts])
    probability = (-loss).exp()
    kept = max(1, int(min_kept * len(chosen)))
    limit = probability.kthvalue(kept).values.clamp(min=threshold)
    hard = torch.zeros_like(valid)
    hard[chosen] = (probability <= limit) if limit > threshold else (probability < threshold)
    return hard


def class_weights(counts: Tensor, power: float) -> Tensor:
    """Weights (K,) float32 of classes with `counts` (K,) training pixels: fraction ** -power, with mean 1.

    A class without pixels has weight 0. Raises ValueError if there is no labelled pixel.
    """
    if counts.sum() == 0:
        raise ValueError("The training labels contain no class: every pixel is ignored. Check the labels.")
    share = counts.double() / counts.sum()
    weights = torch.where(counts > 0, share.clamp(min=1e-5) ** -power, 0.0)
    return (weights / (weights * share).sum()).float()


@torch.no_grad()
def teach_labels(logits_fused: Tensor, label: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """label*: the label (B, H, W) in which every pixel that the fused head predicts wrongly is ignored."""
    pred = _pixel_rows(logits_fused).argmax(1).view_as(label)
    return label.masked_fill(pred != label, ignore_index)


def mmst_loss(
    output: BranchLogits,
    label: Tensor,
    branch_weight: float,
    *,
    mask_labels: bool = True,
    pixel_loss: PixelLoss = PixelLoss(),
) -> LossParts:
    """CE(fused, label) + branch_weight * (CE(rgb, label*) + CE(x, label*)); reference section 6.

    label: (B, H, W) int64, 255 ignored. With mask_labels=False, label* is the label itself. Masked samples
    contribute to every term, as the others do.
    """
    fused = pixel_loss(output.fused, label)
    taught = teach_labels(output.fused, label) if mask_labels else label
    rgb, x = pixel_loss(output.rgb, taught), pixel_loss(output.x, taught)
    return LossParts(fused + branch_weight * (rgb + x), fused.detach(), rgb.detach(), x.detach())


def _pixel_rows(logits: Tensor) -> Tensor:
    """(B, K, H, W) → (B·H·W, K); a view for the channels-last logits of the network."""
    return logits.permute(0, 2, 3, 1).flatten(0, 2)


class _SummedCrossEntropy(torch.autograd.Function):
    """Weighted cross entropy summed over rows; the gradient is computed in the same pass over the logits.

    On a CPU it takes about half the time of `F.cross_entropy`, which reads the logits five times.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, label: Tensor, weight: Tensor, smoothing: float) -> Tensor:
        gradient = torch.empty_like(rows)
        total = torch.zeros((), device=rows.device)
        on, off = 1 - smoothing, smoothing / rows.shape[1]
        parts = (tensor.split(ROWS_AT_ONCE) for tensor in (rows, label[:, None], weight[:, None], gradient))
        for part, index, scale, out in zip(*parts, strict=True):
            log_probs = part.float().log_softmax(1)
            loss = on * log_probs.gather(1, index)
            if smoothing:
                loss = loss + off * log_probs.sum(1, keepdim=True)
            total -= (loss * scale).sum()
            probs = log_probs.exp_().sub_(off) if smoothing else log_probs.exp_()
            probs.scatter_add_(1, index, torch.full_like(loss, -on))
            out.copy_(probs.mul_(scale))
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient.dtype), None, None, None
