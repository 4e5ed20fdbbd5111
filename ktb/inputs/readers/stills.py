"""The first image of a file, measured before decoding and passed to the decoder alone.

Decoders make room for what a header promises, some of them while they only open the file. So the sizes are
read here first, and the decoder gets nothing but the first picture: no animation, text or profile.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ktb.inputs.limits import (
    MAX_JPEG_WORK,
    MAX_TEXT_PICTURE,
    InputError,
    check_bytes,
    check_size,
)
from ktb.inputs.readers.files import file_kind
from ktb.inputs.readers.headers import (
    BITS,
    SAMPLE_FORMAT,
    SAMPLES,
    Tiff,
    inline_number,
    is_tiff,
    read_tiff,
)

PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
"""Allowed readers of Pillow; others, some of which start other programs, are disabled."""
_ORIENTATION, _NUMBER_OF_PICTURES = 0x0112, 0xB001
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither data (00, FF) nor a restart (D0 to D7)
_SOF, _SOS, _EOI = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}), 0xDA, 0xD9
_JPEG_KEPT = _SOF | {0xC4, 0xCC, 0xDB, 0xDD, 0xE0, 0xEE}  # tables, restarts, JFIF, Adobe's colours
_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PBM = re.compile(rb"P[14](?:\s|#[^\n]*\n)+(\d{1,9})(?:\s|#[^\n]*\n)+(\d{1,9})\s")
_PIECES = 1_000_000
"""Chunks, segments or blocks of a file; each costs the time of an inspection."""


@dataclass(frozen=True)
class Still:
    """The first image of a file, within the limits.

    Attributes:
        format: Pillow's name of it.
        width, height: in pixels, as stored.
        decoded: bytes of the pixels.
        data: a file with this picture alone, for the decoder.
        orientation: of EXIF, 1 to 8; 1 for TIFF, whose decoders turn it.
        several: whether the file holds more pictures.
        is_deep: colours of more than 8 bits, which Pillow would cut.
        tags: of a TIFF.
    """

    format: str
    width: int
    height: int
    decoded: int
    data: bytes
    orientation: int = 1
    several: bool = False
    is_deep: bool = False
    tags: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


def find_still(data: bytes, name: str) -> Still:
    """The first image of a PNG, JPEG, TIFF, WebP, BMP, GIF or PBM, not decoded.

    Raises:
        InputError: another kind of file, a damaged header, or outside the limits.
    """
    for starts, find in _KINDS:
        if starts(data):
            try:
                still = find(data, name)
            except (struct.error, IndexError) as error:  # the file ends within its header
                raise InputError(_damaged(name)) from error
            check_size(still.width, still.height, name)
            check_bytes(still.decoded, name, len(data))
            return still
    unknown = "no picture that can be read, or a damaged one; use PNG, JPEG or TIFF, or for X .npy"
    raise InputError(f"{name}: this is {file_kind(data) or unknown}")


def _damaged(name: str) -> str:
    return f"{name}: the picture is damaged or cut off; save or upload it again"


def _orientation(exif: bytes, xmp: bytes) -> int:
    found = inline_number(exif.removeprefix(b"Exif\0\0"), _ORIENTATION)
    if found is None and (said := _XMP_ORIENTATION.search(xmp)):
        found = int(said[1])
    return found if found in range(1, 9) else 1


# PNG


def png_size(start: bytes) -> tuple[int, int, int]:
    """Width, height and bytes per pixel; this and others raise IndexError or struct.error if damaged."""
    width, height, bits, colour = struct.unpack_from(">IIBB", start, 16)
    if start[12:16] != b"IHDR" or min(width, height) < 1 or colour not in _PNG_CHANNELS:
        raise IndexError("no such header")
    return width, height, _PNG_CHANNELS[colour] * (2 if bits == 16 else 1)


def _png(data: bytes, name: str) -> Still:
    width, height, each = png_size(data)
    bits, colour = data[24], data[25]
    check_size(width, height, name)  # before the chunks are gone through
    kept: dict[bytes, list[memoryview]] = {kind: [] for kind in _PNG_KEPT}
    exif = xmp = b""
    frames, is_frame, framed = 0, False, False
    for kind, content in _png_chunks(data, name):
        if kind in _PNG_KEPT:
            framed = framed or (kind == b"IDAT" and is_frame)
            kept[kind].append(content)
        elif kind == b"acTL" and len(content) >= 4:
            frames = int.from_bytes(content[:4], "big")
        elif kind == b"fcTL":
            is_frame = True
        elif kind == b"eXIf":
            exif = exif or bytes(content)
        elif kind == b"iTXt" and content[:20] == b"XML:com.adobe.xmp\0\0\0":
            xmp = xmp or bytes(content[:65536])
    if not kept[b"IEND"]:
        raise InputError(_damaged(name))
    parts = [data[:8]]
    for kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
        pieces = kept[kind] if kind == b"IDAT" else kept[kind][:1]
        if pieces:
            checksum = zlib.crc32(kind)
            for piece in pieces:
                checksum = zlib.crc32(piece, checksum)
            parts += [struct.pack(">I", sum(map(len, pieces))), kind, *pieces, struct.pack(">I", checksum)]
    still = b"".join(parts)
    several = frames > 1 or (frames == 1 and not framed)
    deep = bits == 16 and colour in (2, 4, 6)
    return Still("PNG", width, height, width * height * each, still, _orientation(exif, xmp), several, deep)


def _png_chunks(data: bytes, name: str) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of each chunk up to IEND; checksums are verified where the content is used."""
    view, place = memoryview(data), 8
    for _ in range(_PIECES):
        if place + 12 > len(data):
            return
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        content = view[place + 8 : place + 8 + length]
        place += 12 + length
        if place > len(data):
            raise InputError(_damaged(name))
        if kind in _PNG_KEPT and zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(
            data[place - 4 : place], "big"
        ):
            raise InputError(f"{name}: the picture is damaged (a checksum is wrong); save or upload it again")
        yield kind, content
        if kind == b"IEND":
            return
    raise InputError(f"{name}: over {_PIECES:,} chunks; save it again")


# JPEG


def _jpeg(data: bytes, name: str) -> Still:
    parts, size, exif, xmp, several, place = [data[:2]], None, b"", b"", False, 2
    for _ in range(10_000):  # segments before the pixels; pictures of phones have about a hundred
        marker = _MARKER.search(data, place)
        if not marker or data[marker.start() + 1] == _EOI:
            raise InputError(_damaged(name))
        code, start = data[marker.start() + 1], marker.end()
        if code == _SOS:
            place = marker.start()
            break
        (length,) = struct.unpack_from(">H", data, start)
        content = data[start + 2 : start + length]
        place = start + max(length, 2)
        if code in _SOF:
            if size is not None:
                raise InputError(_damaged(name))
            size = struct.unpack_from(">HHB", content, 1)
        elif code == 0xE1:
            exif = exif or (content if content.startswith(b"Exif\0\0") else b"")
            xmp = xmp or (content if content.startswith(b"http://ns.adobe.com/xap/1.0/\0") else b"")
        elif code == 0xE2 and content.startswith(b"MPF\0"):
            several = several or (inline_number(content[4:], _NUMBER_OF_PICTURES) or 0) > 1
        if code in _JPEG_KEPT:
            parts.append(data[marker.start() : place])
    else:
        raise InputError(_damaged(name))
    if size is None:
        raise InputError(_damaged(name))
    height, width, channels = size
    check_size(width, height, name)
    _check_jpeg_work(data, place, width, height, name)
    still = b"".join((*parts, memoryview(data)[place:]))
    return Still("JPEG", width, height, width * height * channels, still, _orientation(exif, xmp), several)


def jpeg_size(start: bytes) -> tuple[int, int, int]:
    """Width, height and bytes per pixel from the first bytes; otherwise as `png_size`."""
    place = 2
    while marker := _MARKER.search(start, place):
        if start[marker.start() + 1] in _SOF:
            height, width, channels = struct.unpack_from(">HHB", start, marker.end() + 3)
            return width, height, channels
        place = marker.end() + max(int.from_bytes(start[marker.end() : marker.end() + 2], "big"), 2)
    raise IndexError("no frame")


def _check_jpeg_work(data: bytes, place: int, width: int, height: int, name: str) -> None:
    """Raise an InputError for a JPEG with too many passes to decode within seconds."""
    scans = others = 0
    while (marker := _MARKER.search(data, place)) and data[marker.start() + 1] != _EOI:
        scans += data[marker.start() + 1] == _SOS
        others += 1
        if scans * width * height > MAX_JPEG_WORK:
            raise InputError(f"{name}: a JPEG of {scans} passes or more; save it again as a baseline JPEG")
        if others > _PIECES:
            raise InputError(f"{name}: a JPEG of over {_PIECES:,} segments; save it again")
        place = marker.end() + max(int.from_bytes(data[marker.end() : marker.end() + 2], "big"), 2)


# GIF


def _gif(data: bytes, name: str) -> Still:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    place = 13 + _colour_table(flags)
    parts, is_found, several, left = [data[:place]], False, False, _PIECES
    while data[place : place + 1] in (b"!", b",") and not several:
        start, is_image = place, data[place : place + 1] == b","
        if is_image:
            x, y, columns, rows, local = struct.unpack_from("<HHHHB", data, place + 1)
            place += 11 + _colour_table(local)  # with the size of a code
        else:
            place += 2
        while place < len(data) and data[place]:
            place += 1 + data[place]
            left -= 1
            if not left:
                raise InputError(f"{name}: over {_PIECES:,} blocks; save it again")
        place += 1
        if is_image and is_found:
            several = True
        elif is_image:
            is_found, width, height = True, max(width, x + columns), max(height, y + rows)
            parts.append(data[start:place])
        elif data[start + 1] == 0xF9 and not is_found:  # transparency and what to clear
            parts.append(data[start:place])
    if not is_found:
        raise InputError(_damaged(name))
    return Still("GIF", width, height, width * height, b"".join((*parts, b";")), several=several)


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 128 else 0


# WebP

_ANIMATED, _ALPHA = 0x02, 0x10


def _webp(data: bytes, name: str) -> Still:
    parts, canvas, sizes, exif, xmp = [], None, [], b"", b""
    flags = frames = 0
    for kind, content in _webp_chunks(data, 12, name):
        if kind == b"VP8X":
            flags = content[0] & (_ANIMATED | _ALPHA)
            canvas = tuple(int.from_bytes(content[i : i + 3], "little") + 1 for i in (4, 7))
            parts.append(_webp_chunk(kind, bytes((flags, 0, 0, 0)) + content[4:10]))
        elif kind == b"ANMF":
            frames += 1
            if frames == 1:
                left, top, width, height = (
                    int.from_bytes(content[i : i + 3], "little") for i in (0, 3, 6, 9)
                )
                sizes.append((2 * left + width + 1, 2 * top + height + 1))
                sizes += [_webp_size(*part) for part in _webp_chunks(content, 16, name) if part[0] in _VP8]
        elif kind in _VP8:
            sizes.append(_webp_size(kind, content))
        exif = exif or (content if kind == b"EXIF" else b"")
        xmp = xmp or (content if kind == b"XMP " else b"")
        if kind in (b"ANIM", b"ALPH", *_VP8) or (kind == b"ANMF" and frames == 1):
            parts.append(_webp_chunk(kind, content))
    if not sizes:
        raise InputError(_damaged(name))
    width, height = (max(sides) for sides in zip(*sizes, *([canvas] if canvas else [])))
    body = b"WEBP" + b"".join(parts)
    still = b"RIFF" + struct.pack("<I", len(body)) + body
    return Still("WEBP", width, height, 4 * width * height, still, _orientation(exif, xmp), frames > 1)


_VP8 = (b"VP8 ", b"VP8L")


def webp_size(start: bytes) -> tuple[int, int, int]:
    """As `png_size`."""
    kind, content = start[12:16], start[20:]
    if kind == b"VP8X":
        width, height = (int.from_bytes(content[i : i + 3], "little") + 1 for i in (4, 7))
    else:
        width, height = _webp_size(kind, content)
    return width, height, 4


def _webp_size(kind: bytes, content: bytes) -> tuple[int, int]:
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 6)
        return width & 0x3FFF, height & 0x3FFF
    (bits,) = struct.unpack_from("<I", content, 1)
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _webp_chunks(data: bytes, place: int, name: str) -> Iterator[tuple[bytes, bytes]]:
    for _ in range(_PIECES):
        if place + 8 > len(data):
            return
        kind, (length,) = data[place : place + 4], struct.unpack_from("<I", data, place + 4)
        content = data[place + 8 : place + 8 + length]
        if len(content) < length:
            raise InputError(_damaged(name))
        yield kind, content
        place += 8 + length + (length & 1)
    raise InputError(f"{name}: over {_PIECES:,} chunks; save it again")


def _webp_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)


# TIFF, BMP, bitmaps of one bit


def _tiff(data: bytes, name: str) -> Still:
    tiff = read_tiff(data, name)
    _check_numbers(tiff, name)
    deep = tiff.tags.get(BITS, (1,))[0] > 8 and tiff.tags.get(SAMPLES, (1,))[0] > 1
    width, height = tiff.tags[256][0], tiff.tags[257][0]
    return Still(
        "TIFF", width, height, tiff.decoded, tiff.data, several=tiff.several, is_deep=deep, tags=tiff.tags
    )


def _check_numbers(tiff: Tiff, name: str) -> None:
    """Raise an InputError for numbers or channels of a TIFF that no decoder here returns."""
    bits, samples = (tiff.tags.get(tag, (1,))[0] for tag in (BITS, SAMPLES))
    kind = tiff.tags.get(SAMPLE_FORMAT, (1,))[0]
    if kind == 3 and bits < 32:
        found = "half floats (16 bits)" if bits == 16 else f"floats of {bits} bits"
        raise InputError(f"{name}: this is a TIFF of {found}; save it with floats of 32 bits, or as .npy")
    if kind in (5, 6):
        raise InputError(f"{name}: this is a TIFF of complex numbers; save their magnitude, or as .npy")
    if samples > 4 or (samples == 2 and bits > 8):
        raise InputError(
            f"{name}: this is a TIFF of {samples} bands; save the bands that X needs, one or three, as a "
            "TIFF or .npy of their own"
        )


def bmp_size(start: bytes) -> tuple[int, int, int]:
    """As `png_size`."""
    (size,) = struct.unpack_from("<I", start, 14)
    width, height, _, bits = struct.unpack_from("<HHHH" if size == 12 else "<iiHH", start, 18)
    return abs(width), abs(height), 1 if bits <= 8 else 4


def _bmp(data: bytes, name: str) -> Still:
    width, height, each = bmp_size(data)
    return Still("BMP", width, height, width * height * each, data)


def _pbm(data: bytes, name: str) -> Still:
    header = _PBM.match(data[:4096])
    if not header or (data.startswith(b"P1") and len(data) > MAX_TEXT_PICTURE):
        raise InputError(_damaged(name))
    width, height = int(header[1]), int(header[2])
    return Still("PPM", width, height, width * height, data)


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes, str], Still]], ...] = (
    (lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    (lambda data: data.startswith(b"\xff\xd8"), _jpeg),
    (is_tiff, _tiff),
    (lambda data: data[:4] == b"RIFF" and data[8:12] == b"WEBP", _webp),
    (lambda data: data.startswith(b"BM"), _bmp),
    (lambda data: data.startswith((b"GIF87a", b"GIF89a")), _gif),
    (lambda data: data.startswith((b"P1", b"P4")) and data[2:3] in b" \t\r\n#", _pbm),
)
