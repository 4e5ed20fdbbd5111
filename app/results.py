"""The result of one run, as stored for a session."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import numpy as np

from ktb import Prediction
from ktb.analysis import Inspection
from ktb.checkpoints.choice import ModelChoice
from ktb.inference.prediction import Drop
from ktb.inputs import EncodedX


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

    `inspection` caches the maps of each level for the viewer and the downloads; it is None where the
    prediction has no trace. `offered_as` is the checkpoint's name in `Service`, which may differ from the
    name in the file. `device_why` is the reason for the choice of the device. `ablated` holds the predictions
    with a sensor ablated that were made so far. `id` tells runs apart.
    """

    rgb: np.ndarray
    x_name: str
    prediction: Prediction
    inspection: Inspection | None
    x: XView
    offered_as: str = ""
    device_why: str = ""
    ablated: dict[Drop, Prediction] = field(default_factory=dict, repr=False, compare=False)
    id: str = field(default_factory=lambda: uuid.uuid4().hex, init=False, compare=False)

    @property
    def x_is_missing(self) -> bool:
        """Whether the network ran on the RGB image alone."""
        return self.prediction.x.origin == "missing"
