"""Degree and angle of linear polarization, from maps or from pictures behind a polarizer."""

from collections.abc import Sequence

from ktb.config import InputConfig
from ktb.modalities import image
from ktb.modalities.encoded import Encoded
from ktb.modalities.limits import InputError
from ktb.modalities.options import XOptions
from ktb.modalities.raw import RawX


def join_files(parts: Sequence[RawX]) -> RawX:
    """Four pictures by angle, or sine and cosine, as one input."""
    raise InputError(f"{len(parts)} files as X are not read yet; give one")


def encode_dolp(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """As a plain picture."""
    return image.encode(raw, inputs, options)


def encode_aolp(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """As a plain picture."""
    return image.encode(raw, inputs, options)
