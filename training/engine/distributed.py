"""Communication between the processes of a run: batch-norm statistics, sums, gathered objects."""

import torch
import torch.distributed as dist
from torch import Tensor, nn


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm with training statistics over the batches of all processes, on CPU and CUDA.

    PyTorch's own supports only CUDA and would drop the activation inside timm's norms. The parameters and
    statistics are those of `norm`, with the same names.
    """

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.activation = nn.Sequential(
            getattr(norm, "drop", nn.Identity()), getattr(norm, "act", nn.Identity())
        )

    def forward(self, image: Tensor) -> Tensor:
        if not self.training:
            return self.activation(super().forward(image))
        values = image.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = torch.cat([values.sum((0, 2, 3)), values.square().sum((0, 2, 3)), count])
        sums = _Summed.apply(sums)
        count = sums[-1].detach()
        mean, square = (sums[:-1] / count).chunk(2)
        variance = (square - mean.square()).clamp(min=0)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        shape = (1, -1, 1, 1)
        return self.activation((values * scale.view(shape) + shift.view(shape)).to(image.dtype))


class _Summed(torch.autograd.Function):
    """The sum over all processes. Every process's loss depends on it, so the gradients are summed, too."""

    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        return summed(values)

    @staticmethod
    def backward(ctx, upstream: Tensor) -> Tensor:
        return summed(upstream.contiguous())


def synchronise_batch_norms(model: nn.Module) -> None:
    """Replace trainable batch norms (in training mode after `model.train()`) by synchronised ones."""
    model.train()
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d) and child.training:
                setattr(parent, name, SyncBatchNorm(child))


def world() -> tuple[int, int]:
    """(rank of this process, number of processes); (0, 1) without a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def summed(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, without gradient; the tensor itself with one process."""
    if world()[1] == 1:
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def shared_mean(values: Tensor) -> Tensor:
    """The mean of a tensor over all processes, without gradient."""
    return summed(values) / world()[1]


def gathered(value: object) -> list:
    """A picklable object of every process, as a list in the order of ranks, in every process."""
    size = world()[1]
    found: list = [value] * size
    if size > 1:
        dist.all_gather_object(found, value)
    return found
