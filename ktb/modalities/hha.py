"""Encoder "hha"."""

from ktb.config import InputConfig
from ktb.modalities import image
from ktb.modalities.encoded import Encoded
from ktb.modalities.options import XOptions
from ktb.modalities.raw import RawX


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """As a plain picture."""
    return image.encode(raw, inputs, options)
