"""Headers of an OpenEXR file, checked before the decoder allocates memory."""

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from ktb.inputs.limits import MAX_ENTRIES, InputError

EXR_MAGIC = b"\x76\x2f\x31\x01"
_TILED, _LONG_NAMES, _DEEP, _MULTIPART = 0x200, 0x400, 0x800, 0x1000
_MAX_ATTRIBUTES = 1000
_PIXEL_BYTES = {0: 4, 1: 2, 2: 4}
Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class ExrPart:
    """The header of one part; windows are (left, top, right, bottom), inclusive.

    Attributes:
        channels: their names.
        data, display: where pixels are, and what is to be seen.
        deep: several values for each pixel.
        subsampled: channels of fewer pixels than others.
        pieces: how many tiles or lines are stored apart, an upper bound.
        piece_bytes: of the largest of them, unpacked.
    """

    channels: tuple[str, ...]
    data: Window
    display: Window
    deep: bool
    subsampled: bool
    pieces: int
    piece_bytes: int


def read_exr_header(data: bytes, name: str) -> list[ExrPart]:
    """The parts of a file; InputError for a damaged header, or for too many parts or attributes."""
    try:
        if data[:4] != EXR_MAGIC or data[4] != 2:
            raise ValueError("another version")
        flags, place, parts = struct.unpack_from("<I", data, 4)[0], 8, []
        while True:
            attributes, place = _attributes(data, place)
            parts.append(_part(attributes, flags))
            if not flags & _MULTIPART or data[place : place + 1] == b"\0":
                return parts
            if len(parts) > MAX_ENTRIES:
                raise ValueError("too many parts")
    except (struct.error, ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise InputError(
            f"{name}: the OpenEXR file is damaged or cut off; save or send it again ({error})"
        ) from error


def _attributes(data: bytes, place: int) -> tuple[dict[str, bytes], int]:
    """Name -> value of a header, and the offset of its end."""
    found: dict[str, bytes] = {}
    for _ in range(_MAX_ATTRIBUTES):
        name, place = _text(data, place)
        if not name:
            return found, place
        _, place = _text(data, place)
        (size,) = struct.unpack_from("<i", data, place)
        place += 4
        if not 0 <= size <= len(data) - place:
            raise ValueError("an attribute goes beyond the end")
        found[name] = data[place : place + size]
        place += size
    raise ValueError("too many attributes")


def _text(data: bytes, place: int) -> tuple[str, int]:
    end = data.index(b"\0", place, place + 256)
    return data[place:end].decode("latin-1"), end + 1


def _part(attributes: Mapping[str, bytes], flags: int) -> ExrPart:
    channels, sampling, size = [], set(), 0
    listed, place = attributes["channels"], 0
    while listed[place : place + 1] != b"\0":
        channel, place = _text(listed, place)
        kind, _, x, y = struct.unpack_from("<iB3x2i", listed, place)
        channels.append(channel)
        sampling.add((x, y))
        size += _PIXEL_BYTES[kind]
        place += 16
    window = struct.unpack("<4i", attributes["dataWindow"])
    width, height = size_of_window(window)
    if min(width, height) < 1:
        raise ValueError("an empty window")
    kind = attributes.get("type", b"")
    tiled = kind in (b"tiledimage", b"deeptile") if kind else bool(flags & _TILED)
    if tiled:
        across, down, mode = struct.unpack("<IIB", attributes["tiles"])
        if min(across, down) < 1:
            raise ValueError("tiles of no size")
        levels = 4 if mode & 15 else 1  # a pyramid is at most four times its base
        pieces = levels * math.ceil(width / across) * math.ceil(height / down)
        pieces += 64 * (mode & 15 > 0)
        piece = across * down * size
    else:
        pieces, piece = height, 256 * width * size
    if "chunkCount" in attributes:
        pieces = max(pieces, struct.unpack("<i", attributes["chunkCount"])[0])
    return ExrPart(
        tuple(channels),
        window,
        struct.unpack("<4i", attributes["displayWindow"]),
        kind.startswith(b"deep") or bool(flags & _DEEP),
        sampling != {(1, 1)},
        pieces,
        piece,
    )


def size_of_window(window: Window) -> tuple[int, int]:
    """Width and height."""
    left, top, right, bottom = window
    return right - left + 1, bottom - top + 1
