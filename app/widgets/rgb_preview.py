"""PNG previews of RGB images that browsers cannot show, or show otherwise than the network gets them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ktb.inputs import InputError, read_image_rgb

_WITH_ALPHA = (4, 6)  # colour types of PNG
_SHOWN = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM")


def browser_shows(path: Path) -> bool:
    """Whether every browser shows this file as it is read, judged by the contents.

    It would show 12 bits in a PNG of 16 nearly black, and hide what a fourth channel says is transparent.
    """
    with open(path, "rb") as file:
        start = file.read(26)
    if start.startswith(b"\x89PNG") and len(start) == 26:
        bits, colour = start[24], start[25]
        return bits <= 8 and colour not in _WITH_ALPHA
    return start.startswith(_SHOWN) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def shown_rgb(path: str, folder: Path, read: Callable[[str], np.ndarray] = read_image_rgb) -> Path | None:
    """Write the RGB image as a PNG with the same pixels to a new folder below `folder`.

    Returns None if the browser shows the file itself, or if the file cannot be read: the run then reports the
    error. `read` returns the pixels, (H, W, 3) uint8.
    """
    try:
        if browser_shows(Path(path)):
            return None
        rgb = read(path)
    except (InputError, OSError):
        return None
    png = Path(tempfile.mkdtemp(dir=folder)) / f"{Path(path).stem}.png"
    Image.fromarray(rgb).save(png, compress_level=1)
    return png
