"""Encoders of event streams: the frame of counts and recency, the voxel grid, the time surface."""

from ktb.config import InputConfig
from ktb.modalities import image
from ktb.modalities.encoded import Encoded, histogram
from ktb.modalities.events import EventStream, event_frame
from ktb.modalities.options import XOptions
from ktb.modalities.raw import RawX


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """A stream as the frame of counts and recency; a picture as it is."""
    if not isinstance(raw.data, EventStream):
        return image.encode(raw, inputs, options)
    frame = event_frame(raw.data)
    found = histogram(raw.data.t / 1e3, "ms")
    summary = f"{len(raw.data):,} events"
    return Encoded(frame.astype("float32") / 255, frame, summary, {}, found, "nearest")
