"""Decoded size of a file's contents, from its header alone."""

import mmap
import os
import stat
import struct

from ktb.inputs.events.text import looks_like_table
from ktb.inputs.limits import FREE_EXPANSION, MAX_DECODED_BYTES, MAX_EXPANSION, InputError
from ktb.inputs.readers.files import Source
from ktb.inputs.readers.headers import is_tiff, tiff_bytes
from ktb.inputs.readers.numpy_files import stored_npy
from ktb.inputs.readers.pnm import is_pnm, pnm_bytes
from ktb.inputs.readers.stills import bmp_size, jpeg_size, png_size, webp_size

_START = 2**16


def decoded_bytes(source: Source) -> int:
    """Upper bound of the bytes of a file's arrays; 0 for anything but a file.

    The first 64 KiB tell it for most pictures and arrays. Where they do not, it is the most that the readers
    let a file of this size unpack to. Nothing is decoded, and nothing is raised for a damaged file: reading
    it says what is wrong.
    """
    if isinstance(source, bytes):
        return _decoded(source, len(source)) if source else 0
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(source, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or not status.st_size:
                return 0
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _decoded(data, status.st_size)
    except (OSError, ValueError):
        return 0


def _decoded(data: bytes | mmap.mmap, size: int) -> int:
    most = min(MAX_DECODED_BYTES, max(FREE_EXPANSION, MAX_EXPANSION * size))
    try:
        told = _told(data, size)
    except (InputError, struct.error, IndexError):
        return most
    return most if told is None else min(told, most)


def _told(data: bytes | mmap.mmap, size: int) -> int | None:
    """Size by the header; None for formats whose start does not determine it."""
    start = data[:_START]
    if is_tiff(start):
        return tiff_bytes(data)  # its directory may be anywhere
    if is_pnm(start):
        return pnm_bytes(start)
    if start.startswith(b"\x93NUMPY"):
        return stored_npy(start, "").nbytes
    for magic, measure in (
        (b"\x89PNG\r\n\x1a\n", png_size),
        (b"\xff\xd8", jpeg_size),
        (b"RIFF", webp_size),
        (b"BM", bmp_size),
    ):
        if start.startswith(magic):
            width, height, each = measure(start)
            return width * height * each
    if looks_like_table(start, ""):
        return 4 * size  # a line of eight letters is four numbers of eight bytes
    return None
