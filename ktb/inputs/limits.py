"""Limits on inputs, and InputError, the error of all readers of user files."""

import math

import numpy as np

MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384
MIN_SIDE = 32
MAX_FILE_BYTES = 512 * 2**20
MAX_ALIGNMENT_BYTES = 64 * 2**10
MAX_DECODED_BYTES = 640 * 2**20
"""Bytes of one image or array in memory: 50 million pixels of three float32."""
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
"""Pixels of an event sensor; the largest have 1280 x 800."""
MAX_DROPPED = 0.01
"""Fraction of damaged events that is ignored with a note; a larger one is refused."""
MAX_CHUNK_BYTES = 64 * 2**20
"""Decompressed bytes of a chunk of an event recording."""
MAX_ALL_CHUNKS = 2_000_000
"""Chunks of a partially read dataset; HDF5 scans all of them for one look-up."""
MAX_INDEX_NODES = 100_000
"""Nodes of a tree of an HDF5 file."""
MAX_EVENT_EXPANSION = 100
"""Bytes of events for one stored byte, beyond FREE_EXPANSION; recordings are packed to a tenth at best."""
MAX_CHUNKS = 200_000
"""Chunks per read; each costs a look-up."""
MAX_PACKETS = 1_000_000
"""Packets of an AEDAT4 recording; each costs the time of an inspection."""
MAX_UNPACKED_BYTES = 4 * 2**30
"""Decompressed bytes of all chunks of an event recording together."""
MAX_READ_SECONDS = 60
"""Processor seconds for one file or video frame in a separate process."""
MAX_SEQUENCE_MEMBERS = 10_000
"""Members of a zip archive with the frames of a video."""
MAX_SEQUENCE_DIRECTORY = 4 * 2**20
"""Bytes of its member list."""
MAX_SEQUENCE_BYTES = 8 * 2**30
"""Decompressed bytes of all its members together."""
MAX_SEQUENCE_FRAMES = 2000
"""Frames of one video that the page processes; the command line has no such limit."""
MAX_SEQUENCE_PIXELS = 4_000_000_000
"""RGB pixels of one video that the page processes: 2000 frames of 1920 x 1080."""


class InputError(ValueError):
    """An unusable file or array; the message names what was found and a remedy."""

    def __init__(self, message: str) -> None:
        if len(message) > MAX_MESSAGE:
            message = f"{message[: MAX_MESSAGE // 2]} ... {message[-MAX_MESSAGE // 3 :]}"
        super().__init__(message)


def check_size(width: int, height: int, name: str) -> None:
    """Raise an InputError for an image that is too small for the network or too large for the machine."""
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name}: {width} x {height} pixels; each side needs at least {MIN_SIDE}")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width} x {height} pixels; at most {MAX_SIDE:,} a side and {MAX_PIXELS:,} in all are "
            "taken; make it smaller"
        )


def check_bytes(decoded: int, name: str, stored: int | None = None) -> None:
    """Raise an InputError for too much memory, or for a size that `stored` bytes cannot decode to."""
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
    """Raise an InputError, before allocation, for an array that is not a numeric image."""
    if dtype.kind not in "uif":
        kind = "Python objects" if dtype.hasobject else f"dtype {dtype}"
        raise InputError(f"{name}: holds {kind}; save numbers (uint8, uint16 or float32)")
    sides = [side for side in shape if side != 1]
    if len(sides) not in (2, 3) or (len(sides) == 3 and sides[2] not in (2, 3, 4)):
        raise InputError(
            f"{name}: an array of shape {shape}; give (H, W) or (H, W, 3), or counts of events (H, W, 2), "
            "over time (T, 2, H, W)"
        )
    check_size(sides[1], sides[0], name)
    check_bytes(math.prod(shape) * dtype.itemsize, name)
