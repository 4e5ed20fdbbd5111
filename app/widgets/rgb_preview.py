"""PNG previews of RGB images that browsers cannot show."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ktb.inputs import InputError, read_image_rgb

_SHOWN = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM")


def browser_shows(path: Path) -> bool:
    """Whether every browser shows this file format, judged by the contents."""
    with open(path, "rb") as file:
        start = file.read(12)
    return start.startswith(_SHOWN) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


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
