"""From uploads to results. A user's mistake raises a ValueError whose message can be shown."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from app.results import Result, XView
from app.scheduler import FairScheduler
from app.server.decoding import Decoded, Room, room_for
from app.server.environment import is_lent
from app.server.overlays import Overlays, looked_at
from app.server.uploads import NOT_HERE
from app.texts import ANY_X, x_called, x_missing
from ktb.analysis import Inspection
from ktb.checkpoints.choice import AUTO_MODEL, ModelChoice, ask, choose_model
from ktb.checkpoints.metadata import OFFICIAL_SUFFIXES, read_header
from ktb.checkpoints.registry import built_in_models, resolve, short_name
from ktb.config import InputConfig, ModelConfig
from ktb.inference.runtimes import Precision, RuntimeName
from ktb.inference.scene import predict_chosen
from ktb.inputs import AUTO, EncodedX, EventStream, RawX, RgbImage, XOptions, encode_x
from ktb.inputs.alignment.files import Alignment
from ktb.inputs.depth_estimation import DepthEstimator
from ktb.inputs.readers.sandbox import Sandbox
from ktb.inputs.recognize import recognize

if TYPE_CHECKING:
    from ktb import Prediction, Predictor
    from ktb.modeling.device import DeviceChoice

_log = logging.getLogger(__name__)
XSource = Literal["file", "none", "estimate"]
XFiles = str | Sequence[str] | None
WARM_UP_HW = 480, 640  # size of the examples


class MissingX(ValueError):
    """A run lacks its X, but can proceed on the RGB image alone."""


class Service:
    """Models, loaded on first use, and the runs on them.

    Args:
        extra_models: names, files or addresses as for `ktb.load_model`, offered before the built-in models;
            they are downloaded by the constructor.
        runtime, precision: see `ktb.Predictor`.
        device: the torch device; "auto" as for `ktb.load_model`, chosen when the first model is loaded.
    """

    def __init__(
        self,
        extra_models: list[str] | None = None,
        runtime: RuntimeName = "auto",
        precision: Precision = "float32",
        device: str = "auto",
    ):
        self.is_lent = is_lent()
        self._computing, self._asked = (runtime, precision), device
        self._choice: DeviceChoice | None = None
        if device not in ("auto", "cpu"):
            self._device()  # raises for an unusable device before the page opens
        self._has_own = bool(extra_models)
        self._files: dict[str, Path] = {}
        for given in extra_models or []:
            path = resolve(given)
            name = short_name(given, path)
            known = self._files.setdefault(name, path)
            if known != path:
                raise ValueError(f"{known} and {path} would both be called {name!r}; rename one of them")
        self._files |= {name: path for name, path in built_in_models().items() if name not in self._files}
        if not self._files:
            raise ValueError("no model is available; give one with --model FILE.safetensors")
        self._predictors: dict[str, Predictor] = {}
        self._headers: dict[str, tuple[ModelConfig, Mapping[str, Any]]] = {}
        self.sandbox = Sandbox()
        self.room, self.decoded = Room(), Decoded(sandbox=self.sandbox)
        self._estimator: DepthEstimator | None = None
        self._estimator_lock = threading.Lock()
        self._lock = threading.Lock()  # guards the predictors
        self._find: Callable[[str], Path | None] = Path
        self.scheduler = FairScheduler()
        self.is_warm = False

    def for_visitors(self, find: Callable[[str], Path | None]) -> Service:
        """A copy that shares models and scheduler, restricted to the files that visitors may read.

        Args:
            find: maps a file name from a request to its path, or to None if the requester may not read it.
        """
        service = copy(self)
        service._find = find
        return service

    def opened(self, named: str) -> str:
        """The path of a file that a visitor named; ValueError if the visitor may not read it.

        Every function that opens such a file calls this, regardless of earlier checks.
        """
        path = self._find(named)
        if path is None:
            raise ValueError(NOT_HERE)
        return str(path)

    @property
    def models(self) -> list[str]:
        """Names of the available models; the first is the default."""
        return list(self._files)

    @property
    def loaded(self) -> list[str]:
        """Names of the models in memory; does not wait for a model that is being loaded."""
        return list(self._predictors)

    def predictor(self, model: str) -> Predictor:
        """The predictor of a model, loaded once; ValueError for an unknown name."""
        path = self._path(model)
        with self._lock:
            if model not in self._predictors:
                make = _network().make_predictor
                self._predictors[model] = make(path, self.scheduler, *self._computing, self._device().device)
            return self._predictors[model]

    def device(self) -> DeviceChoice:
        """The device, chosen now if no model was loaded, and the reason for its choice."""
        with self._lock:
            return self._device()

    def _device(self) -> DeviceChoice:
        if self._choice is None:
            self._choice = _network().choose(self._computing[0], self._asked)
            _log.info("The network's device is %s", self._choice)
        return self._choice

    def move_models_to_gpu(self) -> None:
        """In a ZeroGPU Space, move every model to the GPU; call it before the launch."""
        if self.is_lent:
            for model in self.models:
                self.predictor(model)

    def warm_up(self) -> None:
        """Load the first model and run it once on a black image, so that the first visitor need not wait.

        On ZeroGPU, a GPU exists only during a visitor's request: the model is loaded but not run.
        """
        predictor = self.predictor(self.models[0])
        if not self.is_lent:
            predictor(np.zeros((*WARM_UP_HW, 3), np.uint8), None)
        self.is_warm = True

    def file(self, model: str) -> Path:
        """The file of a model; ValueError for an unknown name."""
        return self._path(model)

    def card(self, model: str) -> Mapping[str, Any]:
        """The model card of a model; ValueError for an unknown name."""
        return self._header(model)[1]

    def config(self, model: str) -> ModelConfig:
        """The configuration of a model; ValueError for an unknown name."""
        return self._header(model)[0]

    def inputs(self, model: str) -> InputConfig:
        """The input configuration of a model; of any X for "auto". ValueError for an unknown name."""
        return ANY_X if model == AUTO_MODEL else self.config(model).inputs

    @property
    def names(self) -> list[str]:
        """The names that a request may use for a model: "auto", then the models."""
        return [AUTO_MODEL, *self.models]

    @property
    def default(self) -> str:
        """The name that the page starts with: "auto", unless its operator named models."""
        return self.models[0] if self._has_own else AUTO_MODEL

    def choose(self, raw: RawX | None, rgb: np.ndarray | None, options: XOptions = AUTO) -> ModelChoice:
        """The model for an X, or for an RGB image alone; ValueError with a question for an ambiguous X."""
        return choose_model(None if raw is None else recognize(raw, rgb, options), self._choosable())

    def _choosable(self) -> dict[str, ModelConfig]:
        """Models to choose from; those of official files, whose modality is a guess, must be named."""
        names = [name for name, path in self._files.items() if path.suffix not in OFFICIAL_SUFFIXES]
        return {name: self.config(name) for name in names}

    def read_rgb(self, path: str) -> np.ndarray:
        """Read an RGB image, (H, W, 3) uint8, read-only."""
        path = self.opened(path)
        with self.room.take(room_for(path)):
            return self.decoded.rgb(path)

    def read_x(self, x_files: XFiles, rgb_path: str | None, model: str, options: XOptions = AUTO) -> XView:
        """Encode X for a model, at the RGB image's size if one is given.

        Reads only the header of the checkpoint, not its weights.
        """
        self.inputs(model)  # raises for an unknown model
        files = self._opened(x_files)
        rgb_path = self.opened(rgb_path) if rgb_path else None
        with self.room.take(room_for(rgb_path, *files)):
            raw = self.decoded.x(files, self._as_trained(model, options))
            image = self.decoded.image(rgb_path) if rgb_path else None
            choice, question = None, ""
            if model == AUTO_MODEL:
                raw, choice, question = self._recognized(raw, image and image.pixels, options)
                model = choice.name
            inputs, raw = self.inputs(model), self._read_again(raw, files, model, options)
            if rgb_path is None:
                reading = encode_x(raw, inputs, options=options)
            else:
                reading = self._encoded(raw, files, rgb_path, inputs, options)
            return replace(_view(raw, reading, inputs, options), choice=choice, question=question)

    def look_at(
        self,
        rgb_path: str | None,
        x_files: XFiles,
        model: str,
        options: XOptions,
        alignment: Alignment | None,
    ) -> tuple[Alignment | None, Overlays]:
        """Preview an alignment: the given one, or an estimate (None if none was found)."""
        if not rgb_path or not _files(x_files):
            raise ValueError("an alignment needs both: upload the RGB image and its X first.")
        plain = replace(options, matrix=None, calibration=None)
        self.inputs(model)  # raises for an unknown model
        files, rgb_path = self._opened(x_files), self.opened(rgb_path)
        with self.room.take(room_for(rgb_path, *files)):
            image, raw = self.decoded.image(rgb_path), self.decoded.x(files, self._as_trained(model, plain))
            if model == AUTO_MODEL:
                raw, choice, _ = self._recognized(raw, image.pixels, plain)
                model = choice.name
            raw = self._read_again(raw, files, model, plain)
            return looked_at(image, raw, self.inputs(model), plain, alignment)

    def segment(
        self,
        rgb_path: str | None,
        x_files: XFiles,
        model: str,
        options: XOptions = AUTO,
        source: XSource = "file",
    ) -> Result:
        """Run a model on uploaded files.

        Args:
            x_files: one file, or several that make up one X; used only if source is "file".
            options: how to read X.
            source: "none" runs on the RGB image alone, "estimate" on depth estimated from it.
        """
        if source not in get_args(XSource):
            raise ValueError(f"x_source {source!r}: choose one of {', '.join(get_args(XSource))}")
        if not rgb_path:
            raise ValueError("the RGB image is missing. Upload an RGB image.")
        inputs = self.inputs(model)
        files = _files(x_files)
        if source == "file" and not files:
            raise MissingX(x_missing(inputs))
        raw, rgb_path, files = None, self.opened(rgb_path), self._opened(files if source == "file" else None)
        with self.room.take(room_for(rgb_path, *files)):
            image = self.decoded.image(rgb_path)
            if source == "file":
                raw = self.decoded.x(files, self._as_trained(model, options))
        if source == "estimate":
            raw = self._estimate(image.pixels)
        return self.segment_read(image, raw, model, options, files, rgb_path)

    def segment_read(
        self,
        image: RgbImage,
        raw: RawX | None,
        model: str,
        options: XOptions = AUTO,
        files: Sequence[str] = (),
        rgb_path: str = "",
    ) -> Result:
        """Run a model on a pair that was read.

        Args:
            files, rgb_path: what the pair was read from, if X was uploaded as files.
        """
        rgb, choice = image.pixels, ModelChoice(model, "")
        if model == AUTO_MODEL:
            choice = self.choose(raw, rgb, options)
            if raw is not None and files:
                with self.room.take(room_for(*files)):
                    raw = self._read_again(raw, files, choice.name, options)
            raw = raw and replace(raw, recognized=choice.modality)

        def run(name: str) -> Prediction:
            x = self._encoded(raw, files, rgb_path, self.inputs(name), options) if files else raw
            return self.predictor(name)(image, x, options=options)

        model, prediction = predict_chosen(choice, run)
        view = _view(raw, prediction.x, self.inputs(model), options)
        name = x_called(prediction.x.modality, prediction.x.origin)
        inspection = Inspection(prediction) if prediction.trace else None
        return Result(rgb, name, prediction, inspection, view, model, self.device().why)

    def _recognized(
        self, raw: RawX, rgb: np.ndarray | None, options: XOptions
    ) -> tuple[RawX, ModelChoice, str]:
        """X with its likeliest modality, the model for that, and the question of an ambiguous X."""
        found = recognize(raw, rgb, options)
        question = "" if found.is_sure else ask(found)
        choice = choose_model(replace(found, is_sure=True), self._choosable())
        return replace(raw, recognized=found.modality), choice, question

    def _encoded(
        self, raw: RawX, files: list[str], rgb_path: str, inputs: InputConfig, options: XOptions
    ) -> EncodedX:
        """X for the RGB image; a run uses what the preview of X was drawn from."""
        image = self.decoded.image(rgb_path)
        question = repr(inputs), json.dumps(options.to_dict(), sort_keys=True), raw.recognized
        return self.decoded.encoded(
            files, rgb_path, question, lambda: encode_x(raw, inputs, options=options, rgb=image)
        )

    def _as_trained(self, model: str, options: XOptions) -> XOptions:
        """Options for reading X as in the training of a model; unchanged while the model is not chosen."""
        return options if model == AUTO_MODEL else options.as_trained(self.inputs(model))

    def _read_again(self, raw: RawX, files: Sequence[str], model: str, options: XOptions) -> RawX:
        """X as in the training of the model that was chosen for it, where that reads it otherwise."""
        trained = self._as_trained(model, options)
        if trained == options or not isinstance(raw.data, EventStream):
            return raw
        return replace(self.decoded.x(files, trained), recognized=raw.recognized)

    def _opened(self, x_files: XFiles) -> list[str]:
        return [self.opened(path) for path in _files(x_files)]

    def _estimate(self, rgb: np.ndarray) -> RawX:
        """Estimate depth from the RGB image, once the scheduler admits this job.

        The first call loads the estimator and may download its weights for minutes; only other estimates wait
        for it.
        """
        with self._estimator_lock:
            if self._estimator is None:
                self._estimator = DepthEstimator(device=self.device().device)
            estimator = self._estimator
        with self.scheduler.single():
            return estimator(rgb)

    def _path(self, model: str) -> Path:
        if model not in self._files:
            raise ValueError(f"there is no model {model!r}; choose one of {', '.join(self._files)}")
        return self._files[model]

    def _header(self, model: str) -> tuple[ModelConfig, Mapping[str, Any]]:
        """Configuration and model card, read without loading the weights where the format allows."""
        path = self._path(model)
        if path.suffix in OFFICIAL_SUFFIXES:
            loaded = self.predictor(model).model
            return loaded.config, loaded.card
        if model not in self._headers:  # needed whenever X is read
            self._headers[model] = read_header(path)
        return self._headers[model]


def _network() -> ModuleType:
    """The module of predictors, imported late: the page opens before torch, which takes over a second."""
    from app import predictors

    return predictors


def _view(raw: RawX | None, reading: EncodedX, inputs: InputConfig, options: XOptions) -> XView:
    if raw is None or not isinstance(raw.data, EventStream):
        return XView(reading, is_one_channel=raw is not None and raw.data.ndim == 2)
    first, last = raw.data.span_us
    low, high = (float(t - first) / 1e3 for t in (raw.data.t.min(), raw.data.t.max()))
    window = options.window_ms
    if window is None:  # the encoder's default
        window = low if inputs.event_window_ms is None else max(0.0, high - inputs.event_window_ms), high
    return XView(reading, float(last - first) / 1e3, window)


def _files(x_files: XFiles) -> list[str]:
    if x_files is None:
        return []
    return [x_files] if isinstance(x_files, str) else list(x_files)
