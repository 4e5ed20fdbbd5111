"""RGB images as 8 bits, with notes about what was changed or is in doubt."""

import warnings

import numpy as np

from ktb.inputs.encoders.byte_order import looks_swapped
from ktb.inputs.encoders.channels import fourth_is_image
from ktb.inputs.limits import InputError
from ktb.inputs.readers.files import Source, load
from ktb.inputs.readers.images import decode
from ktb.inputs.types import RgbImage

_FEWER_BITS = (10, 12, 14)
_IN_RANGE = 0.995  # of float pixels: highlights may lie beyond white


def read_image_rgb(path_or_bytes: Source) -> np.ndarray:
    """Read an RGB image: applies EXIF orientation, drops alpha, converts palette, grey, CMYK and 16-bit.

    16 bits become 8 by rounding v / 257, other maxima of a PPM likewise. An image that uses only 10, 12 or 14
    bits of 16 is taken for one of so many bits. Floats must be in 0..1, 0..255 or 0..65535. Of several
    pictures in a file the first one is taken. What is in doubt is issued as a Python warning; `read_rgb`
    returns it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: not a picture, damaged, or outside the limits (checked before decoding).
    """
    rgb = read_rgb(path_or_bytes)
    turn = f"The image was turned by its EXIF orientation ({rgb.orientation}); an X or labels that lack it "
    turn += "need the same turn. Pass what ktb.read_rgb returns to the predictor for messages about it."
    for note in (*rgb.notes, *(turn,) * (rgb.orientation != 1)):
        warnings.warn(f"{rgb.name}: {note}", stacklevel=2)
    return rgb.pixels


def read_rgb(path_or_bytes: Source, filename: str | None = None) -> RgbImage:
    """Read an RGB image as `read_image_rgb`, with its orientation and notes for the user.

    Raises:
        InputError: as `read_image_rgb`.
    """
    data, name = load(path_or_bytes, filename)
    picture = decode(data, name)
    stored, notes = picture.pixels, ()
    if looks_swapped(stored):
        stored = stored.byteswap()
        notes += (
            "The bytes of each value of this RGB image were in the wrong order, as neighbouring pixels show, "
            "and were swapped.",
        )
    notes += _alpha_notes(stored)
    white = picture.white or _white_of(stored)
    if picture.white is None and white is not None:
        notes += (
            f"No value of this 16-bit RGB image is above {white:,}: it is taken for {white.bit_length()}-bit "
            "data. If it is a dark one of 16 bits, save it in 8 bits.",
        )
    rgb = _to_8_bits(stored, white, picture.white is None, name)
    if rgb.ndim == 2:
        rgb = np.repeat(rgb[..., None], 3, axis=-1)
    pixels = np.array(rgb[..., :3], order="C")
    return RgbImage(pixels, name, picture.format, picture.orientation, notes)


def _alpha_notes(pixels: np.ndarray) -> tuple[str, ...]:
    """A note on a fourth channel that varies."""
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels[..., 3].min() == pixels[..., 3].max():
        return ()
    if fourth_is_image(pixels):
        return (
            "The RGB image has a fourth channel that varies, which is no transparency; only its colours were "
            "taken. If the channel is thermal, near infrared or depth, give the same file as X as well.",
        )
    share = f"{100 * np.mean(pixels[..., 3] == 0):.1f} %"
    return (f"The transparency of the RGB image was dropped; {share} of its pixels are transparent.",)


def _white_of(pixels: np.ndarray) -> int | None:
    """The value of white of 10, 12 or 14 bits in 16; None for other images.

    8 bits that were widened by 256 or 257 use all 16, also in a dark image.
    """
    if pixels.dtype != np.uint16:
        return None
    top = int(pixels.max())
    if top < 256 or any(not (pixels % factor).any() for factor in (256, 257)):
        return None
    return next((2**bits - 1 for bits in _FEWER_BITS if top < 2**bits), None)


def _to_8_bits(pixels: np.ndarray, white: int | None, by_bits: bool, name: str) -> np.ndarray:
    low, high = pixels.min(), pixels.max()
    if not (low >= 0 and high <= 65535):  # false for NaN as well
        raise InputError(f"{name}: values {low}..{high}; a photo has 0..255 or 0..65535")
    if pixels.dtype == np.uint8 and white in (None, 255):
        return pixels
    is_float = pixels.dtype.kind == "f"
    if is_float:  # highlights of a rendered image are above 1
        high = next((top for top in (1, 255) if np.mean(pixels <= top) >= _IN_RANGE), high)
    rgb = np.empty(pixels.shape, np.uint8)
    factor = 1 / 257 if high > 255 else 255 if high <= 1 else 1
    levels = np.empty(0) if is_float else _table(white or (65535 if high > 255 else 255), by_bits and white)
    for row, values in zip(rgb, pixels):  # by rows, for indices and doubles take many times the room
        if is_float:
            row[:] = np.minimum(np.rint(values * factor), 255)
        else:
            row[:] = levels[np.minimum(values.astype(np.int64), len(levels) - 1)]
    return rgb


def _table(white: int, by_bits: bool | int | None) -> np.ndarray:
    """8-bit value of every stored value up to white: the upper 8 bits, or rounded v * 255 / white."""
    stored = np.arange(white + 1)
    if by_bits:
        return np.minimum(np.rint(stored * (256 / (white + 1))), 255).astype(np.uint8)
    return ((stored * 510 + white) // (2 * white)).astype(np.uint8)
