"""ONNX Runtime on the CPU, to verify exported graphs."""

from __future__ import annotations

from pathlib import Path

import torch

from ktb.inference.runtimes.base import Precision
from ktb.inference.runtimes.sessions import Arrays, GraphRuntime, Session
from ktb.modeling.model import KTB


class ONNXRuntime(GraphRuntime):
    """ONNX Runtime's CPU provider with the number of threads of torch; float32 only (else ValueError)."""

    name = "onnx"
    format = "onnx"

    def __init__(self, model: KTB, precision: Precision, why: str, **keywords):
        if precision != "float32":
            raise ValueError(
                f"the runtime onnx computes in float32, not {precision}; choose openvino for that."
            )
        super().__init__(model, precision, why, **keywords)

    def _load(self, folder: Path) -> Session:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        path, providers = str(folder / "model.onnx"), ["CPUExecutionProvider"]
        try:
            session = onnxruntime.InferenceSession(path, options, providers=providers)
        except Exception as error:  # its exceptions have no narrower common base class
            raise RuntimeError(f"ONNX Runtime refuses the graph: {error}") from error
        names = [output.name for output in session.get_outputs()]

        def run(inputs: Arrays) -> Arrays:
            return dict(zip(names, session.run(names, dict(inputs))))

        return run
