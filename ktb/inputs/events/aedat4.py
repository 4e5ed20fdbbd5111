"""AEDAT4 recordings of iniVation's cameras (DV 1 and 2).

Read here and not by the packages for it: those end the whole program at a damaged file. A recording is a line
with the version, a header with an XML description, and packets of flatbuffers, compressed one by one with LZ4
or Zstandard; the packages lz4 and zstandard are optional.
"""

import re
import struct
from collections.abc import Callable, Iterator

import numpy as np

from ktb.inputs.events.build import EventColumns
from ktb.inputs.events.text import structured
from ktb.inputs.limits import (
    FREE_EXPANSION,
    MAX_CHUNK_BYTES,
    MAX_EVENT_EXPANSION,
    MAX_EVENTS,
    MAX_PACKETS,
    MAX_UNPACKED_BYTES,
    InputError,
)
from ktb.inputs.options import XOptions

MAGIC = b"#!AER-DAT4.0\r\n"
EVENT = np.dtype(
    {
        "names": ["t", "x", "y", "on"],
        "formats": ["<i8", "<i2", "<i2", "?"],
        "offsets": [0, 8, 10, 12],
        "itemsize": 16,
    }
)
_FIELDS = {"t": "t", "x": "x", "y": "y", "p": "on"}
_EVENTS = b"EVTS"
_MAX_DESCRIPTION = 2**20


def read_aedat4(data: bytes, name: str, options: XOptions) -> EventColumns:
    """The first event stream of a recording; times are in microseconds, the file knows its sensor.

    Of more than MAX_EVENTS events only those in `options.window_ms` are kept, or else the first ones.

    Raises:
        InputError: a decompressor is missing, or the file is damaged, unpacks to too much or has no events.
    """
    try:
        start, end, compression, description = _header(data)
        unpack = _unpacker(compression, name)
        return _read(lambda: _packets(data, start, end, unpack, name), description, name, options)
    except (struct.error, IndexError, OverflowError) as error:
        raise InputError(f"{name}: the AEDAT4 file is damaged ({error}); export it again") from error


def _read(packets: Callable[[], Iterator], description: str, name: str, options: XOptions) -> EventColumns:
    total, kept, parts, stream, first, last = 0, 0, [], 0, 0, 0
    for number, events in packets():
        if not total:
            stream, first = number, int(events["t"][0])
        if number == stream:
            parts.append(events[: MAX_EVENTS - kept].copy())  # a view would keep the whole packet
            kept += len(parts[-1])
            total += len(events)
            last = int(events["t"][-1])
    if not total:
        raise InputError(f"{name}: no events in this AEDAT4 recording; record or choose another part")
    notes, span = (), None
    if total > MAX_EVENTS:
        span = first, last
        if options.window_ms is not None:
            parts = _within((events for number, events in packets() if number == stream), span, options, name)
        notes = (part_note(total, sum(map(len, parts))),)
    size = _sensor(description, stream)
    found = structured(np.concatenate(parts), _FIELDS, "AEDAT4", name, size)
    return EventColumns(found.columns, found.format, name, found.order, "us", size, notes, span)


def _within(
    packets: Iterator[np.ndarray], span: tuple[int, int], options: XOptions, name: str
) -> list[np.ndarray]:
    """Events of the window, at most MAX_EVENTS."""
    start, end = (span[0] + 1000 * edge for edge in options.window_ms)
    parts, kept = [], 0
    for events in packets:
        inside = (events["t"] >= start) & (events["t"] <= end)
        events = events[inside][: MAX_EVENTS - kept].copy()
        parts.append(events)
        kept += len(events)
    if not kept:
        seconds = (span[1] - span[0]) / 1e6
        raise InputError(f"{name}: no events in the window {options.window_ms} ms; they span {seconds:g} s")
    return parts


def part_note(total: int, read: int) -> str:
    """Note for the user on a partially read recording."""
    return f"The recording holds {total:,} events; {read:,} of them were read: choose a window for the rest."


def _header(data: bytes) -> tuple[int, int, int, str]:
    """Start and end of the packets, their compression, and the XML description."""
    base = len(MAGIC)
    (size,) = struct.unpack_from("<I", data, base)
    start = base + 4 + size
    header = data[base + 4 : start]
    fields = _table(header)
    compression = struct.unpack_from("<i", header, fields[0])[0] if fields[0] else 0
    end = struct.unpack_from("<q", header, fields[1])[0] if fields[1] else -1
    text = ""
    if fields[2]:
        (offset,) = struct.unpack_from("<I", header, fields[2])
        (length,) = struct.unpack_from("<I", header, fields[2] + offset)
        begins = fields[2] + offset + 4
        text = header[begins : begins + min(length, _MAX_DESCRIPTION)].decode("utf-8", "replace")
    return start, end if start <= end <= len(data) else len(data), compression, text


def _table(buffer: bytes) -> list[int]:
    """Positions of the first three fields of a flatbuffer's root table, 0 for those it lacks."""
    (root,) = struct.unpack_from("<I", buffer, 0)
    (back,) = struct.unpack_from("<i", buffer, root)
    if not 0 <= root - back <= len(buffer) - 4:
        raise IndexError("a table points outside")
    (size,) = struct.unpack_from("<H", buffer, root - back)
    count = min(max(size - 4, 0) // 2, 3)
    offsets = struct.unpack_from(f"<{count}H", buffer, root - back + 4)
    return [root + offset if offset else 0 for offset in (*offsets, 0, 0, 0)[:3]]


def _packets(
    data: bytes, position: int, end: int, unpack: Callable[[bytes], bytes], name: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Stream number and events (N,) of EVENT of every packet that holds any."""
    others, unpacked, packets = set(), 0, 0
    while position + 8 <= end:
        packets += 1
        if packets > MAX_PACKETS:
            raise InputError(f"{name}: more than {MAX_PACKETS:,} packets; cut it, or export it as .npz")
        number, size = struct.unpack_from("<ii", data, position)
        position += 8
        if size < 0 or position + size > end:
            return  # the recording was cut off: what came before is whole
        if number not in others:
            content = unpack(data[position : position + size])
            unpacked += len(content)
            if unpacked > MAX_UNPACKED_BYTES:
                raise InputError(f"{name}: unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB; cut it")
            if unpacked > max(FREE_EXPANSION, MAX_EVENT_EXPANSION * len(data)):
                raise InputError(f"{name}: unpacks to far more than events do; export it again")
            if content[8:12] == _EVENTS:
                events = _events(content[4:])
                if len(events):
                    yield number, events
            else:
                others.add(number)
        position += size


def _events(buffer: bytes) -> np.ndarray:
    field = _table(buffer)[0]
    if not field:
        return np.empty(0, EVENT)
    (offset,) = struct.unpack_from("<I", buffer, field)
    (count,) = struct.unpack_from("<I", buffer, field + offset)
    start = field + offset + 4
    if start + count * EVENT.itemsize > len(buffer):
        raise IndexError(f"a packet of {len(buffer):,} bytes promises {count:,} events")
    return np.frombuffer(buffer, EVENT, count, start)


def _unpacker(compression: int, name: str) -> Callable[[bytes], bytes]:
    """A function that decompresses one packet to at most MAX_CHUNK_BYTES."""
    package = {0: "", 1: "lz4", 2: "lz4", 3: "zstandard", 4: "zstandard"}.get(compression)
    if package is None:
        raise InputError(f"{name}: compressed in an unknown way ({compression}); export it as .npz or .csv")
    try:
        if package == "lz4":
            import lz4.frame

            failures: tuple = (RuntimeError, EOFError, ValueError)
            bounded = _lz4(lz4.frame)
        elif package == "zstandard":
            import zstandard

            failures = (zstandard.ZstdError, ValueError)
            bounded = _zstandard(zstandard)
        else:
            return bytes
    except ImportError as error:
        raise InputError(f"{name}: compressed AEDAT4; to read it: pip install {package}") from error

    def unpack(packet: bytes) -> bytes:
        try:
            content = bounded(packet)
        except failures as error:
            raise InputError(f"{name}: a packet cannot be unpacked ({error}); export it again") from error
        if len(content) > MAX_CHUNK_BYTES:
            raise InputError(f"{name}: a packet unpacks to over {MAX_CHUNK_BYTES >> 20} MiB; export it again")
        return content

    return unpack


def _lz4(frame) -> Callable[[bytes], bytes]:
    return lambda packet: frame.LZ4FrameDecompressor().decompress(packet, max_length=MAX_CHUNK_BYTES + 1)


def _zstandard(package) -> Callable[[bytes], bytes]:
    def unpack(packet: bytes) -> bytes:
        with package.ZstdDecompressor(max_window_size=2**27).stream_reader(packet) as reader:
            return reader.read(MAX_CHUNK_BYTES + 1)

    return unpack


def _sensor(description: str, stream: int) -> tuple[int, int] | None:
    """(height, width) of a stream, from <attr key="sizeX" ...> in its part of the description."""
    parts = re.split(r'path="[^"<>]*/outInfo/(\d+)/"', description)
    for number, part in zip(parts[1::2], parts[2::2]):
        if int(number) == stream:
            found = [re.search(rf'key="size{axis}"[^<>]{{0,200}}>(\d{{1,5}})<', part) for axis in "YX"]
            if all(found):
                return tuple(int(match[1]) for match in found)
    return None
