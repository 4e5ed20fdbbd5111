"""The first directory of a TIFF or TIFF-like block, read before decoding."""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ktb.inputs.limits import MAX_SIDE, MAX_TIFF_PARTS, InputError, check_bytes, check_size

WIDTH, HEIGHT, BITS, SAMPLES, SAMPLE_FORMAT = 256, 257, 258, 277, 339
_PHOTOMETRIC, _EXTRA_SAMPLES = 262, 338
_SUBFILE, _STRIPS, _TILES, _DNG_VERSION, _TILE_WIDTH, _TILE_HEIGHT = 254, 273, 324, 50706, 322, 323
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= dict.fromkeys((16, 17, 18), 8)
# Tags that the pixels depend on. Texts, profiles and further directories stay away from the decoders: each
# entry may name the whole file as its value, and each directory may lead to another one or to itself.
_KEPT = frozenset(
    (*range(254, 260), 262, 266, 273, 274, *range(277, 280), 284, 292, 293, 317, *range(320, 326), 332)
) | frozenset((338, 339, 347, *range(529, 533)))
_PARTS = frozenset((_STRIPS, 279, _TILES, 325))
_MAX_VALUES = 2**20
"""Maximum bytes of one tag's values; a 16-bit colour map needs 393,216."""


@dataclass(frozen=True)
class Tiff:
    """The first image of a TIFF.

    Attributes:
        tags: tag -> at most 16 numbers.
        data: the file with only those tags that the pixels depend on, and no further directory.
        several: whether another directory follows.
        decoded: bytes of the pixels.
    """

    tags: dict[int, tuple[int, ...]]
    data: bytes
    several: bool
    decoded: int


def is_tiff(data: bytes) -> bool:
    """Whether a file starts as a TIFF or BigTIFF."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tiff(data: bytes, name: str) -> Tiff:
    """The first directory of a TIFF, with size and memory checked.

    Raises:
        InputError: damaged, outside the limits, or only a preview, as in a camera's raw file.
    """
    layout = _Layout(data)
    tags, lengths, kept = {}, {}, []
    try:
        start, place, count = layout.directory()
        for entry in layout.entries(place, count):
            tag, kind, length, value = entry
            lengths[tag] = length
            if kind in _TYPES:
                tags[tag] = layout.numbers(kind, length, value)
            if tag in _KEPT:
                largest = 8 * MAX_TIFF_PARTS if tag in _PARTS else _MAX_VALUES
                if length * _SIZES.get(kind, 1) > largest:
                    raise InputError(_too_many(name) if tag in _PARTS else _damaged(name))
                kept.append(entry)
        width, height = tags[WIDTH][0], tags[HEIGHT][0]
        following = layout.offset_at(place + count * layout.entry_size)
    except (struct.error, ValueError, KeyError, IndexError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(_damaged(name)) from error
    if _DNG_VERSION in lengths or tags.get(_SUBFILE, (0,))[:1] == (1,):
        raise InputError(f"{name}: a camera's raw file or a preview; develop it and save it as PNG or TIFF")
    check_size(width, height, name)
    if max(lengths.get(_STRIPS, 1), lengths.get(_TILES, 1)) > MAX_TIFF_PARTS:
        raise InputError(_too_many(name))
    samples, bits, tile_width, tile_height = (
        (tags.get(tag, (1,)) or (1,))[0] for tag in (SAMPLES, BITS, _TILE_WIDTH, _TILE_HEIGHT)
    )
    each = samples * max(bits, 8) // 8
    check_bytes(width * height * each, name, len(data))
    if max(tile_width, tile_height) > 2 * MAX_SIDE:
        raise InputError(_damaged(name))
    check_bytes(tile_width * tile_height * each, name, len(data))  # decoders make room for a whole tile
    if samples == 4:
        kept = layout.with_fourth_channel(kept, tags)
    return Tiff(tags, layout.only(start, kept), 0 < following < len(data), width * height * each)


def tiff_bytes(data: bytes | mmap.mmap) -> int:
    """Bytes of the first image's pixels; IndexError or struct.error for a damaged header."""
    layout = _Layout(data)
    try:
        _, place, count = layout.directory()
        tags = {
            tag: layout.numbers(kind, length, value)
            for tag, kind, length, value in layout.entries(place, count)
            if tag in (WIDTH, HEIGHT, BITS, SAMPLES) and kind in _TYPES and length
        }
        samples, bits = (tags.get(tag, (1,))[0] for tag in (SAMPLES, BITS))
        return tags[WIDTH][0] * tags[HEIGHT][0] * samples * max(bits, 8) // 8
    except (KeyError, ValueError, OverflowError) as error:
        raise IndexError("no such header") from error


def inline_number(block: bytes, wanted: int) -> int | None:
    """The number of a tag, from the first directory of a block in the form of a TIFF.

    EXIF data have this form, and the index of a file of several JPEGs. None if the block is damaged or lacks
    the tag.
    """
    if not is_tiff(block):
        return None
    layout = _Layout(block)
    try:
        _, place, count = layout.directory()
        for tag, kind, length, value in layout.entries(place, count):
            if tag == wanted and length >= 1 and kind in _TYPES:
                return struct.unpack_from(layout.order + _TYPES[kind], value)[0]
    except (struct.error, ValueError):
        pass  # what is damaged says nothing
    return None


class _Layout:
    """Layout of a TIFF's directory, for TIFF and BigTIFF in either byte order."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.data, self.order = data, "<" if data[:1] == b"I" else ">"
        self.big = b"+" in data[2:4]
        self.count_type, self.offset_type = ("Q", "Q") if self.big else ("H", "I")
        self.entry = self.order + ("HHQ8s" if self.big else "HHI4s")
        self.entry_size = struct.calcsize(self.entry)

    def directory(self) -> tuple[int, int, int]:
        """Offset of the first directory, offset of its entries, and their number."""
        (start,) = struct.unpack_from(self.order + self.offset_type, self.data, 8 if self.big else 4)
        (count,) = struct.unpack_from(self.order + self.count_type, self.data, start)
        if count > 65535:
            raise ValueError(f"{count} tags")
        return start, start + struct.calcsize(self.order + self.count_type), count

    def entries(self, place: int, count: int) -> Iterator[tuple[int, int, int, bytes]]:
        """Tag, type, number of values, and the values or their offset."""
        return struct.iter_unpack(self.entry, self.data[place : place + count * self.entry_size])

    def offset_at(self, place: int) -> int:
        """An offset, or 0 if it is beyond the end of the file."""
        size = struct.calcsize(self.order + self.offset_type)
        return int.from_bytes(self.data[place : place + size], "little" if self.order == "<" else "big")

    def numbers(self, kind: int, length: int, value: bytes) -> tuple[int, ...]:
        """At most 16 of a tag's values."""
        code = self.order + min(length, 16) * _TYPES[kind]
        inline = length * struct.calcsize(_TYPES[kind]) <= len(value)
        where = 0 if inline else struct.unpack(self.order + self.offset_type, value)[0]
        return struct.unpack_from(code, value if inline else self.data, where)

    def only(self, start: int, entries: list[tuple[int, int, int, bytes]]) -> bytes:
        """The file with its first directory replaced by these entries, without further directories."""
        directory = struct.pack(self.order + self.count_type, len(entries))
        directory += b"".join(struct.pack(self.entry, *entry) for entry in entries)
        directory += struct.pack(self.order + self.offset_type, 0)
        return b"".join((self.data[:start], directory, memoryview(self.data)[start + len(directory) :]))

    def with_fourth_channel(
        self, entries: list[tuple[int, int, int, bytes]], tags: dict[int, tuple[int, ...]]
    ) -> list[tuple[int, int, int, bytes]]:
        """The entries of four channels, grey or of unknown meaning, as colours and a plain alpha.

        Decoders drop what they do not know. An associated alpha is left so, and CMYK as well.
        """
        photometric = tags.get(_PHOTOMETRIC, (2,))[:1]
        if _EXTRA_SAMPLES not in tags or photometric not in ((1,), (2,)):
            return entries
        if tags[_EXTRA_SAMPLES][:1] == (1,) and len(tags[_EXTRA_SAMPLES]) == 1:
            return entries
        short = struct.Struct(self.order + ("H6x" if self.big else "H2x"))
        new = {_PHOTOMETRIC: 2, _EXTRA_SAMPLES: 2}
        return [
            (tag, 3, 1, short.pack(new[tag])) if tag in new else (tag, kind, length, value)
            for tag, kind, length, value in entries
        ]


def _damaged(name: str) -> str:
    return f"{name}: the TIFF header is damaged or cut off; save or send it again"


def _too_many(name: str) -> str:
    return f"{name}: over {MAX_TIFF_PARTS:,} strips or tiles; save it with larger ones"
