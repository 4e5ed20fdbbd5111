"""NumPy files, checked by their headers before they take memory; pickled objects are refused."""

import io
import math
import zipfile
from typing import BinaryIO

import numpy as np

from ktb.modalities.limits import InputError, check_layout


def read_npy(data: bytes, name: str) -> np.ndarray:
    """The array of a .npy file; InputError if it holds no picture."""
    return _read_stream(io.BytesIO(data), name)


def _read_stream(stream: BinaryIO, name: str) -> np.ndarray:
    """Check the header of a .npy before any memory is taken, then read exactly what it promises."""
    np_format = np.lib.format
    readers = {(1, 0): np_format.read_array_header_1_0, (2, 0): np_format.read_array_header_2_0}
    try:
        shape, column_major, dtype = readers[np_format.read_magic(stream)](stream)
    except Exception as error:  # damaged headers raise many types
        raise InputError(f"{name}: the .npy header is damaged or of unknown kind; save it again") from error
    check_layout(shape, dtype, name)
    size = math.prod(shape) * dtype.itemsize
    data = stream.read(size)
    if len(data) < size:
        raise InputError(f"{name}: cut off, {len(data):,} of {size:,} bytes are there; save or send it again")
    flat = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if column_major else "C").squeeze()


def read_npz(data: bytes, name: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            arrays = [entry for entry in archive.namelist() if entry.endswith(".npy")]
            if not arrays:
                raise InputError(f"{name}: a zip file without arrays; save one with numpy.savez(depth=...)")
            with archive.open("depth.npy" if "depth.npy" in arrays else arrays[0]) as stream:
                return _read_stream(stream, name)
    except (zipfile.BadZipFile, zipfile.zlib.error, RuntimeError, NotImplementedError, EOFError) as error:
        raise InputError(f"{name}: the .npz file is damaged or locked ({error}); save it again") from error
