"""The predictor: from RGB and X arrays of any size to a `Prediction`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ktb.config import BRANCHES
from ktb.inference.domain import DomainVerdict, Stream
from ktb.inference.lazy_maps import LazyConfidences, LazyDecisions, LazyMaps
from ktb.inference.oom import with_enough_memory
from ktb.inference.postprocess import Upsampling, confidence_of, labels_of, to_host
from ktb.inference.prediction import Drop, Prediction
from ktb.inference.preprocess import (
    MAX_NETWORK_PIXELS,
    MAX_TILED_PIXELS,
    Prepared,
    ablated,
    ablated_part,
    check_rgb,
    fitting_size,
    partly_ablated,
    stream_masks,
    to_network,
)
from ktb.inference.region import Region
from ktb.inference.runtimes import Precision, Runtime, RuntimeName, make_runtime
from ktb.inference.runtimes.eager import EagerRuntime, autocast
from ktb.inputs import AUTO, EncodedX, EventStream, RawX, RgbImage, XOptions, encode_x, missing_x
from ktb.inputs.limits import MIN_SIDE
from ktb.modeling.model import KTB, KTBOutput
from ktb.modeling.tiling import DEFAULT_TILE, MIN_TILE, check_tile, tiled_forward

Tile = int | Literal["auto"] | None
MAX_EAGER_PIXELS = 2_500_000
"""Of the RGB image; the label maps of three heads take a second per 3 million pixels on one core."""
T = TypeVar("T")


class Predictor:
    """Run one model on RGB images and X inputs of any size.

    Args:
        model: from `ktb.load_model`; it stays on its device. A model in training mode is run in evaluation
            mode, and its own mode is restored after each run. If its weights change later, the runtimes
            "eager" and "cudagraph" use the current weights, and "compile" does for in-place changes.
            "openvino" and "onnx" (also when "auto" selected them) keep the weights of the time when the
            predictor was constructed.
        short_side: the shorter side in the network in pixels, rounded up to a multiple of 32; None uses the
            model's own setting, or the image's size if it has none.
        runtime: name of a runtime, see `ktb.inference.runtimes.make_runtime`; or a runtime constructed for
            this model, which then determines the precision.
        precision: "float32" or "bfloat16", which is faster on CPUs and GPUs that support it, with slightly
            different results.
        tile: side of a tile in pixels, for images too large for one pass; "auto" is 2048, None never uses
            tiles. The result equals that of one pass (`ktb.modeling.tiling`). Tiles run in PyTorch.

    Attributes:
        runtime: the selected runtime, with `name`, `precision` and `why`, the reason of the selection.

    Raises:
        ValueError: an argument is invalid, or the runtime is not available here.
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
        self._training: list[nn.Module] = []  # modules to return to training mode
        self._evaluating, self._lock = 0, threading.Lock()
        self.short_side: int | None = short_side or model.config.inputs.short_side
        self.tile: int | None = DEFAULT_TILE if tile == "auto" else tile
        chosen = make_runtime(self.model, runtime, precision) if isinstance(runtime, str) else runtime
        self.runtime: Runtime = chosen

    def __call__(
        self,
        rgb: np.ndarray | RgbImage,
        x: np.ndarray | EventStream | RawX | EncodedX | None,
        *,
        options: XOptions = AUTO,
        trace: bool = True,
        drop: Drop | None = None,
        region: Region | None = None,
    ) -> Prediction:
        """Segment one pair of an RGB image and X.

        Args:
            rgb: (H, W, 3) uint8 RGB image; or the result of `ktb.read_rgb`, whose notes and EXIF orientation
                then count.
            x: the result of `ktb.read_x`, an array, an event stream, or the result of `read`; None runs on
                the RGB image alone, with zero tokens in the X stream.
            options: options for encoding X; ignored if `x` is encoded already.
            trace: keep the fusion traces.
            drop: ablate "rgb" or "x": zero tokens in its stream, as in masked-modality training. The warnings
                of the prediction's `x` report it; without X its origin is "missing".
            region: ablate the sensor of `drop` only inside this region of the RGB image: a mask (H, W) bool,
                a rectangle (left, top, right, bottom) or a polygon of pixels (x, y), see
                `ktb.inference.region`. Every token that overlaps it is zero; a region of all tokens is the
                ablation of the sensor. Otherwise PyTorch computes it, and there is no `domain`.

        Raises:
            ValueError: an array has a wrong layout or size, both sensors are ablated, or the region is
                empty or outside the image; the message names what was found and a remedy.
            ktb.inference.oom.OutOfMemory: a ValueError; memory is insufficient.
        """
        prepared = self.prepare(rgb, x, options=options, drop=drop, region=region)

        def segment() -> Prediction:
            started = time.perf_counter()
            output = self._run([prepared], trace)
            return self.finish(prepared, output, time.perf_counter() - started)

        return self._computed(segment, prepared.network_hw)

    def prepare(
        self,
        rgb: np.ndarray | RgbImage,
        x: np.ndarray | EventStream | RawX | EncodedX | None,
        *,
        options: XOptions = AUTO,
        drop: Drop | None = None,
        region: Region | None = None,
    ) -> Prepared:
        """Preprocess a pair: the first of the steps `prepare`, `run` and `finish` of a call.

        Only `run` uses the network; other threads may prepare and finish other pairs meanwhile. Arguments and
        errors are those of a call.
        """
        started = time.perf_counter()
        image, rgb = (rgb, rgb.pixels) if isinstance(rgb, RgbImage) else (None, rgb)
        check_rgb(rgb)
        reading = x if isinstance(x, EncodedX) else self.read(x, rgb.shape[:2], options, image)
        if reading.image.shape[:2] != rgb.shape[:2]:
            raise ValueError(
                f"X was read for an RGB image of {reading.image.shape[:2]} (height, width), but this one is "
                f"{rgb.shape[:2]}; read X again for this RGB image."
            )
        network_hw = self.network_size(rgb.shape[:2])
        part = ablated_part(drop, region, reading, network_hw)
        if part is None:
            reading = ablated(drop, reading, self.model.config.inputs)
        else:
            reading = partly_ablated(part, reading)
        inputs = self.network_inputs(rgb, reading, network_hw)
        without_rgb = drop == "rgb" and part is None
        return Prepared(rgb.shape[:2], reading, *inputs, without_rgb, time.perf_counter() - started, part)

    def run(self, pairs: Sequence[Prepared]) -> list[KTBOutput]:
        """Run the network on pairs of one network size as one batch, without traces: one output per pair."""
        return _split(self._computed(lambda: self._run(pairs, trace=False), pairs[0].network_hw))

    def run_with_balance(self, pairs: Sequence[Prepared]) -> list[tuple[KTBOutput, tuple[np.ndarray, ...]]]:
        """As `run`, with the balance maps of each pair.

        Returns:
            Per pair its output, and its balance map (h, w) float32 of each level; () if the fusion is a mean.
        """
        output, maps = self._computed(lambda: self._run_with_balance(pairs), pairs[0].network_hw)
        arrays = [level.float().cpu().numpy() for level in maps]
        return [(one, tuple(level[i] for level in arrays)) for i, one in enumerate(_split(output))]

    def frames_at_once(self, network_hw: tuple[int, int]) -> int:
        """How many frames of a video the runtime prefers in one batch: 1 unless a call of it costs much."""
        wanted = getattr(self.runtime, "frames_at_once", None)
        return 1 if wanted is None or self._needs_tiles(network_hw) else wanted(network_hw)

    def finish(self, prepared: Prepared, output: KTBOutput, seconds: float) -> Prediction:
        """Postprocess an output to the RGB image's size; `seconds` is the duration of the network.

        On the CPU, confidences are computed when they are read, as are the labels of an image of more than
        MAX_EAGER_PIXELS.

        Raises:
            ktb.inference.oom.OutOfMemory: a ValueError; memory is insufficient.
        """
        started = time.perf_counter()
        config, size_hw, network_hw = self.model.config, prepared.size_hw, prepared.network_hw
        logits = [getattr(output, branch).float() for branch in BRANCHES]
        distances = self._distances(prepared, output)
        temperatures = dict(zip(BRANCHES, config.temperatures, strict=True))
        on_cpu = logits[0].device.type == "cpu"
        if size_hw[0] * size_hw[1] > MAX_EAGER_PIXELS and on_cpu:
            decisions = LazyDecisions(dict(zip(BRANCHES, logits)), temperatures, size_hw, network_hw)
            maps = LazyMaps(decisions, 0), LazyMaps(decisions, 1)
            verdict = self._verdict(distances, to_host(list(distances.values())))
            return self._prediction(prepared, output, decisions.logits, *maps, verdict, seconds, started)

        def decide() -> list[Tensor]:
            upsampled = [Upsampling(values, size_hw, network_hw) for values in logits]
            labels = [labels_of(one) for one in upsampled]
            made = [] if on_cpu else [confidence_of(*one) for one in zip(upsampled, config.temperatures)]
            return to_host([*logits, *labels, *distances.values(), *made])

        found = iter(self._computed(decide, network_hw))
        host_logits = dict(zip(BRANCHES, found))
        labels = {branch: next(found).numpy() for branch in BRANCHES}
        verdict = self._verdict(distances, [next(found) for _ in distances])
        made = {branch: one.numpy() for branch, one in zip(BRANCHES, found)}
        confidences = made or LazyConfidences(host_logits, temperatures, size_hw, network_hw)
        return self._prediction(prepared, output, host_logits, labels, confidences, verdict, seconds, started)

    def _verdict(self, streams: Iterable[Stream], distances: Sequence[Tensor]) -> DomainVerdict | None:
        domain = self.model.config.domain
        if domain is None or not distances:
            return None
        return DomainVerdict(domain.trained_on, dict(zip(streams, map(float, distances))))

    def _prediction(
        self,
        prepared: Prepared,
        output: KTBOutput,
        logits: Mapping[str, Tensor],
        labels: Mapping[str, np.ndarray],
        confidences: Mapping[str, np.ndarray],
        verdict: DomainVerdict | None,
        seconds: float,
        started: float,
    ) -> Prediction:
        return Prediction(
            model=(config := self.model.config).name,
            classes=config.classes,
            palette=config.palette,
            labels=labels,
            confidences=confidences,
            x=prepared.reading,
            logits=logits,
            trace=output.trace,
            prompts=output.prompts,
            network_hw=prepared.network_hw,
            seconds=prepared.seconds + seconds + time.perf_counter() - started,
            device=getattr(self.runtime, "device", self._device.type),
            runtime=output.runtime,
            precision=self.runtime.precision,
            temperatures=dict(zip(BRANCHES, config.temperatures)),
            expected=config.inputs.modality,
            domain=verdict,
        )

    @contextmanager
    def evaluating(self) -> Iterator[KTB]:
        """Context with the model in evaluation mode; the last thread to leave restores its own mode."""
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
        """The result of `compute` on this model; OutOfMemory with a remedy if memory is insufficient."""
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
        rgb: RgbImage | None = None,
    ) -> EncodedX:
        """Encode an X input at the RGB image's size (height, width) or X's own size.

        rgb: the RGB image from `ktb.read_rgb`, in place of its size.

        Raises:
            ValueError: as for `ktb.inputs.encode_x`, or if `x` and the size are both missing.
        """
        inputs, size_hw = self.model.config.inputs, rgb.pixels.shape[:2] if rgb else size_hw
        if x is not None:
            return encode_x(x, inputs, size_hw, options, rgb)
        if size_hw is None:
            raise ValueError("without X the size of the RGB image is needed; give size_hw")
        return missing_x(inputs, size_hw, rgb)

    def x_options(self, options: XOptions = AUTO) -> XOptions:
        """Options for `ktb.read_x` that read events as in training; see `XOptions.as_trained`."""
        return options.as_trained(self.model.config.inputs)

    def network_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """The network's input size for an image: shorter side as set, both sides multiples of 32.

        Raises:
            ValueError: the size is too large, or the image is a long strip.
        """
        return fitting_size(size_hw, self.short_side, MAX_TILED_PIXELS if self.tile else MAX_NETWORK_PIXELS)

    def network_inputs(
        self, rgb: np.ndarray, reading: EncodedX, network_hw: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Inputs of `KTB.forward` for an RGB image and its X: (1, 3, H, W) float each, on the device.

        Raises:
            OutOfMemory: memory is insufficient for the tensors.
        """

        def upload() -> tuple[Tensor, Tensor]:
            rgb_tensor, x_tensor = (to_network(v, network_hw, self._device) for v in (rgb, reading.image))
            return self.model.normalize_rgb(rgb_tensor), self.model.normalize_x(x_tensor)

        return self._computed(upload, network_hw)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _distances(self, prepared: Prepared, output: KTBOutput) -> dict[Stream, Tensor]:
        """Per present stream its distance to the training images; {} without statistics."""
        domain = self.model.domain
        if domain is None or output.pooled is None or prepared.part is not None:
            return {}
        pooled = [level.to(self._device) for level in output.pooled]
        with torch.inference_mode():
            return domain.distances(pooled, prepared.without_rgb, prepared.reading.origin == "missing")

    @torch.inference_mode()
    def _run(self, pairs: Sequence[Prepared], trace: bool) -> KTBOutput:
        """Output with logits of a quarter of the network's size; graphs cannot ablate single tokens."""
        inputs = self._batch(pairs)
        if self._needs_tiles(pairs[0].network_hw):
            with autocast(self.model, self.runtime.precision):
                return tiled_forward(self.model, **inputs, trace=trace, tile=self.tile)
        runtime = self.runtime
        if any(pair.part for pair in pairs) and not getattr(runtime, "masks_tokens", False):
            runtime = EagerRuntime(self.model, runtime.precision, runtime.why)
        return runtime(**inputs, trace=trace)

    @torch.inference_mode()
    def _run_with_balance(self, pairs: Sequence[Prepared]) -> tuple[KTBOutput, tuple[Tensor, ...]]:
        reduce = getattr(self.runtime, "with_balance", None)
        if reduce is None or self._needs_tiles(pairs[0].network_hw):
            return balance_only(self._run(pairs, trace=True))
        return reduce(**self._batch(pairs))

    def _needs_tiles(self, network_hw: tuple[int, int]) -> bool:
        return bool(self.tile) and max(network_hw) > self.tile

    def _batch(self, pairs: Sequence[Prepared]) -> dict[str, Tensor | None]:
        """The pairs as inputs of the network."""
        mask_rgb, mask_x = stream_masks(pairs, self._device)
        return {
            "rgb": torch.cat([pair.rgb for pair in pairs]),
            "modal_x": torch.cat([pair.modal_x for pair in pairs]),
            "mask_rgb": mask_rgb,
            "mask_x": mask_x,
        }


def balance_only(output: KTBOutput) -> tuple[KTBOutput, tuple[Tensor, ...]]:
    """An output without its traces, and the balance map (B, h, w) of each level."""
    maps = tuple(trace.balance() for trace in output.trace or ())
    return replace(output, trace=None, prompts=None), maps


def _split(output: KTBOutput) -> list[KTBOutput]:
    """The outputs of the pairs of a batch, without traces."""
    parts = {branch: getattr(output, branch).split(1) for branch in BRANCHES}
    found = []
    for i in range(len(parts["fused"])):
        pooled = output.pooled and tuple(level[i : i + 1] for level in output.pooled)
        logits = {branch: parts[branch][i] for branch in BRANCHES}
        found.append(KTBOutput(**logits, pooled=pooled, runtime=output.runtime))
    return found
