"""What the headers of TIFF and JPEG files promise, read before a decoder is trusted with them."""

import re
import struct

from ktb.inputs.limits import MAX_JPEG_WORK, MAX_TIFF_PARTS, InputError, check_bytes, check_size

WIDTH, HEIGHT, BITS, SAMPLES, SAMPLE_FORMAT = 256, 257, 258, 277, 339
_SUBFILE, _STRIPS, _TILES, _DNG_VERSION = 254, 273, 324, 50706
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither data (00, FF) nor a restart (D0 to D7)
_SOS, _EOI = 0xDA, 0xD9


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as TIFF or BigTIFF."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def tiff_tags(data: bytes, name: str) -> dict[int, tuple[int, ...]]:
    """The numbers of a TIFF's first directory, tag -> at most 16 values, size and memory checked.

    Raises:
        InputError: damaged, outside the limits, or only a preview, as in a camera's raw file.
    """
    order, big = ("<" if data[:1] == b"I" else ">"), b"+" in data[2:4]
    counts, offset_type, entry = ("Q", "Q", "HHQ8s") if big else ("H", "I", "HHI4s")
    tags, lengths = {}, {}
    try:
        (start,) = struct.unpack_from(order + offset_type, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + counts, data, start)
        if count > 65535:
            raise ValueError(f"{count} tags")
        place = start + struct.calcsize(counts)
        for tag, kind, length, value in struct.iter_unpack(
            order + entry, data[place : place + count * struct.calcsize("=" + entry)]
        ):
            lengths[tag] = length
            if kind in _TYPES:
                numbers = order + min(length, 16) * _TYPES[kind]
                inline = length * struct.calcsize(_TYPES[kind]) <= len(value)
                where = 0 if inline else struct.unpack(order + offset_type, value)[0]
                tags[tag] = struct.unpack_from(numbers, value if inline else data, where)
        width, height = tags[WIDTH][0], tags[HEIGHT][0]
    except (struct.error, ValueError, KeyError, IndexError, OverflowError) as error:
        raise InputError(f"{name}: the TIFF header is damaged or cut off; save or send it again") from error
    if _DNG_VERSION in lengths or tags.get(_SUBFILE, (0,))[:1] == (1,):
        raise InputError(f"{name}: a camera's raw file or a preview; develop it and save it as PNG or TIFF")
    check_size(width, height, name)
    samples, bits = (tags.get(tag, (1,)) or (1,) for tag in (SAMPLES, BITS))
    check_bytes(width * height * samples[0] * max(bits[0], 8) // 8, name)
    if max(lengths.get(_STRIPS, 1), lengths.get(_TILES, 1)) > MAX_TIFF_PARTS:
        raise InputError(f"{name}: over {MAX_TIFF_PARTS:,} strips or tiles; save it with larger ones")
    return tags


def check_png_chunks(data: bytes, name: str) -> None:
    """Refuse a PNG with a chunk that goes beyond its end: OpenCV makes room for it first (InputError)."""
    place, kind = 8, b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        place += 12 + length
        if place > len(data):
            raise InputError(f"{name}: the PNG is damaged or cut off; save or upload it again")


def check_jpeg_work(data: bytes, width: int, height: int, name: str) -> None:
    """Refuse a JPEG of so many passes that decoding would not end in seconds (InputError)."""
    scans, place = 0, 2
    while (marker := _MARKER.search(data, place)) and data[marker.start() + 1] != _EOI:
        scans += data[marker.start() + 1] == _SOS
        if scans * width * height > MAX_JPEG_WORK:
            raise InputError(f"{name}: a JPEG of {scans} passes or more; save it again as a baseline JPEG")
        place = marker.end() + max(int.from_bytes(data[marker.end() : marker.end() + 2], "big"), 2)
