"""Turn every runtime's out-of-memory error into one `OutOfMemory` with a remedy, and free memory."""

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
    """Memory is insufficient for an image; the message names the image's size and a remedy."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, PyTorch or another runtime is an out-of-memory error."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_SIGNS.search(str(error)))


def with_enough_memory(
    compute: Callable[[], T], network_hw: tuple[int, int], device: torch.device, remedy: str
) -> T:
    """Return the result of `compute`.

    Args:
        network_hw: height and width of the image in the network.
        device: device of the computation.
        remedy: what the user can do, as a sentence.

    Raises:
        OutOfMemory: `compute` ran out of memory; its allocations are freed.
    """
    try:
        return compute()
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
    # Outside the except block nothing holds the traceback, which refers to the network's tensors.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    height, width = network_hw
    raise OutOfMemory(
        f"there is not enough memory on {device.type} for an image of {width} x {height} pixels in the "
        f"network. {remedy}"
    )
