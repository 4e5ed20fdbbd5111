"""The network in OpenVINO: the fastest on most processors."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import torch

from ktb.model import KTB
from ktb.runtime.base import Precision
from ktb.runtime.sessions import Arrays, GraphRuntime, Session

_HINTS = {"float32": "f32", "bfloat16": "bf16"}


class OpenVINORuntime(GraphRuntime):
    """OpenVINO on the CPU, with as many threads as torch; pairs of a batch go one after the other.

    On a processor without bfloat16 the precision stays float32.
    """

    name = "openvino"
    format = "openvino"

    def __init__(self, model: KTB, precision: Precision, why: str, **keywords):
        super().__init__(model, precision, why, **keywords)
        import openvino

        self._core = openvino.Core()
        if precision == "bfloat16" and "BF16" not in self._core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        ):
            self.precision = "float32"
            self.why += " This processor has no bfloat16, so it computes in float32."

    def _load(self, folder: Path) -> Session:
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "CACHE_DIR": str(folder / "compiled"),
        }
        compiled = self._core.compile_model(str(folder / "model.xml"), "CPU", settings)
        request, lock = compiled.create_infer_request(), threading.Lock()
        names = [port.get_any_name() for port in compiled.outputs]

        def run(inputs: Arrays) -> Arrays:
            with lock:  # a request computes one pair at a time
                per_pair = [
                    list(request.infer({name: array[i : i + 1] for name, array in inputs.items()}).values())
                    for i in range(len(inputs["rgb"]))
                ]
            return {name: np.concatenate(arrays) for name, arrays in zip(names, zip(*per_pair))}

        return run
