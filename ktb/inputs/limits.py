"""What is too much or too little, in one place, and the one error of everything that reads a user's file."""

import math

import numpy as np

MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384
MIN_SIDE = 32
MAX_FILE_BYTES = 512 * 2**20
MAX_ALIGNMENT_BYTES = 64 * 2**10
MAX_DECODED_BYTES = 640 * 2**20
"""Of one picture or array in memory: 50 million pixels of three float32."""
MAX_EXPANSION = 1400
"""Decoded bytes for one stored byte, beyond FREE_EXPANSION; deflate cannot reach 1033, nor LZW 1320."""
FREE_EXPANSION = 64 * 2**20
MAX_JPEG_WORK = 1_000_000_000
"""Pixels times passes of a JPEG; encoders write about ten passes, and each takes time."""
MAX_TIFF_PARTS = 1_000_000
MAX_EXR_PIECES = 1_000_000
"""Tiles or lines of an OpenEXR file."""
MAX_TEXT_PICTURE = 64 * 2**20
"""Bytes of a picture whose values are written as text."""
MAX_EVENTS = 20_000_000
MAX_ENTRIES = 256
"""Members of an archive, datasets of a HDF5 file, channels of an OpenEXR file."""


MAX_MESSAGE = 1000
"""Letters: what was found may be as long as the file."""


MAX_SENSOR_PIXELS = 2**22
"""Of an event camera; the largest have 1280 x 800."""
MAX_DROPPED = 0.01
"""Share of damaged events that is left out with a note; more is refused."""
MAX_CHUNK_BYTES = 64 * 2**20
"""Of a separately compressed piece of an event recording, unpacked."""
MAX_ALL_CHUNKS = 2_000_000
"""Pieces of a dataset that is read in part; HDF5 goes through them all for one look-up."""
MAX_INDEX_NODES = 100_000
"""Nodes of a tree of an HDF5 file."""
MAX_EVENT_EXPANSION = 100
"""Bytes of events for one stored byte, beyond FREE_EXPANSION; recordings are packed to a tenth at best."""
MAX_CHUNKS = 200_000
"""Pieces that one reading may touch; each costs the time of a look-up."""
MAX_PACKETS = 1_000_000
"""Of an AEDAT4 recording; each costs the time of a look at it."""
MAX_UNPACKED_BYTES = 4 * 2**30
"""Of all pieces of an event recording that are unpacked one after the other."""
MAX_READ_SECONDS = 60
"""Of a processor, for one file or one frame of a video that is read in a process of its own."""
MAX_SEQUENCE_MEMBERS = 10_000
"""Of a zip archive with the frames of a recording."""
MAX_SEQUENCE_DIRECTORY = 4 * 2**20
"""Bytes of its list of members."""
MAX_SEQUENCE_BYTES = 8 * 2**30
"""Of all its members, unpacked one after the other."""
MAX_SEQUENCE_FRAMES = 2000
"""That the page runs of one recording; the command line has no such limit."""
MAX_SEQUENCE_PIXELS = 4_000_000_000
"""Of all RGB images that the page runs of one recording: 2000 of 1920 x 1080."""


class InputError(ValueError):
    """A file or an array that cannot be used: the message says what was found and what to do."""

    def __init__(self, message: str) -> None:
        if len(message) > MAX_MESSAGE:
            message = f"{message[: MAX_MESSAGE // 2]} ... {message[-MAX_MESSAGE // 3 :]}"
        super().__init__(message)


def check_size(width: int, height: int, name: str) -> None:
    """Refuse a picture that is too small for the network or too large for the machine (InputError)."""
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name}: {width} x {height} pixels; each side needs at least {MIN_SIDE}")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width} x {height} pixels; at most {MAX_SIDE:,} a side and {MAX_PIXELS:,} in all are "
            "taken; make it smaller"
        )


def check_bytes(decoded: int, name: str, stored: int | None = None) -> None:
    """Refuse what takes too much memory, or promises more than `stored` bytes can hold (InputError)."""
    if decoded > MAX_DECODED_BYTES:
        raise InputError(
            f"{name}: takes {decoded >> 20:,} MiB in memory, at most {MAX_DECODED_BYTES >> 20} are given; "
            "make it smaller, or store fewer channels or bits"
        )
    if stored is not None and decoded > max(FREE_EXPANSION, MAX_EXPANSION * stored):
        raise InputError(
            f"{name}: the header promises {decoded >> 20:,} MiB in a file of {stored:,} bytes; it is damaged "
            "or cut off, save or send it again"
        )


def check_layout(shape: tuple[int, ...], dtype: np.dtype, name: str = "the X array") -> None:
    """Refuse an array that is no picture of numbers, before it takes memory (InputError)."""
    if dtype.kind not in "uif":
        kind = "Python objects" if dtype.hasobject else f"dtype {dtype}"
        raise InputError(f"{name}: holds {kind}; save numbers (uint8, uint16 or float32)")
    sides = [side for side in shape if side != 1]
    if len(sides) not in (2, 3) or (len(sides) == 3 and sides[2] not in (2, 3, 4)):
        raise InputError(f"{name}: an array of shape {shape}; give (H, W) or (H, W, 3)")
    check_size(sides[1], sides[0], name)
    check_bytes(math.prod(shape) * dtype.itemsize, name)
