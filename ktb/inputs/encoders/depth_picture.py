"""Depth for checkpoints that take it as a plain picture, at the scale of their training pictures."""

from dataclasses import replace

import numpy as np

from ktb.config import InputConfig
from ktb.inputs.encoders import image
from ktb.inputs.encoders.depth import depth_facts, depth_notes, depth_of
from ktb.inputs.histogram import histogram
from ktb.inputs.limits import InputError
from ktb.inputs.options import XOptions
from ktb.inputs.types import Encoded, RawX

_ROTATED = 0.99  # of the levels; more distant ones have lower bits as well
_EIGHT_BITS = (
    "This checkpoint takes depth as a plain picture, and 8-bit depth is used as stored. If this file is no "
    "8-bit copy of its training pictures, say its unit; it is then converted to their scale."
)


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode depth as the training pictures of the checkpoint have it.

    With `inputs.picture_metres`, depth of any unit is converted: metres / picture_metres, 0 where nothing was
    measured. 8-bit depth of no given unit is used as stored, with a note. Without `picture_metres` the scale
    of the training pictures is unknown: pictures are used as stored, with a note unless they have 8 bits.

    Raises:
        InputError: as `depth.depth_of` and `image.encode`; depth in metres where the scale is unknown.
    """
    scale = inputs.picture_metres
    has_8_bits = isinstance(raw.data, np.ndarray) and raw.data.dtype == np.uint8
    if scale is None:
        return _as_stored(raw, inputs, options, has_8_bits)
    if has_8_bits and options.unit == "auto":
        encoded = image.encode(raw, inputs, options)
        return replace(encoded, notes=(*encoded.notes, _EIGHT_BITS))
    depth = depth_of(raw, _as_in_training(raw, options))
    facts = depth_facts(depth, raw) | {"as a picture": f"1 is {scale:.2f} m, holes are 0, as in training"}
    return Encoded(
        np.clip(np.nan_to_num(depth.metres) / np.float32(scale), 0, 1),
        depth.metres,
        f"{facts['unit']}: {facts['range']}, as a picture whose 1 is {scale:.2f} m",
        facts,
        histogram(depth.metres, "m"),
        notes=depth_notes(depth, raw),
        depth=depth,
        far_is_bright=False,
    )


def _as_in_training(raw: RawX, options: XOptions) -> XOptions:
    """Options for a file in SUN RGB-D's own format, which is expected here: bit-rotated millimetres.

    Rotated by 3 bits, millimetres below 8.192 m are multiples of 8.
    """
    if options.unit != "auto" or raw.kind != "picture" or raw.data.dtype != np.uint16:
        return options
    levels = np.flatnonzero(np.bincount(raw.data.ravel(), minlength=65536)[1:]) + 1
    is_rotated = levels.size and np.mean(levels % 8 == 0) >= _ROTATED
    return replace(options, unit="sun") if is_rotated else options


def _as_stored(raw: RawX, inputs: InputConfig, options: XOptions, has_8_bits: bool) -> Encoded:
    try:
        encoded = image.encode(raw, inputs, options)
    except InputError as error:
        if raw.kind == "picture" and raw.data.dtype.kind == "f":
            raise InputError(
                f"{raw.name}: this checkpoint takes depth as a picture whose scale is not known, so metres "
                "cannot be converted; give pictures as in its training, or floats in 0..1 on their scale"
            ) from error
        raise
    if has_8_bits and options.unit == "auto":
        return encoded
    note = (
        "Depth is taken as a plain picture here: its values are used as stored, full scale being 1, and no "
        "unit is used. The checkpoint does not name the scale of its training pictures; depth of another "
        "scale gives unreliable results."
    )
    return replace(encoded, notes=(*encoded.notes, note))
