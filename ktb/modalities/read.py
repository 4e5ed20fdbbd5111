"""Reading an X input of any kind: its contents say what it is, the suffix decides for tables only."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ktb.modalities.arrays import read_npy, read_npz
from ktb.modalities.exr import EXR_MAGIC, read_exr
from ktb.modalities.files import Source, load
from ktb.modalities.limits import InputError
from ktb.modalities.options import AUTO, XOptions
from ktb.modalities.pictures import read_picture
from ktb.modalities.polarization import join_files
from ktb.modalities.raw import RawX


def read_x(
    source: Source | Sequence[Source],
    filename: str | Sequence[str] | None = None,
    options: XOptions = AUTO,
) -> RawX:
    """Read an X input without losing levels.

    Args:
        source: a file or its contents; or several: the pictures behind a polarizer at 0, 45, 90 and 135
            degrees, or the sine and cosine maps of an angle of polarization.
        filename: name or names for messages, and to tell several files apart; by default those of the paths.
        options: `columns`, `time_unit`, `sensor_hw` and `window_ms` matter here, for event streams.

    Raises:
        InputError: no such file, not readable, pickled, damaged, or outside `ktb.modalities.limits`.
    """
    if isinstance(source, str | Path | bytes):
        assert filename is None or isinstance(filename, str)
        return _read_one(source, filename, options)
    sources = list(source)
    names = [None] * len(sources) if filename is None else list(filename)
    if len(sources) == 1:
        return _read_one(sources[0], names[0], options)
    if len(sources) not in (2, 4):
        raise InputError(
            f"{len(sources)} files as X: give one, or the four pictures behind a polarizer at 0, 45, 90 and "
            "135 degrees, or the sine and cosine of the angle of polarization"
        )
    return join_files([_read_one(file, name, options) for file, name in zip(sources, names)])


def _read_one(source: Source, filename: str | None, options: XOptions) -> RawX:
    data, name = load(source, filename)
    if data.startswith(b"\x93NUMPY"):
        return _raster(read_npy(data, name), "NPY", name)
    if data.startswith(b"PK\x03\x04"):
        return _raster(read_npz(data, name), "NPZ", name)
    if data.startswith(EXR_MAGIC):
        return read_exr(data, name)
    return read_picture(data, name)


def _raster(array: np.ndarray, container: str, name: str) -> RawX:
    kind = "sin_cos" if array.ndim == 3 and array.shape[2] == 2 else "picture"
    return RawX(array, f"{container}, {array.dtype}", name, kind)
