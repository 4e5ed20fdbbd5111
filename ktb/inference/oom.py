"""When the machine has not enough memory for an image: said in words, with what helps, and given back."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")
_SIGNS = re.compile(
    r"can't allocate memory|not enough memory"  # PyTorch on the CPU
    r"|out of memory|CUBLAS_STATUS_ALLOC_FAILED"  # CUDA
    r"|bad allocation|bad_alloc|Failed to allocate memory"  # OpenVINO, ONNX Runtime
    r"|could not (create|execute) a primitive(?! desc)|could not create a memory object"  # oneDNN
)


class OutOfMemory(ValueError):
    """There is not enough memory for an image; the message names its size and what helps."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, PyTorch or another runtime says that there is no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_SIGNS.search(str(error)))


def with_enough_memory(
    compute: Callable[[], T], network_hw: tuple[int, int], device: torch.device, remedy: str
) -> T:
    """What `compute` gives.

    Args:
        network_hw: height and width of the image in the network.
        device: where it is computed.
        remedy: what helps, as a sentence.

    Raises:
        OutOfMemory: `compute` ran out of memory; all that it had taken is free again.
    """
    try:
        return compute()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    # Only here does nothing refer to the error any more, whose traceback holds what the network had made.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    height, width = network_hw
    raise OutOfMemory(
        f"there is not enough memory on {device.type} for an image of {width} x {height} pixels in the "
        f"network. {remedy}"
    )
