"""The right model by itself: chosen by the sensor of X, and without X by the scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ktb.checkpoints.choice import ModelChoice, choose_model, model_configs
from ktb.checkpoints.load import load_model
from ktb.checkpoints.registry import built_in_models
from ktb.inference.prediction import Prediction
from ktb.inference.predictor import Predictor
from ktb.inference.scene import predict_chosen
from ktb.inputs import AUTO, EventStream, RawX, RgbImage, XOptions
from ktb.inputs.recognize import recognize
from ktb.inputs.types import as_raw


class AutoPredictor:
    """Choose a model for every pair, load it on its first use, and run it.

    Args:
        models: files of the models to choose from by name, preferred ones first; by default those built in.
        device: device of the models, as for `ktb.load_model`.
        options: further keyword arguments of `Predictor`.

    Raises:
        ValueError: a file is damaged, or an argument of `Predictor` is invalid.
    """

    def __init__(self, models: Mapping[str, Path] | None = None, device: str = "auto", **options: Any):
        self._files = dict(built_in_models() if models is None else models)
        self._configs = model_configs(self._files)
        self._device, self._options = device, options
        self._predictors: dict[str, Predictor] = {}

    def __call__(
        self,
        rgb: np.ndarray | RgbImage,
        x: np.ndarray | EventStream | RawX | None,
        *,
        options: XOptions = AUTO,
        trace: bool = True,
    ) -> Prediction:
        """Segment a pair; `Prediction.model` and `Prediction.choice` name the chosen model and the reason.

        Arguments and errors as for `Predictor`; also a ValueError with a question if neither the content nor
        the name of X tells its sensor.
        """
        choice = self.choose(rgb.pixels if isinstance(rgb, RgbImage) else rgb, x, options)
        given = None if x is None else replace(as_raw(x), recognized=choice.modality)

        def run(name: str) -> Prediction:
            return self.predictor(name)(rgb, given, options=options, trace=trace)

        return predict_chosen(choice, run)[1]

    def choose(
        self, rgb: np.ndarray | None, x: np.ndarray | EventStream | RawX | None, options: XOptions = AUTO
    ) -> ModelChoice:
        """Choose a model without running it; errors as for a call."""
        found = None if x is None else recognize(as_raw(x), rgb, options)
        return choose_model(found, self._configs)

    def predictor(self, name: str) -> Predictor:
        """The predictor of a model by its name."""
        if name not in self._predictors:
            self._predictors[name] = Predictor(load_model(self._files[name], self._device), **self._options)
        return self._predictors[name]
