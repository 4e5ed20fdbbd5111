"""HDF5 files whose indexes never end or have too many pieces: refused before HDF5 walks them."""

from __future__ import annotations

import bz2
import io
import re
import struct
import time

import numpy as np
import pytest

from ktb.inputs import InputError, read_x
from ktb.inputs.events import hdf5_index

h5py = pytest.importorskip("h5py")
EVENTS = 300
_FAN = 64


@pytest.fixture(autouse=True)
def soon():
    begun = time.process_time()
    yield
    assert time.process_time() - begun < 3


def recording(count: int = EVENTS, version: str = "earliest", **options) -> bytes:
    """Four columns of u4."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=version) as file:
        for key, most in (("x", 60), ("y", 44), ("t", 10**6), ("p", 2)):
            file.create_dataset(f"events/{key}", data=np.arange(count, dtype="u4") % most, **options)
    return stream.getvalue()


def with_tree(levels: int, leads_back: bool) -> bytes:
    """Above the pieces of each column so many levels, whose nodes have one child 64 times, or themselves."""
    data = bytearray(recording(chunks=(EVENTS,)))
    for leaf in [found.start() for found in re.finditer(b"TREE\x01", bytes(data))]:
        first, last = data[leaf + 24 : leaf + 48], data[leaf + 56 : leaf + 80]
        child = leaf
        for level in range(1, levels + 1):
            node = len(data)
            pointer = struct.pack("<Q", node if leads_back else child)
            data += struct.pack("<4sBBH16s", b"TREE", 1, level, _FAN, b"\xff" * 16)
            data += (bytes(first) + pointer) * _FAN + last + bytes(100)
            child = node
        data[:] = data.replace(b"\3\2\2" + struct.pack("<Q", leaf), b"\3\2\2" + struct.pack("<Q", child), 1)
    data[40:48] = struct.pack("<Q", len(data))
    return bytes(data)


@pytest.mark.parametrize(("levels", "leads_back"), [(1, False), (6, False), (2, True)])
def test_trees_that_share_nodes_or_lead_back_are_refused(levels, leads_back):
    """HDF5 goes through 64 to the power of the levels, and one that leads back breaks the process."""
    with pytest.raises(InputError, match=r"e\.h5: the HDF5 file is damaged \(nodes of an index are shared"):
        read_x(with_tree(levels, leads_back), "e.h5")


def test_a_tree_that_is_sound_is_read():
    assert len(read_x(with_tree(0, False), "e.h5").data) == EVENTS
    assert len(read_x(recording(5000, chunks=(10,)), "e.h5").data) == 5000


@pytest.mark.parametrize("number", [0, 3, -1])
def test_a_node_that_is_its_own_neighbour_is_refused(number):
    """HDF5 goes from neighbour to neighbour to tell the size of an index."""
    data = bytearray(recording(5000, chunks=(10,)))
    leaf = [found.start() for found in re.finditer(b"TREE\x01\0", bytes(data))][number]
    struct.pack_into("<Q", data, leaf + 16, leaf)
    with pytest.raises(InputError, match=r"is damaged \(neighbours of an index\)"):
        read_x(bytes(data), "e.h5")


def test_a_group_that_leads_back_is_refused():
    data = recording()
    root = data.index(b"TREE\0")
    (names,) = struct.unpack_from("<Q", data, root + 32)
    assert data[names:].startswith(b"SNOD")
    changed = bytearray(data)
    struct.pack_into("<BH", changed, root + 5, 1, 2)
    struct.pack_into("<QQQ", changed, root + 32, root, 0, root)
    with pytest.raises(InputError, match="is damaged"):
        read_x(bytes(changed), "e.h5")
    changed = bytearray(data)
    struct.pack_into("<H", changed, root + 6, 2)  # the same names twice
    struct.pack_into("<QQQ", changed, root + 32, names, 8, names)
    with pytest.raises(InputError, match="names of a group are shared"):
        read_x(bytes(changed), "e.h5")


def test_a_header_that_leads_back_is_refused():
    data = bytearray(recording())
    (header,) = struct.unpack_from("<Q", data, 64)
    assert data[header : header + 1] == b"\1"
    struct.pack_into("<HHI", data, header + 16, 16, 16, 0)
    struct.pack_into("<QQ", data, header + 24, header + 16, 24)
    with pytest.raises(InputError, match="header of an object leads back"):
        read_x(bytes(data), "e.h5")


@pytest.mark.parametrize(
    "options",
    [
        {"chunks": (EVENTS,)},
        {"chunks": (EVENTS,), "compression": "gzip"},
        {"chunks": (7,)},
        {"chunks": (7,), "maxshape": (None,)},
        {"chunks": (7,), "maxshape": (None,), "compression": "gzip", "shuffle": True},
        {"chunks": (7,), "maxshape": (EVENTS,), "compression": "gzip"},
        {},
    ],
)
@pytest.mark.parametrize("version", ["earliest", "v110", "latest"])
def test_indexes_of_every_kind_are_read(version, options, tmp_path):
    data = recording(version=version, **options)
    (tmp_path / "e.h5").write_bytes(data)
    for found in (read_x(data, "e.h5"), read_x(tmp_path / "e.h5")):
        assert len(found.data) == EVENTS


@pytest.mark.parametrize(
    ("magic", "place", "options"), [(b"EAHD", 44, {"maxshape": (None,)}), (b"FAHD", 8, {})]
)
def test_indexes_that_promise_too_many_pieces_are_refused(magic, place, options):
    data = bytearray(recording(version="latest", chunks=(7,), **options))
    struct.pack_into("<Q", data, data.index(magic) + place, 2**40)
    with pytest.raises(InputError, match=r"an index of more than 2,000,000 pieces; repack"):
        read_x(bytes(data), "e.h5")


def test_deep_trees_of_the_newest_kind_are_refused():
    data = bytearray(recording(version="latest", chunks=(7,)))
    place = len(data)
    data += b"BTHD" + bytes(8) + struct.pack("<H", 3) + bytes(24)
    with pytest.raises(InputError, match="a large index of the newest kind"):
        hdf5_index._check_trees_2(
            lambda at, count: bytes(data[at : at + count]), struct.pack("<Q", place), "e"
        )


def test_addresses_that_are_not_counted_from_the_start_are_refused():
    data = bytearray(recording())
    struct.pack_into("<Q", data, 24, 512)
    with pytest.raises(InputError, match=r"unusual addresses; repack it"):
        read_x(bytes(data), "e.h5")
    with pytest.raises(InputError, match=r"e\.h5: the HDF5 file is damaged"):
        read_x(bytes(data[:9]), "e.h5")


def test_a_piece_of_bzip2_that_was_cut_off_is_refused():
    """The filter waits for its end without end."""
    options = dict(pytest.importorskip("hdf5plugin").BZip2())
    data = recording(chunks=(EVENTS,), **options)
    whole = bz2.compress((np.arange(EVENTS, dtype="u4") % 60).tobytes(), 9)
    for cut in (1, 14, len(whole) - 1):
        stream = io.BytesIO(data)
        with h5py.File(stream, "r+") as file:
            file["events/x"].id.write_direct_chunk((0,), whole[:cut])
        with pytest.raises(InputError, match=r"e\.h5: a piece of it unpacks to more"):
            read_x(stream.getvalue(), "e.h5")


def test_many_small_packed_pieces_are_looked_up_at_once():
    """One by one, the look-ups take the square of their number."""
    stream, count = io.BytesIO(), 12_000
    with h5py.File(stream, "w") as file:
        for key in "ytp":
            file[f"events/{key}"] = np.arange(count, dtype="u4")
        column = file.create_dataset("events/x", (count,), "u4", chunks=(1,), compression="gzip")
        for row in range(count):
            column.id.write_direct_chunk((row,), bytes(4), filter_mask=1)
    begun = time.process_time()
    with pytest.raises(InputError, match="event polarities"):
        read_x(stream.getvalue(), "e.h5")
    assert time.process_time() - begun < 1


def test_large_pieces_for_few_events_are_refused():
    """Each piece would unpack to megabytes for one row of four bytes."""
    stream, count = io.BytesIO(), 20
    with h5py.File(stream, "w") as file:
        options = {"chunks": (1, 2**24), "maxshape": (None, None), "compression": "gzip"}
        table = file.create_dataset("events", (count, 4), "u1", **options)
        for row in range(count):
            table.id.write_direct_chunk((row, 0), bytes(100))
    with pytest.raises(InputError, match=r"320 MiB of pieces for 0 MiB of events; repack it with smaller"):
        read_x(stream.getvalue(), "e.h5")
