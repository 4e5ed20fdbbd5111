"""What makes training on a CPU faster; nothing here changes a result beyond rounding."""

import functools

import torch
from torch import Tensor, nn


def strided_depthwise_in_float32(model: nn.Module) -> None:
    """Keep strided depthwise convolutions out of bf16 autocast on a CPU.

    Their bf16 gradient has no fast kernel: 15 to 60 times the time of the float32 one. The modules stay, with
    their parameters and names; their class becomes one that computes in float32.
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
    """Beside a class of convolutions: computes outside of autocast."""

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast(image.device.type, enabled=False):
            return super().forward(image.float().contiguous(memory_format=torch.channels_last))


@functools.cache
def _in_float32(kind: type[nn.Conv2d]) -> type[nn.Conv2d]:
    return type(f"{kind.__name__}InFloat32", (_InFloat32, kind), {})
