"""One run of a pair, as the page keeps it for a session."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ktb import Prediction, analysis
from ktb.analysis.types import LevelMaps
from ktb.inputs import XReading
from ktb.modeling.memo import Recent

DRAWN = 48  # pictures of a result, 10 to a few hundred KiB each


@dataclass(frozen=True)
class XView:
    """An X input as it was read, and what of the raw input decides which corrections make sense.

    Attributes:
        reading: what the network gets, and what is said about it.
        span_ms: length of the recording that an event stream comes from, None if X is no stream.
        window_ms: (start, end) of the events in the image, from the recording's first one; None as above.
        is_one_channel: a picture of one channel, from which HHA has to be computed.
    """

    reading: XReading
    span_ms: float | None = None
    window_ms: tuple[float, float] | None = None
    is_one_channel: bool = False


class LazyLevels(Sequence[LevelMaps]):
    """The fusion's maps by level: worked out when one is first looked at, once however many threads look."""

    def __init__(self, prediction: Prediction):
        self._traces = prediction.trace or ()  # a mean has no attention
        self._prompts = prediction.prompts or (None,) * len(self._traces)
        self._network_hw = prediction.network_hw
        self._maps: tuple[LevelMaps, ...] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._traces)

    def __getitem__(self, level):
        with self._lock:
            if self._maps is None:
                self._maps = tuple(
                    analysis.level_maps(trace, number, self._network_hw, prompts)
                    for number, (trace, prompts) in enumerate(zip(self._traces, self._prompts))
                )
        return self._maps[level]


@dataclass(frozen=True)
class Result:
    """One run: the photograph, what X is called, what the network said, the fusion per level, and X.

    `offered_as` is what `Service` calls the checkpoint; it may differ from the name that the file carries.
    `drawn` keeps the pictures that were drawn of it last, `inspected` what all levels say of the last pixel.
    """

    rgb: np.ndarray
    x_name: str
    prediction: Prediction
    levels: Sequence[LevelMaps]
    x: XView
    offered_as: str = ""
    drawn: Recent = field(default_factory=lambda: Recent(DRAWN), init=False, repr=False, compare=False)
    inspected: Recent = field(default_factory=lambda: Recent(1), init=False, repr=False, compare=False)

    @property
    def x_is_missing(self) -> bool:
        """Whether the network ran on the photograph alone."""
        return self.prediction.x.origin == "missing"
