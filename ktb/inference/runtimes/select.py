"""Which runtime computes a network, and why."""

from __future__ import annotations

import logging
import os
from importlib.util import find_spec
from typing import get_args

from ktb.inference.runtimes.background import BackgroundCompiled
from ktb.inference.runtimes.base import Precision, Runtime, RuntimeName
from ktb.inference.runtimes.cuda_graph import CUDAGraphRuntime
from ktb.inference.runtimes.eager import CompiledRuntime, EagerRuntime
from ktb.inference.runtimes.onnx import ONNXRuntime
from ktb.inference.runtimes.openvino import OpenVINORuntime
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


def make_runtime(model: KTB, runtime: RuntimeName = "auto", precision: Precision = "float32") -> Runtime:
    """A runtime for a model, which it leaves as it is.

    "auto" means what the environment variable KTB_RUNTIME says; without it OpenVINO for a model on the CPU if
    that is installed, with PyTorch's answer until a size's graph is ready; CUDA graphs for one on an NVIDIA
    card; else PyTorch.

    Raises:
        ValueError: for an unknown name, a package or compiler that is not installed, or a device or precision
            that this runtime does not have.
    """
    if precision not in get_args(Precision):
        raise ValueError(f"precision {precision!r}: choose one of {', '.join(get_args(Precision))}")
    said_by = "It was asked for."
    if runtime == "auto" and os.environ.get(ENVIRONMENT):
        runtime, said_by = os.environ[ENVIRONMENT], f"{ENVIRONMENT} says so."
    if runtime not in get_args(RuntimeName):
        raise ValueError(f"runtime {runtime!r}: choose one of {', '.join(get_args(RuntimeName))}")
    made = (
        _automatic(model, precision) if runtime == "auto" else _RUNTIMES[runtime](model, precision, said_by)
    )
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
