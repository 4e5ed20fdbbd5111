"""Generate AEDAT4 files: a version line, an XML description, packets of flatbuffers."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

EVENT = np.dtype(
    {"names": ["t", "x", "y", "on"], "formats": ["<i8", "<i2", "<i2", "?"], "offsets": [0, 8, 10, 12]}
    | {"itemsize": 16}
)
NONE, LZ4, ZSTD = 0, 1, 3


def events_of(x, y, t, polarity) -> np.ndarray:
    """(N,) of EVENT from four columns."""
    events = np.zeros(len(t), EVENT)
    events["x"], events["y"], events["t"], events["on"] = x, y, t, polarity
    return events


def aedat4(
    events: np.ndarray,
    size_hw: tuple[int, int] = (260, 346),
    compression: int = NONE,
    pack: Callable[[bytes], bytes] = bytes,
    step: int = 500,
) -> bytes:
    """An AEDAT4 file: another kind of packet in stream 0, and the events in stream 1, `step` per packet."""
    parts = [_header(*size_hw, compression), _packet(0, b"IMUS", struct.pack("<I", 0), pack)]
    for start in range(0, len(events), step):
        part = events[start : start + step]
        parts.append(_packet(1, b"EVTS", struct.pack("<I", len(part)) + part.tobytes(), pack))
    return b"".join(parts)


def _flatbuffer(identifier: bytes, offsets: list[int], fields: bytes, tail: bytes) -> bytes:
    """With its size before it: one table with these offsets of its fields, and what they point to."""
    table = struct.pack("<HH", 4 + 2 * len(offsets), 4 + len(fields))
    table += struct.pack(f"<{len(offsets)}H", *offsets)
    table += bytes(-(8 + len(table)) % 8)
    at = 8 + len(table)
    content = struct.pack("<I", at) + identifier + table + struct.pack("<i", at - 8) + fields + tail
    return struct.pack("<I", len(content)) + content


def _header(height: int, width: int, compression: int) -> bytes:
    nodes = "".join(
        f'<node name="{number}" path="/mainloop/Recorder/outInfo/{number}/">'
        f'<attr key="typeIdentifier" type="string">{kind}</attr>'
        f'<node name="info" path="/mainloop/Recorder/outInfo/{number}/info/">'
        f'<attr key="sizeX" type="int">{wide}</attr><attr key="sizeY" type="int">{high}</attr></node></node>'
        for number, kind, wide, high in ((0, "IMUS", 1, 1), (1, "EVTS", width, height))
    )
    text = f'<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">{nodes}</node></dv>'
    fields = struct.pack("<Iqi", 20, -1, compression) + bytes(4)
    tail = struct.pack("<I", len(text)) + text.encode() + b"\0"
    return b"#!AER-DAT4.0\r\n" + _flatbuffer(b"IOHE", [16, 8, 4], fields, tail)


def _packet(stream: int, identifier: bytes, content: bytes, pack: Callable[[bytes], bytes]) -> bytes:
    packed = pack(_flatbuffer(identifier, [4], struct.pack("<I", 8) + bytes(4), content))
    return struct.pack("<ii", stream, len(packed)) + packed
