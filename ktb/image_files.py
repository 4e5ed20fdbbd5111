"""Picture and array files as numpy arrays, read without losing levels and refused before they can do harm."""

import io
import math
import zipfile
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image, ImageOps

Source = str | Path | bytes

MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384
MIN_SIDE = 32
MAX_FILE_BYTES = 512 * 2**20

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
        ValueError: not a picture, damaged, or outside the limits (checked before decoding).
    """
    data, name = _load(path_or_bytes, None)
    with _open_header(data, name) as picture:
        try:
            picture = ImageOps.exif_transpose(picture)
            if not picture.mode.startswith(("I", "F")):
                rgb = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
                return np.array(np.asarray(rgb)[..., :3], order="C")
            grey = np.asarray(picture).astype(np.float64)
        except Exception as error:  # decoders raise many types for damaged data
            raise ValueError(_DAMAGED.format(name, error)) from error
    if not np.isfinite(grey).all() or grey.min() < 0 or grey.max() > 65535:
        raise ValueError(f"{name}: grey values {grey.min()}..{grey.max()}; a photo has 0..255 or 0..65535")
    scale = 257 if grey.max() > 255 else 1 / 255 if picture.mode == "F" and grey.max() <= 1 else 1
    return np.repeat(np.round(grey / scale).astype(np.uint8)[..., None], 3, axis=-1)


def read_x(path_or_bytes: Source, filename: str | None = None) -> np.ndarray:
    """Read an X file without losing levels: PNG, PGM, TIFF, JPEG ..., .npy, .npz (`depth` or the first).

    Args:
        path_or_bytes: the file or its contents.
        filename: name for messages; by default that of the path.

    Returns:
        (H, W), (H, W, 3) RGB or (H, W, 4) RGBA; the file's own dtype: unsigned, signed integer or float.

    Raises:
        ValueError: not a readable file, pickled, damaged, or outside the limits (checked before decoding).
    """
    data, name = _load(path_or_bytes, filename)
    if data.startswith(b"\x93NUMPY"):
        return _read_npy(io.BytesIO(data), name)
    if data.startswith(b"PK\x03\x04"):
        return _read_npz(data, name)
    with _open_header(data, name) as picture:
        try:
            picture.load()  # some versions of cv2 fill up a file that was cut off; Pillow refuses it
            orientation = picture.getexif().get(0x0112, 1)
            raw = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except Exception as error:  # decoders raise many types for damaged data
            raise ValueError(_DAMAGED.format(name, error)) from error
    if raw is None:
        raise ValueError(_DAMAGED.format(name, "it cannot be decoded"))
    if raw.ndim == 3:
        raw = cv2.cvtColor(raw, cv2.COLOR_BGR2RGB if raw.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    if orientation in (5, 6, 7, 8):
        raw = raw.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        raw = raw[::-1]
    if orientation in (2, 3, 6, 7):
        raw = raw[:, ::-1]
    return np.ascontiguousarray(raw)


def _load(source: Source, filename: str | None) -> tuple[bytes, str]:
    """Contents and name for messages."""
    if isinstance(source, bytes):
        data, name = source, filename or "the file"
    else:
        name = filename or Path(source).name
        if not Path(source).is_file():
            raise ValueError(f"{name}: there is no such file; check the path")
        with open(source, "rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    if not data:
        raise ValueError(f"{name}: the file is empty (0 bytes); upload it again")
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"{name}: larger than {MAX_FILE_BYTES >> 20} MiB; crop it or store it in 16 bits")
    return data, name


def _open_header(data: bytes, name: str) -> Image.Image:
    """Read the header alone: nothing is decoded, and the size is within the limits."""
    try:
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{name}: more than {MAX_PIXELS:,} pixels; make it smaller") from error
    except Exception as error:  # plugins raise many types for damaged headers
        start = data[:256].lstrip().lower()
        if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg", b"<head")):
            found = "a web page or XML, not a picture; download the picture itself"
        else:
            found = "no picture that can be read, or a damaged one; use PNG, JPEG or TIFF, or for X .npy"
        raise ValueError(f"{name}: {_NOT_READ.get(Path(name).suffix.lower(), 'this is ' + found)}") from error
    _check_size(*picture.size, name)
    return picture


def _check_size(width: int, height: int, name: str) -> None:
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"{name}: {width} x {height} pixels; each side needs at least {MIN_SIDE}")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ValueError(
            f"{name}: {width} x {height} pixels; at most {MAX_SIDE:,} a side and {MAX_PIXELS:,} in all are "
            "taken; make it smaller"
        )


def _read_npy(stream: BinaryIO, name: str) -> np.ndarray:
    """Check the header of a .npy before any memory is taken, then read exactly what it promises."""
    np_format = np.lib.format
    readers = {(1, 0): np_format.read_array_header_1_0, (2, 0): np_format.read_array_header_2_0}
    try:
        shape, column_major, dtype = readers[np_format.read_magic(stream)](stream)
    except Exception as error:  # damaged headers raise many types
        raise ValueError(f"{name}: the .npy header is damaged or of unknown kind; save it again") from error
    check_layout(shape, dtype, name)
    size = math.prod(shape) * dtype.itemsize
    data = stream.read(size)
    if len(data) < size:
        raise ValueError(f"{name}: cut off, {len(data):,} of {size:,} bytes are there; save or send it again")
    flat = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if column_major else "C").squeeze()


def _read_npz(data: bytes, name: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = [entry for entry in archive.namelist() if entry.endswith(".npy")]
            if not arrays:
                raise ValueError(f"{name}: a zip file without arrays; save one with numpy.savez(depth=...)")
            with archive.open("depth.npy" if "depth.npy" in arrays else arrays[0]) as stream:
                return _read_npy(stream, name)
    except (zipfile.BadZipFile, zipfile.zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise ValueError(f"{name}: the .npz file is damaged or locked ({error}); save it again") from error


def check_layout(shape: tuple[int, ...], dtype: np.dtype, name: str = "the X array") -> None:
    if dtype.kind not in "uif":
        kind = "Python objects" if dtype.hasobject else f"dtype {dtype}"
        raise ValueError(f"{name}: holds {kind}; save numbers (uint8, uint16 or float32)")
    sides = [side for side in shape if side != 1]
    if len(sides) not in (2, 3) or (len(sides) == 3 and sides[2] not in (3, 4)):
        hint = " A raw event stream must be made into a picture first." if len(sides) == 1 else ""
        raise ValueError(f"{name}: an array of shape {shape}; give (H, W) or (H, W, 3).{hint}")
    _check_size(sides[1], sides[0], name)
