"""The result of one run, as stored for a session."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from app.html.images import fitted_hw
from ktb import Prediction
from ktb.analysis import Inspection
from ktb.checkpoints.choice import ModelChoice
from ktb.inference.prediction import Drop
from ktb.inputs import EncodedX
from ktb.modeling.memo import Memo

DRAWN = 48  # cached pictures per result, 10 to a few hundred KiB each


@dataclass(frozen=True)
class XView:
    """An encoded X, and the properties of the raw input that decide which options apply.

    Attributes:
        reading: the network's input, with its description and warnings.
        span_ms: length of the event stream, None if X is not one.
        window_ms: (start, end) of the events in the image, from the stream's first event; None as above.
        is_one_channel: whether X is a single-channel image, from which HHA has to be computed.
        choice: the automatically chosen model, None if a person named it.
        question: what to ask the visitor about an X whose sensor neither content nor name tells; "" for none.
    """

    reading: EncodedX
    span_ms: float | None = None
    window_ms: tuple[float, float] | None = None
    is_one_channel: bool = False
    choice: ModelChoice | None = None
    question: str = ""


@dataclass(frozen=True)
class Result:
    """One run: the RGB image, the name of X, the prediction, the inspection of its fusion, and X.

    `inspection` caches the maps of each inspected level for every tab and download; it is None where the
    prediction has no trace. `offered_as` is the checkpoint's name in `Service`, which may differ from the
    name in the file. `device_why` is the reason for the choice of the device. `ablated` holds the predictions
    with a sensor ablated that were made so far. `drawn` caches the pictures drawn last, `inspected` the last
    inspected pixel at all levels.
    """

    rgb: np.ndarray
    x_name: str
    prediction: Prediction
    inspection: Inspection | None
    x: XView
    offered_as: str = ""
    device_why: str = ""
    ablated: dict[Drop, Prediction] = field(default_factory=dict, init=False, repr=False, compare=False)
    drawn: Memo = field(default_factory=lambda: Memo(DRAWN), init=False, repr=False, compare=False)
    inspected: Memo = field(default_factory=lambda: Memo(1), init=False, repr=False, compare=False)

    @property
    def shown(self) -> Prediction:
        """The prediction that pictures and tables show: itself, or a regular sample of a lazy one."""
        if not self.prediction.is_lazy:
            return self.prediction
        size_hw = fitted_hw(self.prediction.size_hw)
        return self.drawn.get("shown", lambda: self.prediction.sampled(size_hw))

    @property
    def x_is_missing(self) -> bool:
        """Whether the network ran on the RGB image alone."""
        return self.prediction.x.origin == "missing"
