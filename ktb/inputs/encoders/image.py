"""X inputs that are images already: projected LiDAR, event frames, others with 1 or 3 channels."""

import numpy as np

from ktb.config import InputConfig
from ktb.inputs.encoders.depth import is_colour, require_picture
from ktb.inputs.encoders.no_data import find_no_data
from ktb.inputs.histogram import histogram, to_bytes
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.types import Encoded, RawX


def to_unit_scale(data: np.ndarray, name: str = "X") -> np.ndarray:
    """Convert (H, W[, C]) to float32 in 0..1 without alpha: uint8 / 255, uint16 / 65535, floats unchanged.

    NaN stay.

    Raises:
        InputError: the dtype is unsupported, or floats are outside 0..1 or all NaN.
    """
    if data.dtype not in (np.uint8, np.uint16) and data.dtype.kind != "f":
        raise InputError(f"{name} has dtype {data.dtype}: give uint8, uint16, or floats in 0..1")
    if data.dtype.kind == "f":
        if np.isnan(data).all():
            raise InputError(f"{name}: no pixel has a value, all are NaN; check the file")
        low, high = np.nanmin(data), np.nanmax(data)
        if low < 0 or high > 1:
            raise InputError(
                f"{name} has values {low:g}..{high:g}: as a picture, floats must be in 0..1. Divide by the "
                "sensor's maximum; if these are metres or temperatures, say what X is"
            )
    image = data.astype(np.float32) / (np.iinfo(data.dtype).max if data.dtype.kind == "u" else 1)
    return image[..., :3] if image.ndim == 3 else image


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode an image of 1 or 3 channels, scaled to 0..1 by its dtype (InputError as for `to_unit_scale`)."""
    require_picture(raw, "a plain picture")
    data, missing = raw.data, ""
    if data.dtype.kind == "f":
        found = [find_no_data(plane) for plane in np.atleast_3d(data).transpose(2, 0, 1)]
        holes = np.logical_or.reduce([one.holes for one in found])
        data = np.where(holes if data.ndim == 2 else holes[..., None], np.nan, data)
        missing = found[0].what
    image = to_unit_scale(data, raw.name)
    channels = data.shape[2] if data.ndim == 3 else 1
    low, middle, high = np.nanmin(image), np.nanmedian(image), np.nanmax(image)
    extent = f"{low:.2f} / {middle:.2f} / {high:.2f} of full scale (min / median / max)"
    summary = f"{channels} channel{'s' * (channels > 1)}: {extent}"
    facts = {"channels": str(channels), "range": extent}
    if np.isnan(image).any():
        share = np.isnan(image.reshape(*image.shape[:2], -1)).any(axis=-1).mean()
        facts["holes"] = f"{100 * share:.1f} %" + (f", stored as {missing}" if missing else "")
    return Encoded(image, to_bytes(image), summary, facts, histogram(image, "of full scale"))


def one_channel(data: np.ndarray, weights: tuple[float, float, float]) -> tuple[np.ndarray, bool]:
    """The single stored channel of an image with equal channels; else their weighted sum.

    Args:
        data: (H, W), (H, W, 3) or (H, W, 4), whose alpha is dropped.
        weights: of the three channels, adding up to 1.

    Returns:
        (H, W) of the stored type (sums of integers are rounded), and whether the picture is plainly in
        colour: more than JPEG makes of grey.
    """
    if data.ndim == 2:
        return data, False
    first, second, third = np.moveaxis(data[..., :3], -1, 0)
    equal_nan = data.dtype.kind == "f"
    if np.array_equal(first, second, equal_nan) and np.array_equal(first, third, equal_nan):
        return np.ascontiguousarray(first), False
    mixed = sum(np.float32(weight) * channel for weight, channel in zip(weights, (first, second, third)))
    # Of the stored type, because that says what the values mean: 8 bits are a picture already.
    mixed = mixed if data.dtype.kind == "f" else np.rint(mixed)
    return mixed.astype(data.dtype), is_colour(data)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map values (...) to float32 with `low` at 0 and `high` at 1, clipped; NaN remains."""
    span = np.float32(high) - np.float32(low)
    return np.clip((values.astype(np.float32) - np.float32(low)) / (span if span > 0 else 1), 0, 1)


def cut_off_note(values: np.ndarray, low: float, high: float, unit: str) -> tuple[str, ...]:
    """A sentence if more than a tenth of the measured values lie outside a fixed range."""
    outside = np.count_nonzero((values < low) | (values > high)) / max(np.isfinite(values).sum(), 1)
    if outside <= 0.1:
        return ()
    return (
        f"{100 * outside:.0f} % of the pixels lie outside the range {low:g} to {high:g}{unit} and are cut "
        "off: check the range and the unit.",
    )
