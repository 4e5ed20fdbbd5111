"""One run of a pair, as the page keeps it for a session."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ktb import Prediction
from ktb.analysis import Inspection
from ktb.inputs import EncodedX
from ktb.modeling.memo import Memo

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

    reading: EncodedX
    span_ms: float | None = None
    window_ms: tuple[float, float] | None = None
    is_one_channel: bool = False


@dataclass(frozen=True)
class Result:
    """One run: the RGB image, what X is called, what the network said, a look into its fusion, and X.

    `inspection` keeps the maps of each level that was looked at, for every tab and download; None where the
    prediction has no trace. `offered_as` is what `Service` calls the checkpoint; it may differ from the name
    that the file carries.
    `drawn` keeps the pictures that were drawn of it last, `inspected` what all levels say of the last pixel.
    """

    rgb: np.ndarray
    x_name: str
    prediction: Prediction
    inspection: Inspection | None
    x: XView
    offered_as: str = ""
    drawn: Memo = field(default_factory=lambda: Memo(DRAWN), init=False, repr=False, compare=False)
    inspected: Memo = field(default_factory=lambda: Memo(1), init=False, repr=False, compare=False)

    @property
    def x_is_missing(self) -> bool:
        """Whether the network ran on the RGB image alone."""
        return self.prediction.x.origin == "missing"
