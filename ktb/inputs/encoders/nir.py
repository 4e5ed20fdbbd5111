"""Near infrared: one channel of 8 to 16 bits."""

import numpy as np

from ktb.config import InputConfig
from ktb.inputs.encoders.depth import require_picture
from ktb.inputs.encoders.image import cut_off_note, one_channel, scaled, to_unit_scale
from ktb.inputs.encoders.no_data import find_no_data
from ktb.inputs.histogram import ends, histogram, to_bytes
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.types import Encoded, MeasuredValues, RawX
from ktb.modalities import FULL_SCALE

_FEWER_BITS = (8, 10, 12, 14)
_MEAN = (1 / 3, 1 / 3, 1 / 3)
_IN_RANGE = 0.995  # of the pixels: glints and defective pixels may lie beyond white
_GLINT = 4  # times as bright as these pixels: not the upper end of what the sensor sees
_BELOW_BLACK = -0.1  # calibration makes reflectances a little negative


def full_scale(data: np.ndarray) -> int:
    """The stored value of white: for 16-bit files the maximum of 8, 10, 12, 14 or 16 bits.

    The fewest bits that hold nearly every value count: sensors of 10 to 14 bits leave the rest of 16 empty,
    and a glint must not darken the image.

    Args:
        data: (...) uint8 or uint16.
    """
    assert data.dtype in (np.uint8, np.uint16)
    if data.dtype == np.uint8:
        return 255
    top, usual = int(data.max()), ends(data.reshape(-1), 50, 100 * _IN_RANGE)[1]
    top = usual if top > _GLINT * usual else top
    return next((2**bits - 1 for bits in _FEWER_BITS if top < 2**bits), 65535)


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode one channel, scaled to 0..1 by `full_scale` or a fixed range; colour images by their mean.

    The range is the user's, else the checkpoint's, in stored values; a checkpoint's FULL_SCALE is that of the
    file's type, as MCubeS was divided. NaN and no-data values are holes. Without a range, values beyond white
    are clipped with a note.

    Raises:
        InputError: no picture, most floats outside 0..1 without a range, other dtypes, or nothing but NaN.
    """
    require_picture(raw, "near infrared")
    data, colour = one_channel(raw.data, _MEAN)
    missing = find_no_data(data)
    measured = ~missing.holes
    if not measured.any():
        raise InputError(f"{raw.name}: no pixel has a value, all are NaN or infinite; check the file")
    if data.dtype.kind == "i" and 0 <= data[measured].min() <= data[measured].max() <= 65535:
        data = np.where(measured, data, 0).astype(np.uint16)
    stored = data.dtype
    if not measured.all():
        data = np.where(measured, data, np.nan).astype(np.float32 if stored.itemsize < 4 else np.float64)
    notes = ()
    if colour:
        notes += ("This near infrared picture is in colour: the mean of its three channels is used.",)
    given = options.value_range or _training_range(data, stored, inputs)
    if given[0] is not None:
        image, used = scaled(data, *given), f"{given[0]:g} to {given[1]:g}, fixed"
        notes += cut_off_note(data, *given, "")
        if options.value_range is None:
            notes += _dark_note(data[measured].astype(stored), given)
    elif stored in (np.uint8, np.uint16):
        white = full_scale(data[measured].astype(stored))
        image, used = np.clip(data.astype(np.float32) / white, 0, 1), f"0 to {white:,}"
        if white < np.iinfo(stored).max:
            notes += _fewer_bits_note(data[measured], white)
    else:
        _require_unit_scale(data[measured], raw.name)
        image, used = np.clip(data.astype(np.float32), 0, 1), "0 to 1"
        notes += _beyond_note(data[measured], 1)
    low, middle, high = np.nanmin(data), np.nanmedian(data), np.nanmax(data)
    extent = f"{low:,g} / {middle:,g} / {high:,g} (min / median / max)"
    facts = {"range": extent, "black to white": used}
    if not measured.all():
        where = f", stored as {missing.what}" if missing.what else ""
        facts["holes"] = f"{100 * (1 - measured.mean()):.1f} %{where}"
    return Encoded(
        image,
        to_bytes(image),
        f"{extent}, scaled from {used}",
        facts,
        histogram(data, "as stored"),
        notes=notes,
        measured=MeasuredValues(data.astype(np.float32), ""),
    )


def _fewer_bits_note(values: np.ndarray, white: int) -> tuple[str, ...]:
    beyond = _beyond_note(values, white)
    few = "Hardly any" if beyond else "No"
    return (
        f"{few} value of this 16-bit file is above {white:,}: it is taken for {white.bit_length()}-bit "
        "data. Give the range 0 to 65535 if it is a dark picture of 16 bits.",
        *beyond,
    )


def _beyond_note(values: np.ndarray, white: int) -> tuple[str, ...]:
    """A note on glints: pixels beyond white."""
    count = np.count_nonzero(values > white)
    share = f"{100 * count / values.size:.2g} %"
    return (f"{share} of the pixels are brighter than {white:,} and are taken as white.",) if count else ()


def _require_unit_scale(values: np.ndarray, name: str) -> None:
    """InputError unless nearly all floats are in 0..1; a glint reflects more, and calibration less."""
    if values.dtype.kind == "f" and np.mean((values >= _BELOW_BLACK) & (values <= 1)) >= _IN_RANGE:
        return
    to_unit_scale(values, name)


def _training_range(
    data: np.ndarray, stored: np.dtype, inputs: InputConfig
) -> tuple[float | None, float | None]:
    """The checkpoint's black and white level in the values (NaN in holes) of a file that stores this type.

    None without a range.
    """
    given = inputs.range_low, inputs.range_high
    if given != FULL_SCALE:
        return given
    if stored.kind == "f" and np.nanmax(data) <= 1:
        return 0.0, 1.0
    return (0.0, 255.0) if stored == np.uint8 else given


def _dark_note(data: np.ndarray, given: tuple[float, float]) -> tuple[str, ...]:
    """A note if a 16-bit file may hold fewer bits than the checkpoint divides by."""
    if given != FULL_SCALE or data.dtype != np.uint16 or (white := full_scale(data)) == FULL_SCALE[1]:
        return ()
    return (
        "As in its training, this checkpoint divides 16-bit near infrared by 65,535, and no value of this "
        f"file is above {white:,}. If the file holds {white.bit_length()}-bit data, give the range 0 to "
        f"{white}.",
    )
