"""Generate arrays, archives, event files, texts and videos with valid parts in invalid structures.

As `fuzz_structures`, which makes pictures.
"""

from __future__ import annotations

import bz2
import contextlib
import io
import re
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from tools.fuzz import aedat_maker, fuzz_seeds, fuzz_structures
from tools.fuzz.fuzz_structures import WILD, Make, deflated, maybe, noise, pick, shaken, usual

_KINDS = ("'|u1'", "'>i8'", "'|O'", "'<U9'", "'<f999'", "'|V0'", "'<M8[s]'", "'(1000,1000)<f8'", "'<c16'")


def npy(rng: np.random.Generator) -> bytes:
    """Headers from their grammar: records, nested records, shapes of every kind."""

    def dtype(deep: int) -> str:
        if deep > 3 or maybe(rng, 0.75):
            return usual(rng, pick(rng, ("'<f4'", "'<u2'")), _KINDS)
        count = int(pick(rng, (1, 4, 4, 40 // (deep + 1))))
        return "[" + ", ".join(f"('{pick(rng, 'xytpab')}', {dtype(deep + 1)})" for _ in range(count)) + "]"

    sides = (
        usual(rng, 40, (3, 4, 0, -1, 300, *WILD, 10**30, "4.5", "None"))
        for _ in range(usual(rng, 2, (0, 1, 3, 40)))
    )
    said = {"descr": dtype(0), "fortran_order": usual(rng, "False", ("True", "0", "[]"))}
    said[usual(rng, "shape", ("extra",))] = "(" + "".join(f"{one}, " for one in sides) + ")"
    header = "{" + ", ".join(f"'{key}': {value}" for key, value in said.items()) + "}"
    if maybe(rng, 0.05):
        header = pick(rng, ("(", "[", "{", "-", "~", "f'", "b'")) * int(pick(rng, (10, 900, 9000)))
    encoded, version = header.encode("latin-1"), usual(rng, 1, (2, 3, 9))
    length = len(encoded) if maybe(rng, 0.95) else int(pick(rng, WILD))
    packed = struct.pack("<H", length % 65536) if version == 1 else struct.pack("<I", length)
    body = usual(rng, bytes(8000), (noise(rng, 9000), b""))
    return shaken(rng, b"\x93NUMPY" + bytes((version, 0)) + packed + encoded + body, 0.1)


def archive(rng: np.random.Generator, members: list[tuple[str, bytes]]) -> bytes:
    """Members with extreme sizes, methods and names, and end records of every kind."""
    data, central = b"", b""
    for name, content in members:
        method = int(usual(rng, pick(rng, (0, 8)), (12, 14, 99)))
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(content) + packer.flush() if method == 8 else content
        packed = shaken(rng, packed, 0.1)
        size = len(content) if maybe(rng, 0.96) else int(pick(rng, WILD))
        stored = len(packed) if maybe(rng, 0.95) else int(pick(rng, WILD))
        checksum = zlib.crc32(content) if maybe(rng, 0.95) else 0
        encoded, flags = name.encode(), int(pick(rng, (0, 0, 0, 0, 0, 0, 0, 0, 1, 8, 0x800)))
        extra = (
            b"" if maybe(rng, 0.97) else struct.pack("<HHQQ", 1, int(pick(rng, (16, 8, 65535))), size, stored)
        )
        sizes = struct.pack("<III", checksum, stored, size)
        common = (
            struct.pack("<HHHHH", 20, flags, method, 0, 0)
            + sizes
            + struct.pack("<HH", len(encoded), len(extra))
        )
        where = len(data) if maybe(rng, 0.97) else int(pick(rng, WILD))
        central += (
            b"PK\1\2\x14\0" + common + struct.pack("<HHHII", 0, 0, 0, 0, where % 2**32) + encoded + extra
        )
        data += b"PK\3\4" + common + encoded + extra + packed
    central *= int(usual(rng, 1, (30, 1000)))
    start, count = len(data), central.count(b"PK\1\2")
    comment = bytes(int(pick(rng, (0, 0, 0, 10, 65535))))
    data += central
    if maybe(rng, 0.4):
        size = len(central) if maybe(rng, 0.8) else int(pick(rng, (*WILD, 2**62)))
        data += struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, start)
        data += struct.pack("<IIQI", 0x07064B50, 0, start + len(central), 1)
        told = (65535, 65535, pick(rng, (0, 2**32 - 1)), 2**32 - 1)
    else:
        told = (
            count % 65536,
            count % 65536,
            len(central) if maybe(rng, 0.9) else int(pick(rng, WILD)),
            start,
        )
    return data + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, *map(int, told), len(comment)) + comment


def npz(rng: np.random.Generator) -> bytes:
    names = ("depth", "x", "y", "t", "p", "events", "a/b", "..", "width")
    members = [(f"{pick(rng, names)}.npy", npy(rng)) for _ in range(int(pick(rng, (1, 1, 4, 4, 20))))]
    if maybe(rng, 0.3):
        members = [(name, data) for name, data in fuzz_seeds.event_columns().items()]
    return archive(rng, members)


def frames_zip(rng: np.random.Generator) -> bytes:
    """An archive of a video's frames."""
    members = []
    for number in range(int(pick(rng, (1, 2, 3)))):
        for folder in ("rgb", pick(rng, ("x", "depth", "../x", "rgb"))):
            members.append(
                (
                    f"{folder}/{number}.png",
                    pick(rng, (fuzz_structures.png(rng), _png_seed(), b"", noise(rng))),
                )
            )
    return archive(rng, members)


@cache
def _png_seed() -> bytes:
    return cv2.imencode(".png", fuzz_seeds.COLOUR)[1].tobytes()


def hdf5(rng: np.random.Generator) -> bytes:
    """Datasets of every layout and filter, with chunks that do not match their filter."""
    import h5py

    count = int(usual(rng, pick(rng, (300, 300, 300, 5000)), (0, 1)))
    promised = int(usual(rng, count, (10**6, 2 * 10**7, 2**40)))
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=pick(rng, ("earliest", "latest"))) as file:
        with contextlib.suppress(ValueError, OSError, RuntimeError, TypeError):  # what HDF5 does not write
            if maybe(rng, 0.2):
                _records(file, promised, rng)
            else:
                _columns(file, count, promised, rng)
        for key in ("width", "height", "sensor_resolution", "geometry"):
            if maybe(rng, 0.2):
                values = (640, -1, np.arange(1000), "x" * 5000, [480, 640], float("nan"), b"480x640")
                file.attrs[key] = pick(rng, values)
        if maybe(rng, 0.1):
            links = h5py.SoftLink("/events"), h5py.ExternalLink("/etc/passwd", "/"), h5py.SoftLink("/no")
            file[pick(rng, "abc")] = pick(rng, links)
    data = _twisted(rng, stream.getvalue()) if maybe(rng, 0.15) else stream.getvalue()
    return shaken(rng, data, 0.3)


_NODES = (b"TREE", b"SNOD", b"BTHD", b"BTLF", b"FADB", b"FAHD", b"EAHD", b"EAIB", b"FRHP", b"OHDR", b"OCHK")


def _twisted(rng: np.random.Generator, data: bytes) -> bytes:
    """Addresses of nodes, headers and heaps that lead to other ones, or back."""
    places = [m.start() for m in re.finditer(b"|".join((*_NODES, b"HEAP")), data)]
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        target = struct.pack("<Q", int(pick(rng, places)))
        named = [struct.pack("<Q", one) for one in places if struct.pack("<Q", one) in data]
        if named and (at := changed.find(pick(rng, named))) >= 0 and maybe(rng, 0.6):
            changed[at : at + 8] = target
        else:
            at = int(pick(rng, places)) + 8 * int(rng.integers(0, 12))
            changed[at : at + 8] = usual(rng, target, (struct.pack("<Q", 2**40), bytes(8)))
    return bytes(changed[: len(data)])


def _records(file, promised: int, rng: np.random.Generator) -> None:
    fields = [(key, pick(rng, ("u2", "i8", "f8", "V9", "S3", "u1"))) for key in "xytp"]
    fields += [(f"f{i}", "f8") for i in range(int(pick(rng, (0, 1, 120))))]
    chunks = (int(pick(rng, (1, 1000, 10**6))),) if maybe(rng, 0.7) else None
    maximum = None if chunks is None else (None,)
    file.create_dataset("events", (promised,), np.dtype(fields), chunks=chunks, maxshape=maximum)


def _columns(file, count: int, promised: int, rng: np.random.Generator) -> None:
    columns, said = fuzz_seeds.events(max(count, 1)), pick(rng, _filters())
    chunk = int(pick(rng, (1, 50, 300, 1000, 10**6)))
    for key in "xytp":
        dtype = np.dtype(usual(rng, pick(rng, ("u4", "i8", "f4")), ("u2", "u1", "i1")))
        shape = (promised,) if maybe(rng, 0.97) else (promised, int(pick(rng, (1, 4))))
        one = file.create_dataset(
            f"events/{key}", shape, dtype, chunks=(chunk, *shape[1:]), maxshape=(None, *shape[1:]), **said
        )
        if count and one.ndim == 1:
            one[: min(count, promised)] = columns[key][: min(count, promised)].astype(dtype)
        if maybe(rng, 0.1) and promised and one.ndim == 1:
            mask = int(pick(rng, (0, 0, 1, 2)))
            one.id.write_direct_chunk((0,), pick(rng, _pieces(rng)), filter_mask=mask)


def _pieces(rng: np.random.Generator) -> list[bytes]:
    """Chunks with a large actual or declared uncompressed size."""
    one, two, three = (int(pick(rng, (2**24, *WILD))) for _ in range(3))
    return [
        deflated(int(pick(rng, (100, 10**7, 2**25 + 1)))),
        _bzipped(int(pick(rng, (100, 10**7)))),
        struct.pack(">QI", one, two) + noise(rng),
        b"\x28\xb5\x2f\xfd" + noise(rng),
        struct.pack("<BBBBIII", 2, 1, 33, 4, one, two, three) + noise(rng),
        noise(rng),
    ]


@cache
def _filters() -> list[dict]:
    found = [{}, {"compression": "gzip"}, {"compression": "lzf"}, {"scaleoffset": 0}, {"shuffle": True}]
    found += [{"fletcher32": True}, {"compression": "gzip", "shuffle": True, "fletcher32": True}]
    if find_spec("hdf5plugin"):
        import hdf5plugin

        names = ("Zstd", "LZ4", "Blosc", "Blosc2", "BZip2", "Bitshuffle")
        found += [dict(getattr(hdf5plugin, name)()) for name in names]
    return found


@cache
def _bzipped(count: int) -> bytes:
    return bz2.compress(bytes(count))


def aedat4(rng: np.random.Generator) -> bytes:
    """Packets with irregular compression, and headers that declare it."""
    columns = fuzz_seeds.events(int(pick(rng, (1, 100, 300))))
    rows = aedat_maker.events_of(columns["x"], columns["y"], columns["t"], columns["p"])
    packers: list[tuple[int, Callable]] = [(0, bytes)]
    if find_spec("lz4"):
        import lz4.frame

        packers.append((aedat_maker.LZ4, lz4.frame.compress))
    if find_spec("zstandard"):
        import zstandard

        packers.append((aedat_maker.ZSTD, zstandard.ZstdCompressor().compress))
    code, pack = pick(rng, packers)
    padding = bytes(int(pick(rng, (0, 0, 0, 2**20, 2**24))))
    made = aedat_maker.aedat4(
        rows, (44, 60), code, lambda packet: shaken(rng, pack(packet + padding), 0.1), step=100
    )
    return shaken(rng, made, 0.4) + pick(rng, (b"", struct.pack("<ii", 9, 0) * 5000, noise(rng)))


_CELLS = ("nan", "inf", "1e308", "9" * 40, "0.5", "True", "x", "", "0x10", "1_0", "\x00", "\u00e9", "-1")


def text(rng: np.random.Generator) -> bytes:
    """Tables of extreme numbers, long lines and irregular line ends."""
    gap, wild = usual(rng, " ", (",", "\t", ";", "  ")), 0.99 if maybe(rng, 0.7) else 0.3
    rows = [
        gap.join(
            str((i * 9, i % 30, i % 17, i % 2)[k]) if maybe(rng, wild) else pick(rng, _CELLS)
            for k in range(4)
        )
        for i in range(60)
    ]
    rows[:0] = [pick(rng, ("# t x y p", "640 480", "t,x,y,p", "#" * 5000, ""))] * maybe(rng, 0.5)
    if maybe(rng, 0.05):
        rows.append("1 " * int(pick(rng, (100, 5000, 10**6))))
    return usual(rng, "\n", ("\r\n", "\r", "\n\n")).join(rows).encode("utf-8", "replace")


_MARKS = (b"avih", b"strh", b"strf", b"movi", b"idx1", b"tkhd", b"stsd", b"stsz", b"stts", b"stco")
_MARKS += (b"mdat", b"mvhd", b"moov", b"trak", b"hdlr", b"\xb0", b"\xba")


def video(rng: np.random.Generator) -> bytes:
    """Containers with extreme numbers in their boxes and fields."""
    data = bytearray(pick(rng, _videos()))
    if not data:
        return b""
    for _ in range(int(rng.integers(1, 5))):
        places = [place for mark in _MARKS if (place := data.find(mark)) >= 0]
        place = int(rng.integers(len(data)))
        if places and maybe(rng, 0.8):
            place = int(pick(rng, places)) + int(rng.integers(-4, 48))
        order, code = pick(rng, "<>"), pick(rng, "HI")
        packed = struct.pack(order + code, int(pick(rng, WILD)) % (65536 if code == "H" else 2**32))
        place = min(max(place, 0), max(len(data) - 4, 0))
        data[place : place + len(packed)] = packed
    return shaken(rng, bytes(data), 0.2)


@cache
def _videos() -> list[bytes]:
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, code in (
            ("a.avi", "MJPG"),
            ("a.mp4", "mp4v"),
            ("a.mkv", "MJPG"),
            ("a.avi", "FFV1"),
            ("a.webm", "VP80"),
        ):
            path = Path(folder) / name
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), 10, (48, 40))
            for number in range(3):
                writer.write(np.roll(fuzz_seeds.COLOUR, number, axis=1).copy())
            writer.release()
            if path.exists() and path.stat().st_size:
                found.append(path.read_bytes())
    return found or [b""]


def makers() -> dict[str, Make]:
    """Name → generator of a file; those of optional packages only if they are installed."""
    found: dict[str, Make] = {
        **{name: getattr(fuzz_structures, name) for name in fuzz_structures.PICTURES},
        "npy": npy,
        "npz": npz, "aedat4": aedat4, "text": text, "zip": frames_zip, "video": video,
    }  # fmt: skip
    if find_spec("h5py"):
        found["h5"] = hdf5
    if find_spec("OpenEXR"):
        found["exr"] = fuzz_structures.exr
    return found
