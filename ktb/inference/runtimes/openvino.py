"""OpenVINO runtime, the fastest on most CPUs."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import torch

from ktb.inference.runtimes.base import Precision
from ktb.inference.runtimes.export import DESCRIPTION
from ktb.inference.runtimes.sessions import (
    Arrays,
    GraphRuntime,
    Session,
    environment_of_library,
)
from ktb.modeling.model import KTB

_HINTS = {"float32": "f32", "bfloat16": "bf16"}
_log = logging.getLogger(__name__)


class OpenVINORuntime(GraphRuntime):
    """OpenVINO on the CPU with the number of threads of torch; pairs of a batch run one after the other.

    On a CPU without bfloat16 the precision is float32.
    """

    name = "openvino"
    format = "openvino"

    def __init__(self, model: KTB, precision: Precision, why: str, **keywords):
        super().__init__(model, precision, why, **keywords)
        import openvino

        core = openvino.Core()
        if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            self.precision = "float32"
            self.why += " This processor has no bfloat16, so it computes in float32."

    def _rehearse(self, folder: Path) -> None:
        if self.precision != "float32":
            rehearse(folder, self.precision)

    def _load(self, folder: Path) -> Session:
        return load_session(folder, self.precision)


def load_session(folder: Path, precision: Precision) -> Session:
    """Open a session for the graph in a folder; RuntimeError for a damaged one."""
    import openvino

    core = openvino.Core()
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    if precision == "float32":  # in bfloat16 this cache caused a segmentation fault
        settings |= {"CACHE_DIR": str(folder / "compiled"), "CACHE_MODE": "OPTIMIZE_SIZE"}
    compiled = core.compile_model(str(folder / "model.xml"), "CPU", settings)
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


def rehearse(folder: Path, precision: Precision) -> None:
    """Run a graph once in a separate process, so that a crash does not end this one.

    The check runs once per graph, precision and CPU.

    Raises:
        ValueError: the run failed; the message names alternatives.
    """
    mark, here = folder / f"rehearsed-{precision}", _processor()
    if mark.is_file() and mark.read_text(encoding="utf-8") == here:
        return
    command = [sys.executable, "-m", __name__, str(folder), precision]
    ended = subprocess.run(command, env=environment_of_library(), capture_output=True, text=True)
    if ended.returncode:
        raise ValueError(
            f"OpenVINO cannot compute this network in {precision} on this processor (code "
            f"{ended.returncode}: {ended.stderr.strip()[-500:]}). Choose the precision float32, or the "
            f"runtime eager."
        )
    try:
        mark.write_text(here, encoding="utf-8")
    except OSError:  # a read-only cache: every process repeats the check
        _log.debug("%s cannot be written", mark)


def _processor() -> str:
    import openvino

    return f"{openvino.Core().get_property('CPU', 'FULL_DEVICE_NAME')}, OpenVINO {openvino.__version__}"


def _main(folder: Path, precision: Precision) -> None:
    size = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["size"]
    image = np.zeros((1, 3, size["height"], size["width"]), np.float32)
    load_session(folder, precision)({"rgb": image, "modal_x": image, "keep": np.ones((1, 2), np.float32)})


if __name__ == "__main__":
    _main(Path(sys.argv[1]), sys.argv[2])
