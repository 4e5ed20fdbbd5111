"""Batch-norm statistics of averaged weights, measured on training batches."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

BATCHES = 16
"""Batches on which statistics are measured; fewer if an epoch has fewer."""
Item = TypeVar("Item")
Statistics = list[tuple[Tensor, Tensor]]  # of each norm: mean and variance, (C,) each


def trainable_norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch norms whose statistics change in training; sets the model to training mode."""
    model.train()
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d) and module.training]


@torch.no_grad()
def measure_statistics(
    model: nn.Module, batches: Iterable[Item], run: Callable[[Item], object]
) -> Statistics:
    """Measure the statistics of a model's current weights: the mean over the batches of each norm's own.

    The norms' running statistics are changed; the model stays in training mode.

    Args:
        batches: at least one.
        run: passes a batch through the model in training mode.
    """
    norms = trainable_norms(model)
    momenta = [norm.momentum for norm in norms]
    try:
        for number, batch in enumerate(batches, start=1):
            for norm in norms:
                norm.momentum = 1 / number  # a cumulative mean, which the first batch starts anew
            run(batch)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return [(norm.running_mean.clone(), norm.running_var.clone()) for norm in norms]


@torch.no_grad()
def set_statistics(model: nn.Module, statistics: Statistics) -> None:
    """Give the trainable norms statistics from `measure_statistics`; sets the model to training mode."""
    for norm, (mean, variance) in zip(trainable_norms(model), statistics, strict=True):
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


@contextmanager
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Restore the statistics and counters of the trainable norms after the block, bit for bit."""
    kept = [
        (buffer, buffer.clone()) for norm in trainable_norms(model) for buffer in norm.buffers(recurse=False)
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)
