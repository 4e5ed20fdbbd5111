"""What is too much or too little, in one place, and the one error of everything that reads a user's file."""

import numpy as np

MAX_PIXELS = 50_000_000
MAX_SIDE = 16_384
MIN_SIDE = 32
MAX_FILE_BYTES = 512 * 2**20
MAX_EVENTS = 20_000_000
MAX_ENTRIES = 256
"""Members of an archive, datasets of a HDF5 file."""


class InputError(ValueError):
    """A file or an array that cannot be used: the message says what was found and what to do."""


def check_size(width: int, height: int, name: str) -> None:
    """Refuse a picture that is too small for the network or too large for the machine (InputError)."""
    if min(width, height) < MIN_SIDE:
        raise InputError(f"{name}: {width} x {height} pixels; each side needs at least {MIN_SIDE}")
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InputError(
            f"{name}: {width} x {height} pixels; at most {MAX_SIDE:,} a side and {MAX_PIXELS:,} in all are "
            "taken; make it smaller"
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
