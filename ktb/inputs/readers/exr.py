"""OpenEXR files: depth, grey or colour channels as float32, with the optional package OpenEXR."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ktb.inputs.limits import MAX_ENTRIES, MAX_EXR_PIECES, InputError, check_bytes, check_size
from ktb.inputs.readers.exr_header import ExrPart, read_exr_header, size_of_window
from ktb.inputs.types import RawX

_DEPTH_NAMES = ("z", "depth", "distance", "v")  # Blender calls the channel of a single value V
_GREY_NAMES = ("y", "r")


def read_exr(data: bytes, name: str) -> RawX:
    """Read an image of an OpenEXR file in its display window; NaN where the file has no pixels.

    The channel of depth is taken (Z, depth; of any layer), else red, green and blue, else Y or R, else the
    only one there is. Half floats and integers become float32.

    Raises:
        InputError: the package is missing, the file is damaged, deep, subsampled, outside the limits (checked
            before decoding), or without such a channel.
    """
    try:
        import OpenEXR
    except ImportError as error:
        raise InputError(
            f"{name}: OpenEXR files need a package: pip install OpenEXR; or save the depth as .npy in metres"
        ) from error
    headers = read_exr_header(data, name)
    part, wanted = _choose(headers, name)
    _check(headers, len(data), name)
    with _as_path(data) as path:
        try:
            channels = OpenEXR.File(path, separate_channels=True).parts[part].channels
            planes = [np.asarray(channels[channel].pixels) for channel in wanted]
        except Exception as error:  # the decoder raises many types for damaged data
            raise InputError(_damaged(name)) from error
    header = headers[part]
    width, height = size_of_window(header.data)
    bits = f"{8 * planes[0].dtype.itemsize}-bit{' float' if planes[0].dtype.kind == 'f' else ''} EXR"
    picture = np.stack([plane.astype(np.float32) for plane in planes], axis=-1)
    if picture.shape[:2] != (height, width):
        raise InputError(_damaged(name))
    facts = {"channel": ", ".join(wanted)}
    if others := sorted({c for h in headers for c in h.channels} - set(wanted)):
        facts["other channels"] = ", ".join(others[:8]) + (", ..." if len(others) > 8 else "")
    placed = _place(picture, header, name)
    return RawX(placed if len(wanted) == 3 else placed[..., 0], bits, name, facts=facts)


@contextmanager
def _as_path(data: bytes) -> Iterator[str]:
    """A path that holds these bytes: the package takes nothing else, but in new versions.

    Where the system has files in memory it is one of them: no copy lies in a folder, and none is left behind
    when the process is killed.
    """
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("picture.exr"), "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.exr"
        path.write_bytes(data)
        yield str(path)


def _choose(headers: Sequence[ExrPart], name: str) -> tuple[int, list[str]]:
    """The part and the channels of the image."""
    found = [(part, channel) for part, header in enumerate(headers) for channel in header.channels]
    if not 1 <= len(found) <= MAX_ENTRIES:
        raise InputError(
            f"{name}: {len(found)} channels; give 1 to {MAX_ENTRIES}, one of them named Z or depth"
        )
    last = [channel.rpartition(".")[2].lower() for _, channel in found]
    for wanted in _DEPTH_NAMES:
        if wanted in last:
            part, channel = found[last.index(wanted)]
            return part, [channel]
    for part, channel in found:
        layer = channel.rpartition(".")[0]
        colours = [f"{layer}.{c}" if layer else c for c in "RGB"]
        if all((part, colour) in found for colour in colours):
            return part, colours
    for wanted in _GREY_NAMES:
        if wanted in last:
            part, channel = found[last.index(wanted)]
            return part, [channel]
    if len(found) == 1:
        return found[0][0], [found[0][1]]
    names = ", ".join(channel for _, channel in found[:8])
    raise InputError(f"{name}: channels {names}; name the one to read Z or depth, or give R, G and B")


def _check(headers: Sequence[ExrPart], stored: int, name: str) -> None:
    """Check the sizes of all parts, because all are decoded."""
    total = 0
    for header in headers:
        if header.deep:
            raise InputError(f"{name}: a deep OpenEXR picture; flatten it to one value for each pixel")
        if header.subsampled:
            raise InputError(f"{name}: has subsampled channels; save every channel at full size")
        width, height = size_of_window(header.data)
        check_size(width, height, name)
        check_size(*size_of_window(header.display), name)
        if header.pieces > MAX_EXR_PIECES:
            raise InputError(f"{name}: {header.pieces:,} tiles; save it with larger ones, or in lines")
        check_bytes(header.piece_bytes, name)
        total += 4 * width * height * len(header.channels)
    check_bytes(total, name, stored)


def _place(picture: np.ndarray, header: ExrPart, name: str) -> np.ndarray:
    """Place the data window's pixels in the display window."""
    if header.data == header.display:
        return picture
    (left, top, right, bottom), (x0, y0, x1, y1) = header.data, header.display
    width, height = size_of_window(header.display)
    placed = np.full((height, width, picture.shape[2]), np.nan, np.float32)
    x = slice(max(left, x0), min(right, x1) + 1)
    y = slice(max(top, y0), min(bottom, y1) + 1)
    if x.start >= x.stop or y.start >= y.stop:
        raise InputError(f"{name}: no pixel lies within the display window; save it with matching windows")
    inside = picture[y.start - top : y.stop - top, x.start - left : x.stop - left]
    placed[y.start - y0 : y.stop - y0, x.start - x0 : x.stop - x0] = inside
    return placed


def _damaged(name: str) -> str:
    return f"{name}: the OpenEXR file is damaged or cut off; save or send it again"
