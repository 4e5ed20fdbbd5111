"""Image files as numpy arrays, read without loss of levels; harmful files are refused before decoding."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from ktb.inputs.alignment.turn import upright
from ktb.inputs.limits import InputError, check_size
from ktb.inputs.readers.headers import BITS, SAMPLE_FORMAT
from ktb.inputs.readers.pnm import is_pnm, read_pnm
from ktb.inputs.readers.stills import Still, find_still
from ktb.inputs.types import RawX

_DAMAGED = "{}: the picture is damaged or cut off ({}); save or upload it again"
_ORIENTATION = 274
_SEVERAL = "The file holds several pictures: the first one is used."


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded image.

    Attributes:
        pixels: (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, upright, in the file's own dtype.
        format: for display.
        white: the file's value of white, if it says one.
        several: whether more images follow.
        orientation: the EXIF orientation that was applied, 1 to 8.
        notes: for the user.
    """

    pixels: np.ndarray
    format: str
    white: int | None = None
    several: bool = False
    orientation: int = 1
    notes: tuple[str, ...] = ()


def read_picture(data: bytes, name: str) -> RawX:
    """Read an image without loss of levels, turned upright; the first one of several.

    Grey is (H, W), also when it is stored as a palette of greys or with alpha; the rest is (H, W, 3) RGB or
    (H, W, 4) RGBA, in the file's own dtype (1-bit pictures: uint8, 0 and 255).

    Raises:
        InputError: no picture, damaged, or outside the limits (checked before decoding).
    """
    picture = decode(data, name)
    facts = {} if picture.white in (None, 255, 65535) else {"white in the file": str(picture.white)}
    notes = (*picture.notes, *(_SEVERAL,) * picture.several)
    return RawX(
        picture.pixels, picture.format, name, facts=facts, notes=notes, orientation=picture.orientation
    )


def decode(data: bytes, name: str) -> Picture:
    """Decode the first image of a file as stored, upright (InputError as for `read_picture`)."""
    if is_pnm(data):
        pixels, kind, white = read_pnm(data, name)
        return Picture(pixels, f"{_bits(pixels)} {kind}", white)
    still = find_still(data, name)
    try:
        picture = open_still(still, name)
    except InputError:
        if still.format != "TIFF":
            raise
        pixels = _by_opencv(still, name)  # 64-bit floats, colours of floats and more are unknown to Pillow
        return Picture(pixels, f"{_bits(pixels)} TIFF", None, still.several)
    notes: tuple[str, ...] = ()
    with picture:
        mode = picture.mode
        try:
            picture.load()  # cv2 fills up a file that was cut off; Pillow refuses it
            pixels = None if still.is_deep else _by_pillow(picture, still.tags)
            if mode in ("LA", "PA") and (levels := picture.getchannel("A").getextrema())[0] < levels[1]:
                notes = ("The file has a transparency that varies; it was left out.",)
        except Exception as error:  # decoders raise many types for damaged data
            raise InputError(_DAMAGED.format(name, error)) from error
    if pixels is None:
        pixels = _by_opencv(still, name)
    pixels = np.ascontiguousarray(upright(pixels, still.orientation))
    orientation = still.tags.get(_ORIENTATION, (still.orientation,))[0]  # TIFF's decoders have turned it
    extra = {"1": "1-bit", "P": "8-bit palette", "CMYK": "8-bit CMYK"}.get(mode, _bits(pixels))
    kind = "MPO" if still.several and still.format == "JPEG" else still.format
    return Picture(
        pixels,
        f"{extra} {kind}",
        None,
        still.several,
        orientation if orientation in range(1, 9) else 1,
        notes,
    )


def open_still(still: Still, name: str) -> Image.Image:
    """Pillow's image of a still, not decoded yet; InputError if it is damaged."""
    try:
        picture = Image.open(io.BytesIO(still.data), formats=(still.format,))
    except Exception as error:  # plugins raise many types for damaged headers
        raise InputError(_DAMAGED.format(name, "its header")) from error
    if sorted(picture.size) != sorted((still.width, still.height)):
        raise InputError(_DAMAGED.format(name, f"two sizes, {picture.size} and {still.width, still.height}"))
    return picture


def _bits(pixels: np.ndarray) -> str:
    return f"{8 * pixels.dtype.itemsize}-bit" + (" float" if pixels.dtype.kind == "f" else "")


def _by_pillow(picture: Image.Image, tags: Mapping[int, tuple[int, ...]]) -> np.ndarray:
    mode = picture.mode
    if mode in ("P", "PA"):
        colours = np.asarray(picture.convert("RGBA"))[..., :3]
        grey = (colours == colours[..., :1]).all()
        return colours[..., 0] if grey else colours
    if mode == "I":  # Pillow widens 16 bits, and reads 32 as if they had a sign
        unsigned = tags.get(SAMPLE_FORMAT, (1,))[0] == 1
        bits = tags[BITS][0] if BITS in tags else 16
        values = np.asarray(picture)
        if bits == 16:
            return values.astype(np.uint16 if unsigned else np.int16)
        return values.view(np.uint32) if unsigned else values
    if mode.startswith("I;16"):
        return np.asarray(picture).astype(np.uint16)
    if mode in ("1", "La"):
        picture = picture.convert("L" if mode == "1" else "LA")
    elif mode not in ("L", "LA", "RGB", "RGBA", "F"):
        picture = picture.convert("RGBA" if mode == "RGBa" else "RGB")
    values = np.asarray(picture)
    return values[..., 0] if picture.mode == "LA" else values


def _by_opencv(still: Still, name: str) -> np.ndarray:
    """Read formats that Pillow lacks: 16-bit and float colours; grey with alpha is returned as grey."""
    try:
        raw = cv2.imdecode(np.frombuffer(still.data, np.uint8), cv2.IMREAD_UNCHANGED)
    except Exception as error:  # cv2.error, and MemoryError for absurd headers
        raise InputError(_DAMAGED.format(name, error)) from error
    if raw is None:
        raise InputError(_DAMAGED.format(name, "it cannot be decoded"))
    check_size(raw.shape[1], raw.shape[0], name)
    if raw.ndim == 2:
        return raw
    if raw.shape[2] not in (3, 4):
        raise InputError(f"{name}: {raw.shape[2]} channels; give 1, 3 or 4")
    if still.format == "PNG" and still.data[25] == 4:
        return raw[..., 0]
    blue = raw[..., 0].copy()  # in place: of large pictures there is room for one
    raw[..., 0] = raw[..., 2]
    raw[..., 2] = blue
    return raw
