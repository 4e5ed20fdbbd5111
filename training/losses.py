"""Masked-modality self-teaching: which samples lose a stream, and the loss over the three branches."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from training.datasets.base import IGNORE_INDEX

ROWS_AT_ONCE = 32768  # pixels whose probabilities are held at a time: few enough for the processor's cache


class BranchLogits(Protocol):
    """What the losses need of a network's output: logits (B, K, H, W) of the three branches."""

    fused: Tensor
    rgb: Tensor
    x: Tensor


class LossParts(NamedTuple):
    """Scalar tensors; `total` = fused + branch_weight * (rgb + x), the others are detached."""

    total: Tensor
    fused: Tensor
    rgb: Tensor
    x: Tensor


def draw_masks(
    batch: int, fraction_rgb: float, fraction_x: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Choose the samples whose rgb tokens, and others whose x tokens, are set to zero.

    Returns two disjoint bool tensors (batch,) on the CPU. Each has fraction * batch samples, rounded, at
    least one if its fraction is positive; the released recipe is 0.25 each of a batch of 4.
    Raises ValueError if the batch is too small for two disjoint sets or a fraction lies outside [0, 0.5].
    """
    fractions = {"mask_rgb": fraction_rgb, "mask_x": fraction_x}
    for name, fraction in fractions.items():
        if not 0 <= fraction <= 0.5:
            raise ValueError(
                f"{name} must lie in [0, 0.5], got {fraction}: a sample never loses both streams."
            )
    if batch < 2:
        raise ValueError(f"Masking needs a batch of at least 2 samples, got {batch}: raise batch_size.")
    # int(x + 0.5): Python's round takes 0.5 to 0.
    count_rgb, count_x = (max(f > 0, min(batch // 2, int(f * batch + 0.5))) for f in fractions.values())
    order = torch.randperm(batch, generator=generator)
    mask_rgb, mask_x = torch.zeros(2, batch, dtype=torch.bool)
    mask_rgb[order[:count_rgb]] = True
    mask_x[order[count_rgb : count_rgb + count_x]] = True
    return mask_rgb, mask_x


def mean_cross_entropy(
    logits: Tensor, label: Tensor, *, label_smoothing: float = 0.0, ignore_index: int = IGNORE_INDEX
) -> Tensor:
    """Cross entropy of float logits (B, K, H, W) against int64 labels (B, H, W), mean over labelled pixels.

    Computed in float32; 0 (not NaN) where every pixel is ignored.
    """
    total = _SummedCrossEntropy.apply(_pixel_rows(logits), label.flatten(), label_smoothing, ignore_index)
    return total / (label != ignore_index).sum().clamp(min=1)


@torch.no_grad()
def teach_labels(logits_fused: Tensor, label: Tensor, ignore_index: int = IGNORE_INDEX) -> Tensor:
    """label*: the label (B, H, W) with every pixel ignored that the fused head (B, K, H, W) gets wrong."""
    pred = _pixel_rows(logits_fused).argmax(1).view_as(label)
    return label.masked_fill(pred != label, ignore_index)


def mmst_loss(
    output: BranchLogits,
    label: Tensor,
    branch_weight: float,
    *,
    self_teaching: bool = True,
    label_smoothing: float = 0.0,
) -> LossParts:
    """CE(fused, label) + branch_weight * (CE(rgb, label*) + CE(x, label*)); ARCHITECTURE section 6.

    label: (B, H, W) int64, 255 ignored. With `self_teaching` off label* is the label itself. Every sample,
    masked or not, takes part in every term.
    """
    fused = mean_cross_entropy(output.fused, label, label_smoothing=label_smoothing)
    taught = teach_labels(output.fused, label) if self_teaching else label
    rgb = mean_cross_entropy(output.rgb, taught, label_smoothing=label_smoothing)
    x = mean_cross_entropy(output.x, taught, label_smoothing=label_smoothing)
    return LossParts(fused + branch_weight * (rgb + x), fused.detach(), rgb.detach(), x.detach())


def _pixel_rows(logits: Tensor) -> Tensor:
    """(B, K, H, W) → (B·H·W, K); a view for channels-last logits, which the network gives."""
    return logits.permute(0, 2, 3, 1).flatten(0, 2)


class _SummedCrossEntropy(torch.autograd.Function):
    """Cross entropy summed over rows, with its gradient made in the same pass over the logits.

    On a CPU about half the time of `F.cross_entropy`, which walks the full-resolution logits five times.
    """

    @staticmethod
    def forward(ctx, rows: Tensor, label: Tensor, smoothing: float, ignore_index: int) -> Tensor:
        valid = label != ignore_index
        safe = label.where(valid, 0)[:, None]
        gradient = torch.empty_like(rows)
        total = torch.zeros((), device=rows.device)
        on, off = 1 - smoothing, smoothing / rows.shape[1]
        parts = (tensor.split(ROWS_AT_ONCE) for tensor in (rows, safe, valid[:, None], gradient))
        for part, index, used, out in zip(*parts, strict=True):
            log_probs = part.float().log_softmax(1)
            loss = on * log_probs.gather(1, index)
            if smoothing:
                loss = loss + off * log_probs.sum(1, keepdim=True)
            total -= loss.masked_fill(~used, 0).sum()
            probs = log_probs.exp_().sub_(off) if smoothing else log_probs.exp_()
            probs.scatter_add_(1, index, torch.full_like(loss, -on))
            out.copy_(probs.mul_(used))
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx, upstream: Tensor):
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient.dtype), None, None, None
