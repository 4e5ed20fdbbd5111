"""The process of one case: it runs methods on request of the parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from ktb.analysis.ground_truth import Numbering, read_truth
from ktb.analysis.metrics import confusion_matrix
from ktb.bench.cases import Case
from ktb.bench.measure import (
    flops,
    gpu_peak_memory,
    matrix_product_rate,
    peak_memory,
    seconds_of_modules,
    timed,
)
from ktb.bench.models import make_inputs, make_network
from ktb.checkpoints.load import load_model
from ktb.inference.predictor import Predictor
from ktb.inputs import read_image_rgb, read_x
from ktb.labels import IGNORE_INDEX


class Session:
    """A case with its model loaded; the parent can call every public method."""

    def __init__(self, case: Case, file: str):
        if case.threads:
            torch.set_num_threads(case.threads)
        self.case = case
        self.model = load_model(file, case.device)
        self.network = make_network(case, self.model)
        self.inputs = make_inputs(case, self.model)

    def logits(self) -> np.ndarray:
        """Logits of the fused head, (B, K, H, W) or a quarter of that size, float32."""
        return self._run().fused.float().cpu().numpy()

    def seconds(self) -> float:
        """Of one run."""
        return timed(self._run, self.case.device)[0]

    def parts(self) -> dict[str, float]:
        """Seconds per component of the network, and of pre- and postprocessing."""
        parts = seconds_of_modules(self.model, self._run, self.case.device)
        predictor = Predictor(self.model, short_side=min(self.case.size_hw), runtime="eager")
        rgb = np.random.default_rng(0).integers(0, 256, (*self.case.size_hw, 3), dtype=np.uint8)
        output = predictor.run([predictor.prepare(rgb, None)])[0]
        for _ in range(2):  # the first run is a warm-up
            before, prepared = timed(lambda: predictor.prepare(rgb, None), self.case.device)
            after, _ = timed(partial(predictor.finish, prepared, output, 0.0), self.case.device)
        return {**parts, "preparing a pair, without reading X": before, "deciding the labels": after}

    def flops(self) -> int:
        """Of one run."""
        return flops(self.model, self.case.batch, self.case.size_hw)

    def matrix_product_rates(self) -> dict[str, float]:
        """Operations per second of a matrix product, by precision."""
        return {p: matrix_product_rate(p, self.case.device) for p in ("float32", "bfloat16")}

    def memory(self) -> dict[str, int | None]:
        """Peak memory in bytes so far."""
        return {"process": peak_memory(), "gpu": gpu_peak_memory(self.case.device)}

    def confusion_matrix(self, frames: Sequence[Mapping[str, str]], numbering: Numbering) -> np.ndarray:
        """Confusion matrix (K, K) int64 of labelled pairs: true class, predicted class."""
        config, precision = self.model.config, self.case.precision
        predictor = Predictor(self.model, runtime=self.case.runtime, precision=precision)
        counts = np.zeros((config.num_classes, config.num_classes), np.int64)
        for frame in frames:
            rgb = read_image_rgb(frame["rgb"])
            x = read_x(frame["x"], options=predictor.x_options())
            predicted = predictor(rgb, x, trace=False).labels["fused"]
            truth = read_truth(frame["label"], rgb.shape[:2], config.palette, numbering).labels
            valid = truth != IGNORE_INDEX
            counts += confusion_matrix(truth[valid], predicted[valid], config.num_classes)
        return counts

    def _run(self) -> Any:
        with torch.inference_mode():
            return self.network(*self.inputs)


def serve(connection: Connection, case: Case, file: str) -> None:
    """Load the case from its model's file, then answer requests (method, arguments).

    An answer is ("ok", result) or (type of the error, message).
    """
    try:
        session = Session(case, file)
        connection.send(("ok", session.logits()))
        while request := connection.recv():
            method, arguments = request
            connection.send(("ok", getattr(session, method)(*arguments)))
    except EOFError:  # the parent has ended
        return
    except Exception as error:  # sent to the parent, which raises it or skips the case
        connection.send((type(error).__name__, str(error)))
