"""What makes training on a CPU several times faster; nothing here changes a result beyond rounding."""

import ctypes
import functools
import sys

import torch
from torch import Tensor, nn

# glibc's names for mallopt's parameters
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory() -> bool:
    """Let glibc keep large freed blocks instead of returning them to the system after every tensor.

    Fresh pages are zeroed by the kernel at first touch, which takes longer than many of the operations.
    Call it once, at the start of a program. Returns whether the C library could be told (glibc only).
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    settings = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 2**29, M_ARENA_MAX: 1}
    return all([library.mallopt(name, value) for name, value in settings.items()])


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
