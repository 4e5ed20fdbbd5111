"""Parameter groups, the learning-rate schedule, and the averaged weights."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


def parameter_groups(
    named: Iterable[tuple[str, nn.Parameter]], weight_decay: float, decay_tables: bool = False
) -> list[dict]:
    """AdamW groups; vectors and scalars (norms, biases, gains) have no weight decay.

    Position-bias tables are exempt as well, unless `decay_tables` is true. They are biases of the attention:
    decay would pull a distance prior (`Recipe.bias_sigmas`) towards no preference of near points. Swin's own
    tables are exempt in timm for the same reason. The reference names one decay and not what it acts on.
    """
    decayed, plain = [], []
    for name, parameter in named:
        own_name = name.rsplit(".", 1)[-1]
        is_table = "table" in own_name
        exempt = not decay_tables if is_table else parameter.ndim <= 1 or "bias" in own_name
        (plain if exempt else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def rate_at(step: int, total: int, warmup: int, start: float, power: float) -> float:
    """Learning rate as a fraction of its peak: linear from `start` over `warmup` steps, then poly to 0."""
    if step < warmup:
        return start + (1 - start) * step / warmup
    return max(0.0, 1 - (step - warmup) / max(1, total - warmup)) ** power


class WeightAverage:
    """Exponential moving average of a model's trainable parameters (float32); buffers are not averaged.

    The decay rises as (1 + n) / (10 + n) to its final value, so that the initial weights soon lose influence.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], decay: float):
        if not 0 < decay < 1:
            raise ValueError(f"ema must lie between 0 and 1, or be none, got {decay}.")
        self.decay = decay
        self._parameters = dict(named)
        self.values = {name: p.detach().clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Move the average towards the current weights; `updates` counts the earlier calls."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        for name, parameter in self._parameters.items():
            self.values[name].lerp_(parameter, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the model the averaged weights inside the block, and restore its own weights bit for bit."""
        own = {name: p.detach().clone() for name, p in self._parameters.items()}
        self._copy(self.values)
        try:
            yield
        finally:
            self._copy(own)

    def load(self, values: dict[str, torch.Tensor]) -> None:
        """Load saved averages; ValueError lists unexpected and missing names."""
        if values.keys() != self.values.keys():
            raise ValueError(
                f"Names of averaged weights do not match: {sorted(values.keys() ^ self.values.keys())}."
            )
        for name, value in values.items():
            self.values[name].copy_(value)

    @torch.no_grad()
    def _copy(self, values: dict[str, torch.Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.copy_(values[name])
