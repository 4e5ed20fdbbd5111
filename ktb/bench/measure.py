"""Measurements inside a process: time, memory, operations, and fractions of the components."""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ktb.modeling.model import KTB

MATRIX_SIDE = 2048


def timed(function: Callable[[], Any], device: str) -> tuple[float, Any]:
    """Duration of a call in seconds, with all work on the device, and its result."""
    _wait(device)
    started = time.perf_counter()
    result = function()
    _wait(device)
    return time.perf_counter() - started, result


def peak_memory() -> int | None:
    """Peak memory of this process in bytes; None if the system does not report it."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would include the parent process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def gpu_peak_memory(device: str) -> int | None:
    """Peak memory of tensors on the device in bytes; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else None


def flops(model: KTB, batch: int, size_hw: tuple[int, int]) -> int:
    """Operations of matrix products and convolutions, two per multiply-add, counted without computation.

    Bilinear sampling (`grid_sample`, upsampling), norms, activations and sums are not counted.
    """
    shapes = copy.deepcopy(model).to("meta")
    image = torch.empty(batch, 3, *size_hw, device="meta")
    with torch.inference_mode():
        shapes(image, image)  # cached values are not part of a run
        with FlopCounterMode(display=False) as counter:
            shapes(image, image)
    return counter.get_total_flops()


def matrix_product_rate(precision: str, device: str) -> float:
    """Operations per second of one large matrix product."""
    matrix = torch.randn(MATRIX_SIDE, MATRIX_SIDE, device=device, dtype=getattr(torch, precision))
    with torch.inference_mode():
        timed(lambda: matrix @ matrix, device)
        best = min(timed(lambda: matrix @ matrix, device)[0] for _ in range(3))
    return 2 * MATRIX_SIDE**3 / best


def seconds_of_modules(model: KTB, run: Callable[[], Any], device: str) -> dict[str, float]:
    """Seconds of one eager run per component of the network; "other" is the remainder."""
    spent: defaultdict[str, float] = defaultdict(float)
    with _watched(model, spent, device):
        total, _ = timed(run, device)
    spent["other"] = total - sum(spent.values())
    return dict(spent)


@contextlib.contextmanager
def _watched(model: KTB, spent: defaultdict[str, float], device: str) -> Iterator[None]:
    """Context in which the components' methods add their time to `spent`."""
    watched = list(_parts(model))
    for name, owner, method in watched:
        setattr(owner, method, functools.partial(_add_time, spent, name, device, getattr(owner, method)))
    try:
        yield
    finally:
        for _, owner, method in watched:
            delattr(owner, method)  # restores the class's own method


def _add_time(
    spent: defaultdict[str, float], name: str, device: str, method: Callable, *args, **kwargs
) -> Any:
    seconds, result = timed(lambda: method(*args, **kwargs), device)
    spent[name] += seconds
    return result


def _parts(model: KTB) -> Iterator[tuple[str, nn.Module, str]]:
    """Name, module and method of each timed component; none calls another."""
    yield from model.backbone.timed_modules()
    for level, (mapa, dscf) in enumerate(zip(model.mapa, model.dscf)):
        yield "MAPA", mapa, "forward"
        yield f"DSCF level {level}", dscf, "forward"
    for branch, head in model.heads.items():
        yield f"head {branch}", head, "forward"


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
