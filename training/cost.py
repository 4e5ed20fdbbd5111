"""Estimate the operations, memory and time of a recipe's training without data and without weights.

The network is built on PyTorch's "meta" device, where tensors have shapes but no values. One training step
there counts the operations and the tensors that the backward pass keeps. Time and memory are estimates, not
measurements.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ktb.modeling.model import KTB
from training.data.datasets import PairDataset
from training.losses import PixelLoss, mmst_loss
from training.model import make_model
from training.recipes import Recipe

# Assumed operations per second of one GPU. fp32: half of the 19.5e12 of an A100 without TF32, which is
# PyTorch's default. Others: an eighth of its 312e12.
ASSUMED_RATES = {"fp32": 10e12, "bf16": 40e12, "fp16": 40e12}
SHORTEST_STEP = 0.1  # seconds: launching thousands of small operations takes at least this
# Activation bytes under autocast as a fraction of float32's; measured with lite on a CPU: 77 of 134 MiB.
MIXED_PRECISION_SHARE = 0.6


@dataclass(frozen=True)
class Cost:
    """The cost of one process that processes whole batches.

    forward_flops, training_flops: floating-point operations per image (two per multiply-add) of matrix
    products and convolutions, without sampling, normalisation and additions. memory: bytes by purpose.
    """

    forward_flops: float
    training_flops: float
    memory: dict[str, int]

    def seconds_per_step(self, recipe: Recipe) -> float:
        """The estimated duration: operations at the assumed rate, at least SHORTEST_STEP."""
        operations = self.training_flops * recipe.batch_size
        return max(operations / ASSUMED_RATES[recipe.precision], SHORTEST_STEP)


def shapes_only(recipe: Recipe, dataset: PairDataset) -> KTB:
    """The recipe's network on the "meta" device, in training mode."""
    with torch.device("meta"):
        return make_model(recipe, dataset, pretrained=False).train()


def measure(model: KTB, recipe: Recipe) -> Cost:
    """Run one training step of a network from `shapes_only`.

    OHEM is counted as cross entropy, because its own shapes depend on values.
    """
    images = max(1, recipe.batch_size // recipe.accumulate)
    kept = _KeptForBackward(model)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        image = torch.empty(images, 3, *recipe.crop)
        pick = slice((recipe.loss_stride - 1) // 2, None, recipe.loss_stride)
        label = torch.empty(images, *recipe.crop, dtype=torch.int64)[:, pick, pick]
        mask = torch.empty(images, dtype=torch.bool) if recipe.masking else None
        with torch.autograd.graph.saved_tensors_hooks(kept.add, lambda tensor: tensor):
            output = model(image, image, mask, mask, logits_hw=tuple(label.shape[-2:]))
            forward = counter.get_total_flops()
            weight = recipe.branch_weight if recipe.self_teaching else 0.0
            loss = mmst_loss(output, label, weight, mask_labels=recipe.mask_labels, pixel_loss=PixelLoss())
        loss.total.backward()
    share = 1.0 if recipe.precision == "fp32" else MIXED_PRECISION_SHARE
    trainable = sum(p.numel() for _, p in model.trainable_parameters())
    memory = {
        "weights": sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers())),
        "gradients": 4 * trainable,
        "AdamW": 8 * trainable,
        "averaged weights": 4 * trainable if recipe.ema is not None else 0,
        "activations": round(kept.total() * share),
    }
    return Cost(forward / images, counter.get_total_flops() / images, memory)


class _KeptForBackward:
    """The storages that autograd keeps, each counted once, without those of the network itself."""

    def __init__(self, model: KTB):
        self._own = [t.untyped_storage() for t in (*model.parameters(), *model.buffers())]
        self._kept: dict[int, torch.UntypedStorage] = {}

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._kept[id(storage)] = storage  # the reference keeps its id from being reused
        return tensor

    def total(self) -> int:
        """Bytes."""
        own = {id(storage) for storage in self._own}
        return sum(storage.nbytes() for number, storage in self._kept.items() if number not in own)
