"""Arrays in, Prediction out: the only place that knows image sizes, resizing and numpy beside tensors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, TypeVar, get_args

import numpy as np
import torch
from torch import Tensor, nn

from ktb.config import BRANCHES
from ktb.inference.oom import with_enough_memory
from ktb.inference.postprocess import labels_and_confidence, to_host
from ktb.inference.prediction import Drop, Prediction
from ktb.inference.preprocess import (
    MAX_NETWORK_PIXELS,
    MAX_TILED_PIXELS,
    Prepared,
    check_rgb,
    fitting_size,
    to_network,
)
from ktb.inference.runtimes import Precision, Runtime, RuntimeName, make_runtime
from ktb.inference.runtimes.eager import autocast
from ktb.inputs import AUTO, EncodedX, EventStream, RawX, XOptions, encode_x, missing_x
from ktb.inputs.limits import MIN_SIDE
from ktb.modeling.model import KTB, KTBOutput
from ktb.modeling.tiling import DEFAULT_TILE, MIN_TILE, check_tile, tiled_forward

Tile = int | Literal["auto"] | None
T = TypeVar("T")
NO_X = (
    "X was ablated (zero tokens in its stream): this result comes from the RGB image alone. The X head "
    "has only what the prompts pass to it from there."
)
NO_RGB = (
    "The RGB image was ablated (zero tokens in its stream): this result comes from X alone. The RGB "
    "head has only what the prompts pass to it from there."
)


class Predictor:
    """Runs one model on RGB images and X inputs of any size.

    Args:
        model: from `ktb.load_model`; it stays on its device. It may be in training mode: the predictor
            computes in evaluation mode and puts the model's own mode back after each run. Its weights may
            change: the runtimes "eager" and "cudagraph" answer with those of the moment, "compile" too where
            they change in place, "openvino" and "onnx", so "auto" where it chose one, with those that the
            model had when the predictor was made.
        short_side: the shorter side in the network, rounded up to a multiple of 32; None takes the model's
            own setting, or the image's size where it has none.
        runtime: how the network is computed, see `ktb.inference.runtimes.make_runtime`; or one that was
            made for this model, which then decides the precision.
        precision: "bfloat16" is faster on processors and cards that have it, at slightly other numbers.
        tile: pixels of a tile's side, for images that are too large for one pass; "auto" takes 2048, None
            never uses tiles. The result is that of one pass (`ktb.modeling.tiling`). Tiles are computed by
            PyTorch.

    Attributes:
        runtime: with its `name`, `precision` and `why` it was chosen.

    Raises:
        ValueError: for an argument that cannot be, or a runtime that cannot be used here.
    """

    def __init__(
        self,
        model: KTB,
        short_side: int | None = None,
        runtime: RuntimeName | Runtime = "auto",
        precision: Precision = "float32",
        tile: Tile = "auto",
    ) -> None:
        if short_side is not None and short_side < MIN_SIDE:
            raise ValueError(f"short_side is {short_side}; the network needs at least {MIN_SIDE} pixels.")
        if isinstance(tile, str) and tile != "auto":
            raise ValueError(f"tile {tile!r}: give 'auto', None, or pixels")
        if isinstance(tile, int):
            check_tile(tile)
        self.model: KTB = model
        self._training: list[nn.Module] = []  # parts of the model that go back into training mode
        self._evaluating, self._lock = 0, threading.Lock()
        self.short_side: int | None = short_side or model.config.inputs.short_side
        self.tile: int | None = DEFAULT_TILE if tile == "auto" else tile
        chosen = make_runtime(self.model, runtime, precision) if isinstance(runtime, str) else runtime
        self.runtime: Runtime = chosen

    def __call__(
        self,
        rgb: np.ndarray,
        x: np.ndarray | EventStream | RawX | EncodedX | None,
        *,
        options: XOptions = AUTO,
        trace: bool = True,
        drop: Drop | None = None,
    ) -> Prediction:
        """Segment one pair.

        Args:
            rgb: (H, W, 3) uint8 RGB image.
            x: what `ktb.read_x` gave, an array, an event stream, or what `read` made of one of them; None
                runs on the RGB image alone, with zero tokens in the X stream.
            options: what is known about X; not used if x was read already.
            trace: keep what the fusion did.
            drop: switch "rgb" or "x" off: zero tokens in its stream, as in masked-modality training. The
                prediction's `x` says so in its warnings; without X its origin is "missing".

        Raises:
            ValueError: for arrays of another layout or size, or if nothing is left to see; says what was
                found and what to do. `ktb.inference.oom.OutOfMemory`, which is one, if memory is short.
        """
        prepared = self.prepare(rgb, x, options=options, drop=drop)

        def segment() -> Prediction:
            started = time.perf_counter()
            output = self._run([prepared], trace)
            return self.finish(prepared, output, time.perf_counter() - started)

        return self._computed(segment, prepared.network_hw)

    def prepare(
        self,
        rgb: np.ndarray,
        x: np.ndarray | EventStream | RawX | EncodedX | None,
        *,
        options: XOptions = AUTO,
        drop: Drop | None = None,
    ) -> Prepared:
        """The first of the three steps of a run, `prepare`, `run`, `finish`; arguments and errors as there.

        Only `run` needs the network: the others may work on other pairs in other threads meanwhile.
        """
        started = time.perf_counter()
        check_rgb(rgb)
        reading = x if isinstance(x, EncodedX) else self.read(x, rgb.shape[:2], options)
        if reading.image.shape[:2] != rgb.shape[:2]:
            raise ValueError(
                f"X was read for an RGB image of {reading.image.shape[:2]} (height, width), but this one is "
                f"{rgb.shape[:2]}; read X again for this RGB image."
            )
        reading = self._without(drop, reading)
        inputs = self.network_inputs(rgb, reading, self.network_size(rgb.shape[:2]))
        return Prepared(rgb.shape[:2], reading, *inputs, drop == "rgb", time.perf_counter() - started)

    def run(self, pairs: Sequence[Prepared]) -> list[KTBOutput]:
        """The network on pairs of one network size, as one batch, without a trace: an output for each."""
        output = self._computed(lambda: self._run(pairs, trace=False), pairs[0].network_hw)
        parts = {branch: getattr(output, branch).split(1) for branch in BRANCHES}
        each = [{branch: parts[branch][i] for branch in BRANCHES} for i in range(len(pairs))]
        return [KTBOutput(**logits, runtime=output.runtime) for logits in each]

    def finish(self, prepared: Prepared, output: KTBOutput, seconds: float) -> Prediction:
        """What the network said, at the RGB image's size; `seconds` that the network took."""
        started = time.perf_counter()
        config, size_hw, network_hw = self.model.config, prepared.size_hw, prepared.network_hw
        logits = [getattr(output, branch).float() for branch in BRANCHES]
        decided = [labels_and_confidence(values, size_hw, via_hw=network_hw) for values in logits]
        labels, confidences = zip(*decided)
        found = to_host([*logits, *confidences, *labels])
        logits, confidences, labels = (dict(zip(BRANCHES, found[i : i + 3])) for i in (0, 3, 6))
        return Prediction(
            model=config.name,
            classes=config.classes,
            palette=config.palette,
            labels={branch: label.numpy() for branch, label in labels.items()},
            confidences={branch: confidence.numpy() for branch, confidence in confidences.items()},
            x=prepared.reading,
            logits=logits,
            trace=output.trace,
            prompts=output.prompts,
            network_hw=network_hw,
            seconds=prepared.seconds + seconds + time.perf_counter() - started,
            device=getattr(self.runtime, "device", self._device.type),
            runtime=output.runtime,
            precision=self.runtime.precision,
        )

    @contextmanager
    def evaluating(self) -> Iterator[KTB]:
        """The model in evaluation mode; when the last thread leaves, its own mode comes back."""
        with self._lock:
            self._evaluating += 1
            if self._evaluating == 1:
                self._training = [module for module in self.model.modules() if module.training]
                for module in self._training:
                    module.training = False
        try:
            yield self.model
        finally:
            with self._lock:
                self._evaluating -= 1
                if not self._evaluating:
                    for module in self._training:
                        module.training = True

    def _computed(self, compute: Callable[[], T], network_hw: tuple[int, int]) -> T:
        """What `compute` gives on this model; OutOfMemory, with what helps, if there is too little for it."""
        remedy = "Make the RGB image smaller."
        if self.tile is None:
            remedy = "Make the RGB image smaller; the command line can run it in tiles (--tile)."
        elif self.tile > MIN_TILE:
            smaller = max(MIN_TILE, min(self.tile, *network_hw) // 2)
            remedy = f"Make the RGB image smaller, or its tiles (tile={smaller}, --tile {smaller})."
        with self.evaluating():
            return with_enough_memory(compute, network_hw, self._device, remedy)

    def read(
        self,
        x: np.ndarray | EventStream | RawX | None,
        size_hw: tuple[int, int] | None = None,
        options: XOptions = AUTO,
    ) -> EncodedX:
        """What the network gets of an X input, at the RGB image's size (height, width) or X's own.

        Raises:
            ValueError: as `ktb.inputs.encode_x`, or for no X without a size.
        """
        inputs = self.model.config.inputs
        if x is not None:
            return encode_x(x, inputs, size_hw, options)
        if size_hw is None:
            raise ValueError("without X the size of the RGB image is needed; give size_hw")
        return missing_x(inputs, size_hw)

    def network_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """The size at which the network sees an image: shorter side as set, both up to multiples of 32.

        Raises:
            ValueError: if that is too large, or the image is a long strip.
        """
        return fitting_size(size_hw, self.short_side, MAX_TILED_PIXELS if self.tile else MAX_NETWORK_PIXELS)

    def network_inputs(
        self, rgb: np.ndarray, reading: EncodedX, network_hw: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """What `KTB.forward` takes of an RGB image and its X: (1, 3, H, W) float each, on the device.

        Raises:
            OutOfMemory: there is too little for them.
        """

        def upload() -> tuple[Tensor, Tensor]:
            rgb_tensor, x_tensor = (to_network(v, network_hw, self._device) for v in (rgb, reading.image))
            return self.model.normalize_rgb(rgb_tensor), self.model.normalize_x(x_tensor)

        return self._computed(upload, network_hw)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _without(self, drop: Drop | None, reading: EncodedX) -> EncodedX:
        """The reading of a run with a sensor ablated, which says so."""
        if drop is None:
            return reading
        if drop not in get_args(Drop):
            raise ValueError(f"drop {drop!r}: choose one of {', '.join(get_args(Drop))}, or None")
        if reading.origin != "missing":
            if drop == "rgb":
                return replace(reading, warnings=(*reading.warnings, NO_RGB))
            missing = missing_x(self.model.config.inputs, reading.image.shape[:2])
            return replace(missing, warnings=(*reading.warnings, NO_X))
        if drop == "rgb":
            raise ValueError("there is no X: without the RGB image nothing would be left to see")
        return reading

    @torch.inference_mode()
    def _run(self, pairs: Sequence[Prepared], trace: bool) -> KTBOutput:
        """Logits of a batch at a quarter of the network's size."""
        height, width = pairs[0].network_hw
        without_rgb = [pair.without_rgb for pair in pairs]
        without_x = [pair.reading.origin == "missing" for pair in pairs]
        inputs = {
            "rgb": torch.cat([pair.rgb for pair in pairs]),
            "modal_x": torch.cat([pair.modal_x for pair in pairs]),
            "mask_rgb": torch.tensor(without_rgb, device=self._device) if any(without_rgb) else None,
            "mask_x": torch.tensor(without_x, device=self._device) if any(without_x) else None,
            "trace": trace,
        }
        if self.tile and max(height, width) > self.tile:
            with autocast(self.model, self.runtime.precision):
                return tiled_forward(self.model, **inputs, tile=self.tile)
        return self.runtime(**inputs)
