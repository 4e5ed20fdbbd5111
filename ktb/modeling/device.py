"""Choice of the device: a CUDA GPU that works, else Apple's MPS if it computes as the CPU, else the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ktb.config import BRANCHES
from ktb.modeling.build import build_model, lite_config

AUTO = "auto"
CPU = "cpu"
MAX_DIFFERENCE = 1e-3
"""Of MPS from the CPU in the trial network, relative to the largest logit."""
TRIAL_HW = 64, 96


@dataclass(frozen=True)
class DeviceChoice:
    """A device of torch, such as "cpu", "cuda" or "mps", and the reason for its choice as a sentence."""

    device: str
    why: str

    def __str__(self) -> str:
        return f"{self.device}: {self.why}"


def choose_device(device: str | torch.device = AUTO, with_mps: bool = True) -> DeviceChoice:
    """Choose a device for the network, after a small computation on it.

    Each device is tried once per process.

    Args:
        device: a device of torch; "auto" takes the first of these: a CUDA GPU whose results are correct;
            Apple's MPS if a small network gives the CPU's logits on it; the CPU.
        with_mps: whether "auto" may choose MPS.

    Raises:
        ValueError: the given device is unknown, absent, or fails the computation.
    """
    name = str(device)
    if name != AUTO:
        if fault := "" if name == CPU else fault_of(name):
            raise ValueError(f"device {name!r} cannot be used here ({fault}); use cpu, or auto.")
        return DeviceChoice(name, "It was requested.")
    return _automatic(with_mps)


def _automatic(with_mps: bool) -> DeviceChoice:
    faults = []
    gpus = ["cuda", *(f"cuda:{index}" for index in range(1, torch.cuda.device_count()))]
    for gpu in gpus:
        if not (fault := fault_of(gpu)):  # the first is tried also where torch counts none: it tells why
            why = f"{torch.cuda.get_device_name(gpu)} computes correctly."
            return DeviceChoice(gpu, " ".join((why, *faults)))
        faults.append(f"{'No CUDA GPU can' if len(gpus) == 1 else f'{gpu} cannot'} be used: {fault}.")
    if with_mps and torch.backends.mps.is_built():
        if not (fault := mps_fault()):
            return DeviceChoice("mps", "Apple's GPU gives the CPU's results in a small network.")
        faults.append(f"Apple's GPU is not used: {fault}.")
    return DeviceChoice(CPU, " ".join(faults))


@cache
def fault_of(device: str) -> str:
    """Why a device cannot be used, in one line; "" if a small computation gives the CPU's values on it."""
    try:
        found = _small_computation(torch.device(device)).cpu()
    except Exception as error:  # torch raises many types of exceptions for unknown, absent and broken devices
        return _first_sentence(error)
    expected = _small_computation(torch.device(CPU))
    return "" if torch.allclose(found, expected, rtol=1e-2, atol=1e-2) else "it computes wrong values"


def _small_computation(device: torch.device) -> Tensor:
    """A product of matrices, a convolution and a softmax; (1, 4, 32, 32) float32."""
    matrix = torch.linspace(-1, 1, 32 * 32, device=device).view(32, 32)
    weight = torch.linspace(-1, 1, 4 * 9, device=device).view(4, 1, 3, 3)
    return F.conv2d((matrix @ matrix.T)[None, None] / 32, weight, padding=1).softmax(dim=1)


@cache
def mps_fault() -> str:
    """Why Apple's GPU is not used, in one line; "" if the trial network gives the CPU's logits on it."""
    if fault := fault_of("mps"):
        return fault
    try:
        difference = network_difference(torch.device("mps"))
    except Exception as error:  # an operator that MPS lacks raises NotImplementedError, others other types
        return _first_sentence(error)
    if difference <= MAX_DIFFERENCE:
        return ""
    return f"its logits differ from the CPU's by {difference:.1e} of the largest"


@torch.no_grad()
def network_difference(device: torch.device) -> float:
    """The largest difference of a small network's logits and balance on a device from the CPU's.

    The network is the smallest that this project has, with random weights, none of them zero.

    Returns:
        The difference relative to the largest absolute value of the CPU; NaN if the device gives one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(lite_config())
        for _, parameter in model.trainable_parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
        images = torch.randn(2, 1, 3, *TRIAL_HW)
    expected = _outputs(model, images)
    found = _outputs(model.to(device), images.to(device))
    worst = [(a - b).abs().max() / b.abs().max() for a, b in zip(found, expected, strict=True)]
    return float(torch.stack(worst).max())


def _outputs(model: torch.nn.Module, images: Tensor) -> list[Tensor]:
    output = model(*images, trace=True)
    maps = [trace.balance() for trace in output.trace]
    return [tensor.float().cpu() for tensor in (*(getattr(output, branch) for branch in BRANCHES), *maps)]


def _first_sentence(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].split(". ")[0].rstrip(".")
