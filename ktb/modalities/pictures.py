"""Picture and array files as numpy arrays, read without losing levels and refused before they can do harm."""

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from ktb.modalities.files import Source, load
from ktb.modalities.limits import MAX_PIXELS, InputError, check_size

# Readers that are tried; the rest of Pillow's (some of them start other programs) stay closed to uploads.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_NOT_READ = {
    ".exr": "OpenEXR is not read; save the depth as .npy in metres or as 16-bit PNG in millimetres",
    ".h5": "HDF5 is not read; save the array as .npy",
    ".hdf5": "HDF5 is not read; save the array as .npy",
    ".mat": "MATLAB files are not read; save the array as .npy",
    ".csv": "tables are not read; save an array (H, W) as .npy",
    ".txt": "tables are not read; save an array (H, W) as .npy",
}

_DAMAGED = "{}: the picture is damaged or cut off ({}); save or upload it again"


def read_image_rgb(path_or_bytes: Source) -> np.ndarray:
    """Read a photo: EXIF orientation applied, alpha dropped, palette, grey and 16-bit converted.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        InputError: not a picture, damaged, or outside the limits (checked before decoding).
    """
    data, name = load(path_or_bytes, None)
    with _open_header(data, name) as picture:
        try:
            picture = ImageOps.exif_transpose(picture)
            if not picture.mode.startswith(("I", "F")):
                rgb = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
                return np.array(np.asarray(rgb)[..., :3], order="C")
            grey = np.asarray(picture).astype(np.float64)
        except Exception as error:  # decoders raise many types for damaged data
            raise InputError(_DAMAGED.format(name, error)) from error
    if not np.isfinite(grey).all() or grey.min() < 0 or grey.max() > 65535:
        raise InputError(f"{name}: grey values {grey.min()}..{grey.max()}; a photo has 0..255 or 0..65535")
    scale = 257 if grey.max() > 255 else 1 / 255 if picture.mode == "F" and grey.max() <= 1 else 1
    return np.repeat(np.round(grey / scale).astype(np.uint8)[..., None], 3, axis=-1)


def decode_picture(data: bytes, name: str) -> tuple[np.ndarray, str]:
    """A picture without losing levels, turned upright.

    Returns:
        (H, W), (H, W, 3) RGB or (H, W, 4) RGBA in the file's own dtype, and the format, such as "16-bit PNG".

    Raises:
        InputError: no picture, damaged, or outside the limits (checked before decoding).
    """
    with _open_header(data, name) as picture:
        try:
            picture.load()  # some versions of cv2 fill up a file that was cut off; Pillow refuses it
            kind, orientation = picture.format, picture.getexif().get(0x0112, 1)
            raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except Exception as error:  # decoders raise many types for damaged data
            raise InputError(_DAMAGED.format(name, error)) from error
    if raw is None:
        raise InputError(_DAMAGED.format(name, "it cannot be decoded"))
    if raw.ndim == 3:
        raw = cv2.cvtColor(raw, cv2.COLOR_BGR2RGB if raw.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    if orientation in (5, 6, 7, 8):
        raw = raw.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        raw = raw[::-1]
    if orientation in (2, 3, 6, 7):
        raw = raw[:, ::-1]
    bits = f"{8 * raw.dtype.itemsize}-bit" + (" float" if raw.dtype.kind == "f" else "")
    return np.ascontiguousarray(raw), f"{bits} {kind}"


def _open_header(data: bytes, name: str) -> Image.Image:
    """Read the header alone: nothing is decoded, and the size is within the limits."""
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{name}: more than {MAX_PIXELS:,} pixels; make it smaller") from error
    except Exception as error:  # plugins raise many types for damaged headers
        start = data[:256].lstrip().lower()
        if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg", b"<head")):
            found = "a web page or XML, not a picture; download the picture itself"
        else:
            found = "no picture that can be read, or a damaged one; use PNG, JPEG or TIFF, or for X .npy"
        raise InputError(f"{name}: {_NOT_READ.get(Path(name).suffix.lower(), 'this is ' + found)}") from error
    check_size(*picture.size, name)
    return picture
