"""NumPy files: which array is taken, how channels are turned, and what is refused before it takes memory."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

from ktb.inputs import InputError, read_x
from ktb.inputs.limits import MAX_DECODED_BYTES

RNG = np.random.default_rng(0)
PICTURE = RNG.random((40, 50))


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(save=np.savez, **arrays) -> bytes:
    stream = io.BytesIO()
    save(stream, **arrays)
    return stream.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for key, content in members.items():
            archive.writestr(key, content)
    return stream.getvalue()


def header(shape: tuple[int, ...], descr: str = "<f8", version: int = 1) -> bytes:
    stream = io.BytesIO()
    write = {1: np.lib.format.write_array_header_1_0, 2: np.lib.format.write_array_header_2_0}[version]
    write(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    ("names", "taken"),
    [
        ("rgb depth label", "depth"),
        ("label x", "x"),
        ("label image", "image"),
        ("label conf", "label"),
        ("image x depth", "depth"),
    ],
)
def test_which_picture_of_several(names, taken, save):
    arrays = {name: RNG.random((40, 50)) for name in names.split()}
    raw = read_x(npz(save, **arrays))
    np.testing.assert_array_equal(raw.data, arrays[taken])
    assert raw.facts["array"] == taken
    assert f"several pictures; {taken} was taken" in raw.notes[0]


def test_what_is_no_picture_is_passed_over():
    raw = read_x(npz(intrinsics=np.eye(3), scale=np.float64(2), map=PICTURE, names=np.array(["a"])))
    np.testing.assert_array_equal(raw.data, PICTURE)
    assert raw.facts["array"] == "map"
    assert not raw.notes


def test_a_depth_that_cannot_be_read_is_not_replaced_in_silence():
    with pytest.raises(InputError, match="holds Python objects"):
        read_x(npz(depth=np.full((40, 50), None), image=PICTURE))


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_channels_first_are_turned_and_told(channels):
    array = RNG.random((channels, 40, 50))
    raw = read_x(npy(array))
    np.testing.assert_array_equal(raw.data, array.transpose(1, 2, 0))
    assert raw.notes == (
        f"The array has the shape {array.shape}, channels first; it was turned to (40, 50, {channels}).",
    )
    last = read_x(npy(raw.data))
    np.testing.assert_array_equal(last.data, raw.data)
    assert not last.notes


@pytest.mark.parametrize("shape", [(1, 40, 50), (40, 50, 1), (1, 40, 50, 1)])
def test_axes_of_length_one_are_dropped_without_a_word(shape):
    raw = read_x(npy(PICTURE.reshape(shape)))
    np.testing.assert_array_equal(raw.data, PICTURE)
    assert not raw.notes


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", "<f8", "<i4"])
def test_order_of_bytes_and_of_the_axes(dtype):
    array = (PICTURE * 1000).astype(dtype)
    for data in (
        npy(array),
        npy(np.asfortranarray(array)),
        npz(a=array),
        npz(np.savez_compressed, a=array.T),
    ):
        found = read_x(data).data
        assert found.dtype.isnative
        np.testing.assert_array_equal(found, array if found.shape == array.shape else array.T)


def test_version_two_of_the_header():
    data = header(PICTURE.shape, version=2) + PICTURE.tobytes()
    np.testing.assert_array_equal(read_x(data).data, PICTURE)


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: zipped({"a.npy": data})])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.full((40, 50), None)), "holds Python objects"),
        (npy(np.zeros((40, 50), "U8")), "holds dtype <U8; save numbers"),
        (npy(np.zeros((40, 50), "M8[s]")), "holds dtype datetime64"),
        (npy(np.zeros(40, [("a", "f4"), ("b", "O")])), "holds Python objects"),
        (npy(np.zeros(1000)), r"shape \(1000,\)"),
        (npy(np.float64(1)), r"shape \(\)"),
        (npy(np.zeros((40, 50, 7))), r"shape \(40, 50, 7\)"),
        (npy(np.zeros((0, 4))), "holds no events"),
        (npy(np.zeros((0, 50))), "each side needs at least 32"),
        (npy(PICTURE)[:-1], "cut off, .* bytes are there"),
        (header((7000, 7000)), "cut off"),
        (header((10**9, 4)), r"1,000,000,000 events; at most 20,000,000"),
        (header((-40, 50)), "the .npy header is damaged"),
        (header((40, 50), "V0"), "the .npy header is damaged"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(1000), "the .npy header is damaged"),
        (b"\x93NUMPY\x03\x00" + bytes(1000), "the .npy header is damaged or of unknown kind"),
    ],
    ids=range(16),
)
def test_what_cannot_be_read_is_named(wrap, content, message):
    with pytest.raises(InputError, match=message):
        read_x(wrap(content), "a.npy")


def test_archives_that_cannot_be_read_are_named():
    good = zipped({"a.npy": npy(PICTURE)})
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with pytest.raises(InputError, match=r"packed as NumPy never does; save it with numpy\.savez_compr"):
            read_x(zipped({"a.npy": npy(PICTURE)}, method))
    with pytest.raises(InputError, match=r"300 members; at most 256"):
        read_x(zipped({f"{i}.npy": npy(np.zeros(1)) for i in range(300)}))
    with pytest.raises(InputError, match="far more than 256 members"):
        read_x(zipped({f"{i}.npy": b"" for i in range(10_000)}))
    with pytest.raises(InputError, match="a zip file without arrays"):
        read_x(zipped({"readme.txt": b"hello"}))
    with pytest.raises(InputError, match="npz file is damaged or locked"):
        read_x(good[:-10])
    flipped = bytearray(zipped({"a.npy": npy(PICTURE)}, zipfile.ZIP_STORED))
    flipped[2000] ^= 1
    with pytest.raises(InputError, match=r"damaged or locked .*CRC"):
        read_x(bytes(flipped))
    locked = bytearray(good)
    for mark, at in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        locked[good.index(mark) + at] |= 1
    with pytest.raises(InputError, match="damaged or locked"):
        read_x(bytes(locked))


def test_zip_bombs_take_neither_memory_nor_time():
    side = 7000
    assert side * side * 4 * 8 > MAX_DECODED_BYTES
    bombs = (
        zipped({"a.npy": header((side, side, 4)) + bytes(2**22)}),  # too large, as promised
        zipped({"a.npy": header((4000, 4000)) + bytes(2**22)}),  # less than promised
        zipped({"a.npy": b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(2**24)}),  # a header of 2 GiB
        zipped({"a.npy": header((20_000_000, 4)) + bytes(2**22)}),
    )
    tracemalloc.start()
    started = time.process_time()
    for bomb in bombs:
        with pytest.raises(InputError, match=r"in memory|cut off|header is damaged|the header promises"):
            read_x(bomb, "bomb.npz")
    assert time.process_time() - started < 2
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_a_lying_directory_does_not_help():
    bomb = bytearray(zipped({"a.npy": header((1000, 1000)) + bytes(1000)}))
    at = bomb.index(b"PK\x01\x02")
    struct.pack_into("<I", bomb, at + 24, 2**31)  # the size that the directory promises
    with pytest.raises(InputError, match=r"cut off, 1,000 of 8,000,000 bytes are there"):
        read_x(bytes(bomb), "lie.npz")


def test_arrays_are_not_copied_more_than_needed():
    events = np.zeros((2_000_000, 4))
    events[:, 0] = np.arange(len(events))
    events[:, 1], events[:, 2], events[:, 3] = 100, 100, np.arange(len(events)) % 2
    data = npy(events)
    tracemalloc.start()
    read_x(data, "events.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * events.nbytes
