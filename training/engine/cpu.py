"""Faster training on a CPU; results change only by rounding."""

import functools

import torch
from torch import Tensor, nn


def strided_depthwise_in_float32(model: nn.Module) -> None:
    """Exclude strided depthwise convolutions from bf16 autocast on a CPU.

    Their bf16 gradient has no fast kernel and takes 15 to 60 times as long as in float32. The modules keep
    their parameters and names; their class is replaced by one that computes in float32.
    """
    for module in model.modules():
        if (
            isinstance(module, nn.Conv2d)
            and not isinstance(module, _InFloat32)
            and module.groups == module.in_channels > 1
            and max(module.stride) > 1
        ):
            module.__class__ = _in_float32(type(module))


class _InFloat32:
    """A mixin for a convolution class that computes outside autocast."""

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            return super().forward(image.float().contiguous(memory_format=torch.channels_last))


@functools.cache
def _in_float32(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    return type(f"{kind.__name__}InFloat32", (_InFloat32, kind), {})
