"""HDF5, AEDAT4 and OpenEXR files that unpack to far more than they should: refused before room is made."""

from __future__ import annotations

import bz2
import io
import resource
import struct
import time

import numpy as np
import pytest

from ktb.inputs import InputError, read_x
from ktb.inputs.events.aedat4 import MAGIC
from ktb.inputs.events.hdf5_filters import FILTERS, unpacks_within
from ktb.inputs.readers.exr_header import read_exr_header

EVENTS = 5000
BOMB = 400 * 2**20
"""Bytes that a piece of each bomb unpacks to."""


@pytest.fixture(autouse=True)
def soon_and_small():
    """No case takes over two seconds of processor time or 128 MiB more than was taken before."""
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - begun < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 * 1024


def _columns() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    columns = {"x": rng.integers(0, 60, EVENTS), "y": rng.integers(0, 44, EVENTS)}
    return columns | {"t": np.sort(rng.integers(0, 10**6, EVENTS)), "p": rng.integers(0, 2, EVENTS)}


def _hdf5(options: dict, pieces: bytes | None = None) -> bytes:
    """Four columns of u4 with a filter; the piece of each is what is given, if something is."""
    h5py = pytest.importorskip("h5py")
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for key, values in _columns().items():
            dataset = file.create_dataset(
                f"events/{key}", data=values.astype("u4"), chunks=(EVENTS,), **options
            )
            if pieces is not None:
                dataset.id.write_direct_chunk((0,), pieces)
    return stream.getvalue()


def _filters() -> dict[str, tuple[dict, bytes | None]]:
    """Name -> options, and a piece that promises BOMB bytes."""
    plugins = pytest.importorskip("hdf5plugin")
    zstd = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", BOMB) + b"\1\0\0"
    frame = b"\x9e\xa8b2frame\0" + bytes(19) + b"\xd3" + struct.pack(">q", BOMB) + bytes(24)
    return {
        "zstd": (plugins.Zstd(), zstd),
        "lz4": (plugins.LZ4(), struct.pack(">QI", BOMB, BOMB) + bytes(16)),
        "blosc": (plugins.Blosc(), struct.pack("<BBBBIII", 2, 1, 0x21, 4, BOMB, BOMB, 40) + bytes(24)),
        "blosc2": (plugins.Blosc2(), frame),
        "bitshuffle": (plugins.Bitshuffle(), struct.pack(">QI", BOMB, 8192) + bytes(16)),
        "szip": ({"compression": "szip"}, struct.pack("<I", BOMB) + bytes(16)),
        "lzf": ({"compression": "lzf"}, None),
        "scale and offset": ({"scaleoffset": 0}, None),
        "deflate": ({"compression": "gzip", "shuffle": True, "fletcher32": True}, None),
    }


@pytest.mark.parametrize(
    "name", [*["zstd", "lz4", "blosc", "blosc2", "bitshuffle", "szip", "lzf", "deflate"], "scale and offset"]
)
def test_every_filter_is_read_and_its_bomb_is_refused(name):
    options, bomb = _filters()[name]
    try:
        assert len(read_x(_hdf5(options), "e.h5").data) == EVENTS
    except ValueError as error:
        if "szip" in str(error).lower():
            pytest.skip("this build of HDF5 packs no szip")
        raise
    if bomb is not None:
        with pytest.raises(InputError, match=r"e\.h5: a piece of it unpacks to more than it should hold"):
            read_x(_hdf5(options, bomb), "e.h5")


def test_bzip2_is_unpacked_in_trial_to_its_size_and_no_further():
    options = pytest.importorskip("hdf5plugin").BZip2()
    assert len(read_x(_hdf5(options), "e.h5").data) == EVENTS
    piece = bz2.compress(bytes(2**25), 9)
    with pytest.raises(InputError, match=r"a piece of it unpacks to more"):
        read_x(_hdf5(options, piece), "e.h5")


def test_pieces_too_short_for_their_filter_are_not_sound():
    for code in FILTERS:
        assert isinstance(unpacks_within(code, (), b"", 100), bool)
    assert not unpacks_within(32015, (3,), b"\x28\xb5\x2f\xfd", 100)
    assert not unpacks_within(6, (2, 0, 2**31, 0, 8), b"", 100)


def test_records_that_were_never_written_are_not_made_up():
    h5py = pytest.importorskip("h5py")
    record = np.dtype([("x", "u2"), ("y", "u2"), ("t", "u4"), ("p", "u4"), ("rest", "V1000")])
    for chunks in ((1000,), None):
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            padded = np.dtype([*((n, record[n]) for n in "xytp"), *((f"f{i}", "f8") for i in range(120))])
            file.create_dataset("events", (1_000_000,), padded, chunks=chunks)
        with pytest.raises(InputError, match=r"/events was not written to its end"):
            read_x(stream.getvalue(), "e.h5")


def test_of_padded_records_the_four_fields_are_read():
    h5py = pytest.importorskip("h5py")
    padded = np.dtype([*((n, "u4") for n in "xytp"), *((f"f{i}", "f8") for i in range(120))])
    rows = np.zeros(20_000, padded)
    for key, values in _columns().items():
        rows[key] = np.resize(values, len(rows))
    rows["t"] = np.sort(rows["t"])
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("events", data=rows, chunks=(1000,))
    stream = read_x(stream.getvalue(), "e.h5").data
    assert len(stream) == len(rows)
    assert np.array_equal(stream.x, rows["x"])


# AEDAT4


def test_packets_that_keep_megabytes_for_one_event_are_let_go():
    """Packets of 1 MiB with one event each are let go; of 16 MiB, which LZ4 packs by 255, are refused."""
    frame = pytest.importorskip("lz4.frame")
    from tools.fuzz.aedat_maker import LZ4, aedat4, events_of

    rows = events_of(*(np.resize(_columns()[key], 40) for key in "xytp"))

    def padded(size: int) -> bytes:
        return aedat4(rows, (44, 60), LZ4, lambda packet: frame.compress(packet + bytes(size)), step=1)

    assert len(read_x(padded(2**20), "e.aedat4").data) == 40
    with pytest.raises(InputError, match="unpacks to far more than events do"):
        read_x(padded(16 * 2**20), "e.aedat4")


def test_a_description_of_megabytes_and_many_empty_packets_end_soon(monkeypatch):
    from tools.fuzz.aedat_maker import aedat4, events_of

    rows = events_of(*(_columns()[key][:100] for key in "xytp"))
    data = aedat4(rows, (44, 60), step=100)
    monkeypatch.setattr("ktb.inputs.events.aedat4.MAX_PACKETS", 1000)
    with pytest.raises(InputError, match="more than 1,000 packets"):
        read_x(data + struct.pack("<ii", 9, 0) * 2000, "e.aedat4")
    assert data.startswith(MAGIC)


# OpenEXR


def _exr(attributes: dict[str, tuple[str, bytes]], flags: int = 2) -> bytes:
    data = b"\x76\x2f\x31\x01" + struct.pack("<I", flags)
    for name, (kind, value) in attributes.items():
        data += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
    return data + b"\0" + bytes(200)


CHANNELS = b"Z\0" + struct.pack("<iB3xii", 2, 0, 1, 1) + b"\0"
WINDOW = struct.pack("<4i", 0, 0, 63, 63)
PLAIN = {
    "channels": ("chlist", CHANNELS),
    "dataWindow": ("box2i", WINDOW),
    "displayWindow": ("box2i", WINDOW),
}


def test_a_header_of_openexr_is_read_without_its_decoder():
    (part,) = read_exr_header(_exr(PLAIN), "z.exr")
    assert part.channels == ("Z",)
    assert part.data == (0, 0, 63, 63)
    assert part.pieces == 64
    assert not part.deep
    assert not part.subsampled


@pytest.mark.parametrize(
    ("changed", "flags", "message"),
    [
        ({"dataWindow": ("box2i", struct.pack("<4i", 0, 0, 2**31 - 1, 2**31 - 1))}, 2, "50,000,000"),
        ({"dataWindow": ("box2i", struct.pack("<4i", 5, 5, 0, 0))}, 2, "damaged"),
        ({"tiles": ("tiledesc", struct.pack("<IIB", 2**31, 2**31, 0))}, 0x202, "MiB in memory"),
        ({"tiles": ("tiledesc", struct.pack("<IIB", 0, 0, 0))}, 0x202, "damaged"),
        ({"chunkCount": ("int", struct.pack("<i", 2**30))}, 2, "1,073,741,824 tiles"),
        ({"channels": ("chlist", CHANNELS[:-1] * 300 + b"\0")}, 2, "300 channels"),
        ({"channels": ("chlist", CHANNELS[:9])}, 2, "damaged"),
        ({"type": ("string", b"deepscanline")}, 2, "deep OpenEXR"),
        ({}, 0x802, "deep OpenEXR"),
        ({}, 0x1002, "damaged"),
    ],
)
def test_absurd_headers_of_openexr_are_refused(changed, flags, message):
    pytest.importorskip("OpenEXR")
    with pytest.raises(InputError, match=message):
        read_x(_exr(PLAIN | changed, flags), "z.exr")
