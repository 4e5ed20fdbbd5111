"""NumPy files, checked by their headers before allocation; pickled objects are refused."""

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from ktb.inputs.events.columns import by_name
from ktb.inputs.events.stacks import histogram_shape, summed
from ktb.inputs.limits import MAX_ENTRIES, InputError, check_bytes, check_layout
from ktb.inputs.readers.zip_guard import DirectoryTooLarge, open_zip

MAX_HEADER = 10_000
"""Maximum bytes of a .npy header, as in NumPy."""
MAX_DIRECTORY = 256 * 2**10
"""Maximum bytes of a zip file's member list: 256 members with long names."""
MAX_NESTING = 16
"""Maximum nesting of brackets in a .npy header; records need few, and Python's parser is limited."""
PIECE = 16 * 2**20
_DAMAGED = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError)


@dataclass(frozen=True, eq=False)
class StoredArray:
    """An array in a file, of which only the header has been read.

    Attributes:
        key: its name in a .npz file, "" for a .npy.
        shape, dtype: as promised; () and object for a damaged header.
        read: a function that gives the array (read-only where it is a view of the file's bytes), and raises
            InputError if it is pickled, larger than the limit, damaged or cut off.
    """

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    @property
    def nbytes(self) -> int:
        """Bytes of the array by its header."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def event_fields(self) -> dict[str, str] | None:
        """Field names by role x, y, t, p of a structured array of events, else None."""
        structured = self.dtype.names is not None and len(self.shape) == 1
        return by_name(self.dtype.names) if structured else None

    @property
    def is_event_table(self) -> bool:
        """Whether the shape is (N, 4) or (4, N), too narrow for an image."""
        return self.dtype.kind in "uif" and len(self.shape) == 2 and 4 in self.shape

    @property
    def is_picture(self) -> bool:
        """Whether the shape can be (H, W), (H, W, C) or (C, H, W), or a stack of event histograms."""
        try:
            check_layout(histogram_shape(self.shape) or _channels_last(self.shape), self.dtype)
        except InputError:
            return False
        return True

    @property
    def title(self) -> str:
        """For display, such as "(24988, 4) float64"."""
        shape = ", ".join(map(str, self.shape))
        return f"({shape}) {'structured' if self.dtype.names else self.dtype}"


def stored_npy(data: bytes, name: str) -> StoredArray:
    """The array of a .npy file; InputError for a damaged header."""
    stream = io.BytesIO(data)
    shape, column_major, dtype = _read_header(stream, name)
    start = stream.tell()

    def read() -> np.ndarray:
        size = _check_array(shape, dtype, len(data) - start, name)
        values = np.frombuffer(data, dtype, size // dtype.itemsize, start)
        return _shaped(values, shape, column_major)

    return StoredArray("", shape, dtype, read)


def stored_npz(data: bytes, name: str) -> list[StoredArray]:
    """The arrays of a .npz file, in its order.

    Raises:
        InputError: no zip file with arrays, more than MAX_ENTRIES members, locked, damaged, or packed in
            another way than NumPy does it.
    """
    archive = _guarded(lambda: open_zip(data, MAX_DIRECTORY), name)
    members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    if not members:
        raise InputError(f"{name}: a zip file without arrays; save one with numpy.savez(depth=...)")
    if len(archive.infolist()) > MAX_ENTRIES:
        raise InputError(f"{name}: {len(archive.infolist())} members; at most {MAX_ENTRIES} are taken")
    if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in members):
        raise InputError(f"{name}: packed as NumPy never does; save it with numpy.savez_compressed")
    return [_guarded(lambda info=info: _member(archive, info, name), name) for info in members]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> StoredArray:
    def read() -> np.ndarray:
        return _guarded(lambda: _read_member(archive, info, name), name)

    with archive.open(info) as stream:
        try:
            shape, _, dtype = _read_header(stream, name)
        except InputError:  # told when it is read: another member may be the one that counts
            shape, dtype = (), np.dtype(object)
    return StoredArray(info.filename.removesuffix(".npy"), shape, dtype, read)


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> np.ndarray:
    with archive.open(info) as stream:
        shape, column_major, dtype = _read_header(stream, name)
        size = _check_array(shape, dtype, info.file_size, name)
        check_bytes(size, name, info.compress_size)
        values = np.empty(size // dtype.itemsize, dtype)
        target, filled = values.view(np.uint8), 0
        while filled < size:  # in pieces, so that the packed and the unpacked are never both there twice
            piece = stream.read(min(PIECE, size - filled))
            if not piece:
                raise InputError(_cut_off(name, filled, size))
            target[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        stream.read(1)  # the end is where the checksum is compared
    return _shaped(values, shape, column_major)


def as_picture(array: StoredArray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The image (H, W) or (H, W, C), channels last, and notes; InputError for another array.

    Of a stack of event histograms it is the sum (H, W, 3), see `stacks.summed`.
    """
    if (histogram := histogram_shape(array.shape)) is not None:
        check_layout(histogram, array.dtype, name)
        frame, note = summed(array.read(), name)
        return frame, (note,)
    last = _channels_last(array.shape)
    if array.shape:
        check_layout(last, array.dtype, name)
    picture = array.read().squeeze()
    if not array.shape:  # a single number; a damaged header was told by read
        check_layout((), picture.dtype, name)
    if last == array.shape:
        return picture, ()
    note = f"The array has the shape {array.shape}, channels first; it was turned to {last}."
    return np.ascontiguousarray(np.moveaxis(picture, 0, -1)), (note,)


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with channels last."""
    sides = tuple(side for side in shape if side != 1)
    first = len(sides) == 3 and sides[0] in (2, 3, 4) and sides[2] not in (2, 3, 4)
    return (*sides[1:], sides[0]) if first else shape


def _read_header(stream: BinaryIO, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, column-major order and dtype; never more than MAX_HEADER bytes are read."""
    np_format = np.lib.format
    kinds = {
        (1, 0): ("<H", np_format.read_array_header_1_0),
        (2, 0): ("<I", np_format.read_array_header_2_0),
    }
    try:
        length_format, read = kinds[np_format.read_magic(stream)]
        length = stream.read(struct.calcsize(length_format))
        (size,) = struct.unpack(length_format, length)
        if size > MAX_HEADER:
            raise ValueError(f"the header is {size:,} bytes long")
        header = stream.read(size)
        if _depth(header) > MAX_NESTING:
            raise ValueError("brackets within brackets")
        shape, column_major, dtype = read(io.BytesIO(length + header))
        if dtype.itemsize < 1 or min(shape, default=0) < 0:
            raise ValueError(f"shape {shape} of {dtype}")
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError):
        raise  # of the archive around it
    except Exception as error:  # damaged headers raise many types
        raise InputError(f"{name}: the .npy header is damaged or of unknown kind; save it again") from error
    return shape, column_major, dtype


def _depth(header: bytes) -> int:
    """Maximum nesting depth of brackets, including those within strings."""
    depth = deepest = 0
    for byte in header:
        depth += (byte in b"([{") - (byte in b")]}")
        deepest = max(deepest, depth)
    return deepest


def _check_array(shape: tuple[int, ...], dtype: np.dtype, stored: int, name: str) -> int:
    """Size in bytes; InputError for objects, too much memory, or more than the file contains."""
    if dtype.hasobject:
        raise InputError(f"{name}: holds Python objects, which can run programs; save numbers")
    size = math.prod(shape) * dtype.itemsize
    check_bytes(size, name)
    if size > stored:
        raise InputError(_cut_off(name, stored, size))
    return size


def _cut_off(name: str, found: int, size: int) -> str:
    return f"{name}: cut off, {found:,} of {size:,} bytes are there; save or send it again"


def _shaped(values: np.ndarray, shape: tuple[int, ...], column_major: bool) -> np.ndarray:
    if values.dtype.names is None:
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return np.require(values, requirements="A").reshape(shape, order="F" if column_major else "C")


def _guarded(action: Callable, name: str):
    """Run a decompression with its errors as InputError."""
    try:
        return action()
    except InputError:
        raise
    except DirectoryTooLarge as error:
        raise InputError(f"{name}: far more than {MAX_ENTRIES} members ({error}); save X alone") from error
    except (*_DAMAGED, ValueError, struct.error, IndexError) as error:
        raise InputError(f"{name}: the .npz file is damaged or locked ({error}); save it again") from error
