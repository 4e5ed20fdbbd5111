"""Reader of X inputs of any kind, detected by content; the suffix matters for tables only."""

from collections.abc import Sequence
from pathlib import Path

from ktb.inputs.encoders.byte_order import in_order
from ktb.inputs.encoders.stokes import join_files
from ktb.inputs.events import aedat4, hdf5
from ktb.inputs.events.build import build_events
from ktb.inputs.events.stacks import histogram_shape
from ktb.inputs.events.text import events_in_arrays, looks_like_table, read_text
from ktb.inputs.limits import InputError
from ktb.inputs.options import AUTO, XOptions
from ktb.inputs.readers.exr import read_exr
from ktb.inputs.readers.exr_header import EXR_MAGIC
from ktb.inputs.readers.files import Source, load
from ktb.inputs.readers.images import read_picture
from ktb.inputs.readers.numpy_files import StoredArray, as_picture, stored_npy, stored_npz
from ktb.inputs.types import RawX, kind_of

_PICTURES_FIRST = ("depth", "x", "image")
"""Preferred names of arrays in a .npz file."""


def read_x(
    source: Source | Sequence[Source],
    filename: str | Sequence[str] | None = None,
    options: XOptions = AUTO,
) -> RawX:
    """Read an X input without loss of levels.

    Args:
        source: a file or its contents; or several: polarizer images at 0, 45, 90 and 135 degrees, or the sine
            and cosine maps of an angle of polarization.
        filename: name or names for messages and to distinguish several files; by default those of the paths.
        options: `columns`, `time_unit`, `sensor_hw` and `window_ms` apply to event streams; `modality`
            "event" prefers the events of a .npz file that also contains a depth image; `byte_order` applies
            to images.

    Raises:
        InputError: the file is missing, unreadable, pickled, damaged, or exceeds `ktb.inputs.limits`.
    """
    if isinstance(source, str | Path | bytes):
        assert filename is None or isinstance(filename, str)
        return in_order(_read_one(source, filename, options), options)
    sources = list(source)
    names = [None] * len(sources) if filename is None else list(filename)
    if len(sources) == 1:
        return in_order(_read_one(sources[0], names[0], options), options)
    if len(sources) not in (2, 4):
        raise InputError(
            f"{len(sources)} files as X: give one, or the four pictures behind a polarizer at 0, 45, 90 and "
            "135 degrees, or the sine and cosine of the angle of polarization"
        )
    return join_files([in_order(_read_one(file, n, options), options) for file, n in zip(sources, names)])


def _read_one(source: Source, filename: str | None, options: XOptions) -> RawX:
    if _start(source).startswith(hdf5.MAGIC):  # before loading: event recordings may be larger than memory
        return build_events(hdf5.read_hdf5(source, filename, options), options)
    data, name = load(source, filename)
    if data.startswith(aedat4.MAGIC):
        return build_events(aedat4.read_aedat4(data, name, options), options)
    if data.startswith(b"\x93NUMPY"):
        return _of_arrays([stored_npy(data, name)], "NPY", name, options)
    if data.startswith(b"PK\x03\x04"):
        return _of_arrays(stored_npz(data, name), "NPZ", name, options)
    if data.startswith(EXR_MAGIC):
        return read_exr(data, name)
    if looks_like_table(data, name):
        return build_events(read_text(data, name, options), options)
    return read_picture(data, name)


def _start(source: Source) -> bytes:
    """The first bytes; empty for anything but a file, which `load` reports."""
    if isinstance(source, bytes):
        return source[:16]
    try:
        if not Path(source).is_file():
            return b""
        with open(source, "rb") as file:
            return file.read(16)
    except (OSError, ValueError):
        return b""


def _of_arrays(arrays: Sequence[StoredArray], container: str, name: str, options: XOptions) -> RawX:
    """Select depth first unless the modality is event, then events, then other images by name and order."""
    depth = next((array for array in arrays if array.key == "depth"), None)
    if depth is None or not depth.is_picture or options.modality == "event":
        events = events_in_arrays(arrays, name, options)
        if events is not None:
            return build_events(events, options)
    pictures = [array for array in arrays if array.is_picture]
    named = {array.key: array for array in pictures} | ({"depth": depth} if depth else {})
    first = (pictures or arrays)[0]  # reading it reports why it is not an image
    chosen = next((named[key] for key in _PICTURES_FIRST if key in named), first)
    picture, notes = as_picture(chosen, name)
    facts = {"array": chosen.key} if chosen.key else {}
    if len(pictures) > 1:
        others = ", ".join(array.key for array in pictures if array is not chosen)
        notes += (f"The file holds several pictures; {chosen.key} was taken, not {others[:100]}.",)
    kind = "counts" if histogram_shape(chosen.shape) else kind_of(picture)
    return RawX(picture, f"{container}, {chosen.dtype}", name, kind, facts, notes)
