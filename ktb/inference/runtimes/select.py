"""Selection of the runtime for a model."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from typing import get_args

from ktb.inference.runtimes.background import BackgroundCompiled
from ktb.inference.runtimes.base import CPU_RUNTIMES, Precision, Runtime, RuntimeName
from ktb.inference.runtimes.cuda_graph import CUDAGraphRuntime
from ktb.inference.runtimes.eager import CompiledRuntime, EagerRuntime
from ktb.inference.runtimes.onnx import ONNXRuntime
from ktb.inference.runtimes.openvino import OpenVINORuntime
from ktb.modeling.device import AUTO, CPU, DeviceChoice, choose_device
from ktb.modeling.model import KTB

ENVIRONMENT = "KTB_RUNTIME"
_RUNTIMES = {
    "eager": EagerRuntime,
    "openvino": OpenVINORuntime,
    "onnx": ONNXRuntime,
    "compile": CompiledRuntime,
    "cudagraph": CUDAGraphRuntime,
}
_log = logging.getLogger(__name__)


def device_for(runtime: str = "auto", device: str = AUTO) -> DeviceChoice:
    """`choose_device` for a runtime: "auto" is the CPU for a runtime that computes on the CPU only.

    Raises:
        ValueError: the device is unknown, absent or broken.
    """
    named = os.environ.get(ENVIRONMENT) if runtime == "auto" else runtime
    if device == AUTO and named in CPU_RUNTIMES:
        return DeviceChoice(CPU, f"The runtime {named} computes on the CPU.")
    return choose_device(device)


def make_runtime(model: KTB, runtime: RuntimeName = "auto", precision: Precision = "float32") -> Runtime:
    """Construct a runtime for a model; the model is not modified.

    "auto" follows the environment variable KTB_RUNTIME. Without it, a model on the CPU uses OpenVINO if
    installed, and PyTorch until the graph of a size is ready. A model on an NVIDIA GPU uses CUDA graphs. All
    others use PyTorch.

    Raises:
        ValueError: the name is unknown, a package or compiler is not installed, or the runtime does not
            support the device or precision.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision {precision!r}: choose one of {', '.join(get_args(Precision))}")
    reason = "It was requested."
    if runtime == "auto" and os.environ.get(ENVIRONMENT):
        runtime, reason = os.environ[ENVIRONMENT], f"Set by {ENVIRONMENT}."
    if runtime not in get_args(RuntimeName):
        raise ValueError(f"runtime {runtime!r}: choose one of {', '.join(get_args(RuntimeName))}")
    made = _automatic(model, precision) if runtime == "auto" else _RUNTIMES[runtime](model, precision, reason)
    _log.info("%s computes in %s, %s: %s", model.config.name, made.name, made.precision, made.why)
    return made


def _automatic(model: KTB, precision: Precision) -> Runtime:
    device = next(model.parameters()).device.type
    if device == "cuda":
        return CUDAGraphRuntime(model, precision, "A size that comes again is replayed as a CUDA graph.")
    if device != "cpu":
        return EagerRuntime(model, precision, f"PyTorch computes on {device}.")
    if find_spec("openvino") is None:
        why = "OpenVINO is not installed; with it (pip install openvino) this processor is faster."
        return EagerRuntime(model, precision, why)
    why = "OpenVINO is installed and faster on this processor; PyTorch answers until a size is prepared."
    graph = OpenVINORuntime(model, precision, why)
    # Without bfloat16 in the processor PyTorch would imitate it, many times slower.
    return BackgroundCompiled(graph, EagerRuntime(model, graph.precision, "OpenVINO prepares this size."))
