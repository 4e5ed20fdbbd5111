"""Near infrared: one channel of 8 to 16 bits."""

import numpy as np

from ktb.config import InputConfig
from ktb.inputs.encoders.depth import require_picture
from ktb.inputs.encoders.image import cut_off_note, one_channel, scaled, to_unit_scale
from ktb.inputs.histogram import histogram, to_bytes
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.types import Encoded, RawX

_FEWER_BITS = (8, 10, 12)
_MEAN = (1 / 3, 1 / 3, 1 / 3)


def full_scale(data: np.ndarray) -> int:
    """The stored value of white: for 16-bit files the maximum of 8, 10, 12 or 16 bits.

    The fewest bits that hold every value count: sensors of 10 and 12 bits leave the rest of 16 empty.

    Args:
        data: (...) uint8 or uint16.
    """
    assert data.dtype in (np.uint8, np.uint16)
    if data.dtype == np.uint8:
        return 255
    top = int(data.max())
    return next((2**bits - 1 for bits in _FEWER_BITS if top < 2**bits), 65535)


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode one channel, scaled to 0..1 by `full_scale` or a fixed range; colour images by their mean.

    The range is the user's, else the checkpoint's, in stored values. NaN are holes.

    Raises:
        InputError: no picture, floats outside 0..1 without a range, other dtypes, or nothing but NaN.
    """
    require_picture(raw, "near infrared")
    data, colour = one_channel(raw.data, _MEAN)
    measured = np.isfinite(data)
    if not measured.any():
        raise InputError(f"{raw.name}: no pixel has a value, all are NaN or infinite; check the file")
    data = data if measured.all() else np.where(measured, data, np.nan)
    notes = ()
    if colour:
        notes += ("This near infrared picture is in colour: the mean of its three channels is used.",)
    given = options.value_range or (inputs.range_low, inputs.range_high)
    if given[0] is not None:
        image, used = scaled(data, *given), f"{given[0]:g} to {given[1]:g}, fixed"
        notes += cut_off_note(data, *given, "")
    elif data.dtype in (np.uint8, np.uint16):
        white = full_scale(data)
        image, used = data.astype(np.float32) / white, f"0 to {white:,}"
        if white < np.iinfo(data.dtype).max:
            notes += (
                f"No value of this 16-bit file is above {white:,}: it is taken for {white.bit_length()}-bit "
                "data. Give the range 0 to 65535 if it is a dark picture of 16 bits.",
            )
    else:
        image = data.astype(np.float32)
        to_unit_scale(data[measured], raw.name)  # refuses floats outside 0..1
        used = "0 to 1"
    low, middle, high = np.nanmin(data), np.nanmedian(data), np.nanmax(data)
    extent = f"{low:,g} / {middle:,g} / {high:,g} (min / median / max)"
    facts = {"range": extent, "black to white": used}
    return Encoded(
        image,
        to_bytes(image),
        f"{extent}, scaled from {used}",
        facts,
        histogram(data, "as stored"),
        notes=notes,
    )
