"""From uploads to results; what a user did wrong is a ValueError whose text can be shown."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.words import x_name
from ktb import Prediction, Predictor, load_model, read_image_rgb, read_x
from ktb.checkpoint import built_in_models, read_header, resolve
from ktb.config import InputConfig, ModelConfig
from ktb.modalities import XOptions, XReading
from ktb.storage import OFFICIAL_SUFFIXES

UNIFORM_ENTROPY = 0.97  # attention above this normalised entropy says next to nothing about where it looked


@dataclass(frozen=True)
class LevelView:
    """One fusion level, ready to be drawn.

    Attributes:
        stride: pixels of the network's input per position.
        balance: (h, w) float32, share of each position's attention that goes to x.
        entropy: mean normalised attention entropy, 0..1.
        points: (B=1 dropped) {"rgb", "x"} → (G·n, 2) sampling points as (y, x) in [-1, 1].
        weights: {"rgb", "x"} → (G·n,) modality weight of x at those points, 0..1.
    """

    stride: int
    balance: np.ndarray
    entropy: float
    points: Mapping[str, np.ndarray]
    weights: Mapping[str, np.ndarray]

    @property
    def is_uniform(self) -> bool:
        """Whether attention is spread so evenly that the balance map carries no information."""
        return self.entropy >= UNIFORM_ENTROPY


@dataclass(frozen=True)
class Result:
    """One run: the photograph, what X is called, what the network said, and the fusion per level."""

    rgb: np.ndarray
    x_name: str
    prediction: Prediction
    levels: tuple[LevelView, ...]


class Service:
    """Models that are loaded when first used, and the runs on them.

    Args:
        extra_models: names or files to offer before the built-in models.
    """

    def __init__(self, extra_models: list[str] | None = None):
        self._files: dict[str, Path] = {}
        for path in map(resolve, extra_models or []):
            known = self._files.setdefault(path.stem, path)
            if known != path:
                raise ValueError(f"{known} and {path} would both be called {path.stem!r}; rename one of them")
        self._files |= {name: path for name, path in built_in_models().items() if name not in self._files}
        if not self._files:
            raise ValueError("there is no model to show; give one with --model FILE.safetensors")
        self._predictors: dict[str, Predictor] = {}
        self._lock = threading.Lock()

    @property
    def models(self) -> list[str]:
        """Names of the models that can be chosen; the first one is the default."""
        return list(self._files)

    def predictor(self, model: str) -> Predictor:
        """The predictor of a model, loaded once; ValueError for a name that is not offered."""
        path = self._path(model)
        with self._lock:
            if model not in self._predictors:
                self._predictors[model] = Predictor(load_model(path))
            return self._predictors[model]

    def card(self, model: str) -> Mapping[str, Any]:
        """The card of a model."""
        return self._header(model)[1]

    def config(self, model: str) -> ModelConfig:
        """The configuration of a model; ValueError for a name that is not offered."""
        return self._header(model)[0]

    def inputs(self, model: str) -> InputConfig:
        """What a model takes; ValueError for a name that is not offered."""
        return self.config(model).inputs

    def read_x(self, x_path: str, rgb_path: str | None, model: str, unit: str) -> XReading:
        """What this model would get from an X file, at the photograph's size if there is one yet."""
        raw = read_x(x_path)
        size = read_image_rgb(rgb_path).shape[:2] if rgb_path else None
        return self.predictor(model).read(raw, size, XOptions(unit=unit))

    def segment(self, rgb_path: str | None, x_path: str | None, model: str, unit: str) -> Result:
        """Run a model on two uploaded files; ValueError for anything that the user can mend."""
        if not rgb_path:
            raise ValueError("the photograph is missing. Upload an RGB image.")
        predictor = self.predictor(model)
        name = x_name(predictor.model.config.inputs)
        if not x_path:
            raise ValueError(f"the X image is missing. Upload the {name} that belongs to the photograph.")
        rgb = read_image_rgb(rgb_path)
        prediction = predictor(rgb, read_x(x_path), options=XOptions(unit=unit))
        return Result(rgb, name, prediction, _level_views(prediction))

    def _path(self, model: str) -> Path:
        if model not in self._files:
            raise ValueError(f"there is no model {model!r}; choose one of {', '.join(self._files)}")
        return self._files[model]

    def _header(self, model: str) -> tuple[ModelConfig, Mapping[str, Any]]:
        """Configuration and card, read without loading the weights where the format allows."""
        path = self._path(model)
        if path.suffix not in OFFICIAL_SUFFIXES:
            return read_header(path)
        loaded = self.predictor(model).model
        return loaded.config, loaded.card


def _level_views(prediction: Prediction) -> tuple[LevelView, ...]:
    views = []
    for trace in prediction.trace or ():  # a mean has no attention
        half = trace.sampling_points.shape[2] // 2
        points = trace.sampling_points[0].float().cpu().numpy()  # G, 2n, 2
        weight_x = trace.modality_weights[0, 1].float().cpu().numpy()
        parts = {"rgb": slice(0, half), "x": slice(half, None)}
        views.append(
            LevelView(
                stride=round(prediction.network_hw[0] / trace.query_hw[0]),
                balance=trace.balance()[0].cpu().numpy(),
                entropy=float(trace.entropy().mean()),
                points={stream: points[:, part].reshape(-1, 2) for stream, part in parts.items()},
                weights={stream: np.tile(weight_x[part], len(points)) for stream, part in parts.items()},
            )
        )
    return tuple(views)
