"""NumPy files and archives that are damaged, absurd or hostile: refused soon, within little memory."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest

from ktb.inputs import InputError, XOptions, limits, read_x

GIB = 2**30


@pytest.fixture(autouse=True)
def soon_and_small():
    """No case takes over two seconds of processor time or half a GiB more than was taken before."""
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - begun < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 512 * 1024


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _promise(shape: str, descr: str = "<f4", version: int = 1, length: int | None = None) -> bytes:
    """A .npy whose header says this, with 64 bytes of data."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(header) if length is None else length)
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + bytes(64)


def _zip(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


DEPTH = np.linspace(0.5, 5, 40 * 50).astype(np.float32).reshape(40, 50)
GOOD = _zip({"depth.npy": _npy(DEPTH)})


class Trap:
    """Unpickling it would call a function; a reader that only looks never does."""

    sprung = False

    def __reduce__(self):
        return (Trap.spring, ())

    @staticmethod
    def spring():
        Trap.sprung = True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_npy(np.array([[{"a": 1}] * 40] * 40, dtype=object)), "Python objects"),
        (_npy(np.zeros((40, 40), bool)), "bool"),
        (_npy(np.zeros((40, 40), complex)), "complex"),
        (_npy(np.zeros((40, 40), "U3")), "U3"),
        (_npy(np.zeros(1000)), r"shape \(1000,\)"),
        (_npy(np.zeros((40, 40, 7))), r"shape \(40, 40, 7\)"),
        (_npy(np.zeros((40, 10))), "10 x 40 pixels; each side needs at least 32"),
        (_npy(np.zeros(())), r"shape \(\)"),
        (_promise("(1000000000, 1000000000)"), "at most 16,384 a side"),
        (_promise("(10000, 10000)"), "50,000,000 in all"),
        (_promise("(7000, 7000)"), "cut off"),
        (_promise("(7000, 7000, 4)", "<f8"), "1,495 MiB in memory, at most"),
        (_promise("(40, 40)", "<f4"), "cut off"),
        (_promise("(100000000000, 4)"), "events"),
        (_promise(f"({10**30}, 4)"), "the file: "),
        (_promise("(-40, 40)"), "the file: "),
        (_promise("(40.5, 40)"), "header is damaged"),
        (_promise("(40, 40", "<f4"), "header is damaged"),
        (_promise("(" * 5000), "header is damaged"),
        (_promise("[" * 900 + "]" * 900), "header is damaged"),
        (_promise("(40, 40)", "<f4", version=2, length=2**32 - 1), "header is damaged"),
        (_promise("(40, 40)" + " " * 60_000), "header is damaged"),
        (_promise("(40, 40)", "V0"), "the file: "),
        (_promise("(40, 40)", "<f999999999"), "header is damaged"),
        (b"\x93NUMPY\x09\x00" + bytes(80), "header is damaged"),
        (b"\x93NUMPY", "header is damaged"),
    ],
)
def test_bad_arrays_are_named_in_npy_and_npz(content, message):
    for data in (content, _zip({"depth.npy": content})):
        with pytest.raises(InputError, match=message):
            read_x(data)


def test_pickles_are_never_loaded():
    array = np.empty((40, 50), dtype=object)
    array[:] = Trap()
    for data in (_npy(array), _zip({"depth.npy": _npy(array)}), pickle.dumps(array, protocol=4)):
        with pytest.raises(InputError, match=r"Python objects|pickle"):
            read_x(data)
    assert not Trap.sprung
    pickle.loads(pickle.dumps(Trap()))
    assert Trap.sprung, "the trap works"


# Archives


def _raw_member(name: bytes, content: bytes, size: int, method: int = 8, flags: int = 0) -> bytes:
    """An archive of one member as these bytes, said to unpack to `size`."""
    sizes = struct.pack("<III", 0, len(content), min(size, 2**32 - 1))
    common = struct.pack("<HHHHH", 20, flags, method, 0, 0) + sizes
    local = b"PK\x03\x04" + common + struct.pack("<HH", len(name), 0) + name + content
    central = b"PK\x01\x02\x14\0" + common + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + b"PK\x05\x06" + end


def _deflated_zeros(head: bytes, mebibytes: int) -> bytes:
    """head and then zeros, made from one compressed mebibyte that is repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    once = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + once * mebibytes + packer.flush(zlib.Z_FINISH)


def test_the_archives_of_these_tests_are_readable():
    content = _npy(DEPTH)
    data = bytearray(_raw_member(b"depth.npy", content, len(content), method=0))
    checksum = struct.pack("<I", zlib.crc32(content))
    data[14:18] = checksum
    central = data.rindex(b"PK\x01\x02")
    data[central + 16 : central + 20] = checksum
    assert np.array_equal(read_x(bytes(data)).data, DEPTH)
    assert np.array_equal(read_x(GOOD).data, DEPTH)


@pytest.mark.parametrize("shape", ["(50000, 50000)", "(16000, 3000, 4)", "(2500000000, 4)", "(10000000000,)"])
def test_ten_gigabytes_of_zeros_in_an_archive_are_not_unpacked(shape):
    descr = "<f8" if shape == "(16000, 3000, 4)" else "<f4"
    bomb = _raw_member(b"depth.npy", _deflated_zeros(_promise(shape, descr), 10_240), 10 * GIB)
    assert len(bomb) < 16 * 2**20
    with pytest.raises(InputError, match=r"^the file: "):
        read_x(bomb)


def test_a_small_array_before_ten_gigabytes_of_zeros_is_all_that_is_unpacked():
    bomb = _raw_member(b"depth.npy", _deflated_zeros(_promise("(40, 50)"), 10_240), 10 * GIB)
    assert read_x(bomb).data.shape == (40, 50)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_zip({"readme.txt": b"hello"}), "zip"),
        (_zip({"inner.npz": GOOD}), "zip"),
        (
            _zip({f"a{i}.npy": _npy(DEPTH[:1, :1]) for i in range(limits.MAX_ENTRIES + 1)}),
            "entries|members|arrays",
        ),
        (_zip({f"{i}.txt": b"" for i in range(5000)}), "the file: "),
        (GOOD[: len(GOOD) // 2], "damaged"),
        (GOOD[:-30], "damaged"),
        (b"PK\x03\x04" + bytes(40), "damaged"),
        (b"PK\x05\x06" + bytes(18), "the file: "),
        (_raw_member(b"depth.npy", _npy(DEPTH), 8128, method=99), "packed as NumPy never does"),
        (_raw_member(b"depth.npy", _npy(DEPTH), 8128, method=0, flags=1), "damaged|locked|encrypted"),
        (_raw_member(b"depth.npy", _npy(DEPTH), 8128, method=0), "the file: "),
        (_raw_member(b"depth.npy", b"\xff" * 100, 8128), "damaged|cut off"),
        (_raw_member(b"depth.npy", _deflated_zeros(_npy(DEPTH)[:200], 0), 2**31), "the file: "),
    ],
)
def test_bad_archives_are_named(data, message):
    with pytest.raises(InputError, match=message):
        read_x(data)


def test_entries_that_share_their_data_are_refused_or_read_once():
    """A thousand names for one member: what a small file unpacks to must stay small."""
    name, content = b"depth.npy", _npy(DEPTH)
    data = _raw_member(name, content, len(content), method=0)
    start, end = data.rindex(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    central = data[start:end]
    numbers = struct.pack("<HHHHIIH", 0, 0, 1000, 1000, 1000 * len(central), start, 0)
    with pytest.raises(InputError, match=r"^the file: "):
        read_x(data[:start] + 1000 * central + b"PK\x05\x06" + numbers)


def test_odd_tables_and_times_of_events_are_named():
    """Found by the fuzz test: fewer columns than were said, and times whose span overflows."""
    with pytest.raises(InputError, match="3 columns, but xytp were said"):
        read_x(b"1 2 3\n4 5 6\n", "e.csv", XOptions(columns="xytp"))
    rows = [f"{i * 1e304} {i % 40} {i % 30} {i % 2}" for i in range(200)]
    with pytest.raises(InputError, match=r"^e\.txt: "):
        read_x("\n".join(rows).encode(), "e.txt", XOptions(columns="txyp"))
