"""Predictors of the page. Imported on first use, because importing torch takes more than a second."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from app.scheduler import FairScheduler
from app.server.environment import is_lent
from app.server.logs import note
from app.spaces.zero_gpu import LENT_DEVICE, ZeroGPURuntime
from ktb import KTB, Prediction, Predictor, load_model
from ktb.analysis.attribution import attribute, attribute_prediction
from ktb.analysis.targets import Target
from ktb.analysis.types import Attribution
from ktb.inference.runtimes import Precision, Runtime, RuntimeName, device_for
from ktb.inputs import EncodedX
from ktb.modeling.device import DeviceChoice

_log = logging.getLogger(__name__)


class SharedPredictor(Predictor):
    """A predictor that schedules its runs; `for_frames` gives one whose caller schedules them."""

    def __init__(
        self,
        model: KTB,
        scheduler: FairScheduler,
        runtime: RuntimeName | Runtime = "auto",
        precision: Precision = "float32",
    ):
        super().__init__(model, tile=None, runtime=runtime, precision=precision)
        self._scheduler = scheduler

    def __call__(self, *args, **kwargs) -> Prediction:
        """As `Predictor`, once the scheduler admits this run."""
        asked = time.perf_counter()
        with self._scheduler.single():
            waited = time.perf_counter() - asked
            found = super().__call__(*args, **kwargs)
        note(
            _log,
            logging.INFO,
            "run",
            model=found.model,
            image="{1}x{0}".format(*found.size_hw),
            network="{1}x{0}".format(*found.network_hw),
            x=found.x.modality if found.x.origin != "missing" else "none",
            runtime=found.runtime,
            waited=round(waited, 3),
            seconds=round(found.seconds, 3),
        )
        return found

    def attribute(self, rgb: np.ndarray, reading: EncodedX, target: Target) -> Attribution:
        """As `attribute_prediction`, once the scheduler admits this job."""
        compute = self.runtime.attribute if isinstance(self.runtime, ZeroGPURuntime) else attribute
        with self._scheduler.single():
            return attribute_prediction(self, rgb, reading, target, compute)

    def for_frames(self) -> Predictor:
        """A predictor on the same model that does not wait for the scheduler."""
        return Predictor(self.model, tile=None, runtime=self.runtime)


def choose(runtime: RuntimeName, device: str) -> DeviceChoice:
    """The device of everything but a lent GPU's network; errors as `device_for`."""
    if is_lent():
        return DeviceChoice("cpu", ZeroGPURuntime.why)
    return device_for(runtime, device)


def make_predictor(
    path: Path, scheduler: FairScheduler, runtime: RuntimeName, precision: Precision, device: str
) -> SharedPredictor:
    """Load a model's predictor on a device, or on the GPU that ZeroGPU lends; errors as `ktb.load_model`."""
    loaded = load_model(path, device)
    computing = ZeroGPURuntime(load_model(path, LENT_DEVICE), precision) if is_lent() else runtime
    return SharedPredictor(loaded, scheduler, computing, precision)
