"""X that is a picture already: NIR, projected LiDAR, event frames, anything else of 1 or 3 channels."""

import numpy as np

from ktb.config import InputConfig
from ktb.modalities.encoded import Encoded, histogram, to_bytes
from ktb.modalities.limits import InputError
from ktb.modalities.options import XOptions
from ktb.modalities.raw import RawX


def to_unit_scale(data: np.ndarray, name: str = "X") -> np.ndarray:
    """(H, W[, C]) -> float32 in 0..1 with alpha dropped: uint8 / 255, uint16 / 65535, floats as they are.

    Raises:
        InputError: another dtype, or floats outside 0..1.
    """
    if data.dtype not in (np.uint8, np.uint16) and data.dtype.kind != "f":
        raise InputError(f"{name} has dtype {data.dtype}: give uint8, uint16, or floats in 0..1")
    if data.dtype.kind == "f" and not (data.min() >= 0 and data.max() <= 1):  # false for NaN as well
        raise InputError(
            f"{name} has values {data.min():g}..{data.max():g}: as a picture, floats must be in 0..1. Divide "
            "by the sensor's maximum; if these are metres or temperatures, say what X is"
        )
    image = data.astype(np.float32) / (np.iinfo(data.dtype).max if data.dtype.kind == "u" else 1)
    return image[..., :3] if image.ndim == 3 else image


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """A picture of 1 or 3 channels, scaled to 0..1 by its dtype (InputError as `to_unit_scale`)."""
    image = to_unit_scale(raw.data, raw.name)
    channels = raw.data.shape[2] if raw.data.ndim == 3 else 1
    low, middle, high = image.min(), np.median(image), image.max()
    extent = f"{low:.2f} / {middle:.2f} / {high:.2f} of full scale (min / median / max)"
    summary = f"{channels} channel{'s' * (channels > 1)}: {extent}"
    facts = {"channels": str(channels), "range": extent}
    return Encoded(image, to_bytes(image), summary, facts, histogram(image, "of full scale"))
