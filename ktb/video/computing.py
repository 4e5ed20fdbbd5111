"""Batches of a video's frames: one frame each, or several where a call of the network costs much."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ktb.inference.prediction import Prediction
from ktb.inputs import RawX, XOptions
from ktb.inputs.sets import SetReading, options_of, settle
from ktb.video.frames import Frame, Frames

if TYPE_CHECKING:
    from ktb.inference.predictor import Predictor
    from ktb.inference.preprocess import Prepared
    from ktb.modeling.model import KTBOutput

MAX_BATCH_BYTES = 256 * 2**20
"""Of the decoded images of a batch; a larger frame is a batch of its own."""
FRAME_ERRORS = (ValueError, OSError, RuntimeError, cv2.error)
"""What one frame may raise; the others are processed."""


@dataclass(eq=False)
class ComputedFrame:
    """A frame with the network's output, not postprocessed yet.

    Attributes:
        frame: the images.
        seconds: duration of reading, preprocessing and the frame's share of the network.
        error: why there is no output, or None.
        prepared, output: the network's input and output.
        balance: the balance map (h, w) of each level.
    """

    frame: Frame
    seconds: float
    error: str | None = None
    prepared: Prepared | None = None
    output: KTBOutput | None = None
    balance: tuple[np.ndarray, ...] = field(default=())

    @property
    def nbytes(self) -> int:
        """Bytes of the frame's images."""
        rgb = 0 if self.frame.rgb is None else self.frame.rgb.nbytes
        return rgb + (0 if self.prepared is None else self.prepared.nbytes)

    def finish(self, predictor: Predictor) -> tuple[Prediction | None, str | None]:
        """The prediction, or None and the error; frees the output."""
        if self.error is not None:
            return None, self.error
        prepared, output, self.prepared, self.output = self.prepared, self.output, None, None
        try:
            return predictor.finish(prepared, output, self.seconds), None
        except FRAME_ERRORS as problem:
            return None, str(problem)


class FrameBatches:
    """Take a video's frames in batches of `Predictor.frames_at_once` frames of one network size.

    Args:
        predictor, frames: the predictor and the frames of the video.
        options: options of X.
        turn: context in which the network runs.
    """

    def __init__(
        self,
        predictor: Predictor,
        frames: Frames,
        options: XOptions,
        turn: Callable[[], AbstractContextManager],
    ):
        self._predictor, self._options, self._turn = predictor, options, turn
        self._prepared = self._prepare_all(frames)
        self._next: ComputedFrame | None = None
        self._reading: SetReading | None = None

    def take(self) -> list[ComputedFrame]:
        """The next frames with their outputs; empty after the last one."""
        batch, size, held = [], 0, 0
        while (one := self._next or next(self._prepared, None)) is not None:
            self._next = one
            if batch and not self._fits(one, batch, held):
                break
            batch.append(one)
            held, self._next = held + one.nbytes, None
            size = size or self._most(one)
            if len(batch) >= max(1, size):
                break
        self._compute([one for one in batch if one.error is None])
        return batch

    def _prepare_all(self, frames: Frames) -> Iterator[ComputedFrame]:
        begun = time.perf_counter()
        for frame in frames:
            error, prepared = frame.error, None
            if error is None:
                try:
                    options = self._x_options(frame)
                    prepared = self._predictor.prepare(frame.image, frame.x, options=options)
                except FRAME_ERRORS as problem:
                    error = str(problem)
            yield ComputedFrame(frame, time.perf_counter() - begun, error, prepared)
            begun = time.perf_counter()

    def _x_options(self, frame: Frame) -> XOptions:
        """The options of a frame's X; what is not said is guessed from the first frame, for all of them."""
        options, inputs = self._options, self._predictor.model.config.inputs
        if not isinstance(frame.x, RawX):
            return options
        if self._reading is None:
            self._reading = settle([(frame.name, frame.x)], inputs, options) or SetReading()
        return options_of(frame.x, self._reading, inputs, options)

    def _most(self, one: ComputedFrame) -> int:
        return 0 if one.prepared is None else self._predictor.frames_at_once(one.prepared.network_hw)

    def _fits(self, one: ComputedFrame, batch: list[ComputedFrame], held: int) -> bool:
        first = next((other.prepared for other in batch if other.prepared is not None), None)
        if first is None or one.prepared is None:  # a failed frame needs no network
            return True
        return one.prepared.network_hw == first.network_hw and held + one.nbytes <= MAX_BATCH_BYTES

    def _compute(self, group: list[ComputedFrame]) -> None:
        """Run the network on frames; a failing group is run again one by one."""
        if not group:
            return
        begun = time.perf_counter()
        try:
            with self._turn():
                found = self._predictor.run_with_balance([one.prepared for one in group])
        except FRAME_ERRORS as problem:
            if len(group) > 1:
                for one in group:
                    self._compute([one])
            else:
                group[0].error = str(problem)
            return
        seconds = (time.perf_counter() - begun) / len(group)
        for one, (output, balance) in zip(group, found, strict=True):
            one.output, one.balance, one.seconds = output, balance, one.seconds + seconds
