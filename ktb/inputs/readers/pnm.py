"""Portable grey, colour and float maps (PGM, PPM, PFM) with unscaled stored values."""

import re

import numpy as np

from ktb.inputs.limits import MAX_TEXT_PICTURE, InputError, check_size

_NUMBER = rb"(?:\s|#[^\n]*\n)+([-+.\w]+)"
_HEADER = re.compile(rb"P([2356Ff])" + 3 * _NUMBER + rb"(?:\s|$)")
_ENOUGH = 4096
"""Maximum bytes of a header with its comments."""


def is_pnm(data: bytes) -> bool:
    """Whether a file is a PGM, PPM or PFM; bitmaps (P1, P4) are not."""
    return data[:2] in (b"P2", b"P3", b"P5", b"P6", b"Pf", b"PF") and data[2:3] in b" \t\r\n#"


def pnm_bytes(start: bytes) -> int:
    """Bytes of an image's values by its header; IndexError for a damaged header."""
    header = _HEADER.match(start[:_ENOUGH])
    if not header or not (header[2].isdigit() and header[3].isdigit()):
        raise IndexError("no such header")
    each = 8 if header[1] in b"23" else 4 if header[1] in b"fF" else 2
    return int(header[2]) * int(header[3]) * (3 if header[1] in b"36F" else 1) * each


def read_pnm(data: bytes, name: str) -> tuple[np.ndarray, str, int | None]:
    """Read the image of a PGM, PPM or PFM file.

    Returns:
        (H, W) or (H, W, 3) uint8, uint16 or float32 as stored; "PGM", "PPM" or "PFM"; the value of white,
        None for floats.

    Raises:
        InputError: damaged, cut off, or outside the limits.
    """
    header = _HEADER.match(data[:_ENOUGH])
    try:
        letter = header[1].decode()
        width, height = int(header[2]), int(header[3])
        top = float(header[4]) if letter in "fF" else int(header[4])
        assert (top != 0 and np.isfinite(top)) if letter in "fF" else 1 <= top <= 65535
    except (TypeError, ValueError, AssertionError) as error:
        raise InputError(f"{name}: the header of this PGM, PPM or PFM is damaged; save it again") from error
    check_size(width, height, name)
    channels = 3 if letter in "36F" else 1
    count, body = width * height * channels, memoryview(data)[header.end() :]
    kind = "PFM" if letter in "fF" else "PGM" if channels == 1 else "PPM"
    if letter in "23":
        values = _plain(body, count, top, name)
    else:
        code = ("<f4" if top < 0 else ">f4") if kind == "PFM" else (">u2" if top > 255 else "u1")
        dtype = np.dtype(code)
        if len(body) < count * dtype.itemsize:
            raise InputError(
                f"{name}: cut off, {len(body):,} of {count * dtype.itemsize:,} bytes are there; save or "
                "send it again"
            )
        values = np.frombuffer(body, dtype, count).astype(dtype.newbyteorder("="))
    picture = values.reshape((height, width, 3) if channels == 3 else (height, width))
    if kind == "PFM":
        return np.ascontiguousarray(picture[::-1]), kind, None  # rows are stored from the bottom up
    return picture, kind, top


def _plain(body: memoryview, count: int, top: int, name: str) -> np.ndarray:
    """Parse values written as decimal numbers."""
    if len(body) > MAX_TEXT_PICTURE:
        raise InputError(f"{name}: too long for numbers written as text; save it as binary PGM")
    try:
        values = np.fromstring(re.sub(rb"#[^\n]*", b"", body), np.int64, sep=" ")[:count]
    except ValueError as error:
        raise InputError(f"{name}: the PGM or PPM holds more than numbers; save it again") from error
    if len(values) < count or values.min() < 0 or values.max() > top:
        raise InputError(f"{name}: the PGM or PPM is cut off or holds values over {top}; save it again")
    return values.astype(np.uint16 if top > 255 else np.uint8)
