"""An RGB image that browsers cannot show is shown as PNG, so that nobody looks at a broken picture."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from ktb.inputs import InputError, read_image_rgb

_SHOWN = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM")


def browser_shows(path: Path) -> bool:
    """Whether the file's contents are of a kind that every browser shows."""
    with open(path, "rb") as file:
        start = file.read(12)
    return start.startswith(_SHOWN) or (start[:4] == b"RIFF" and start[8:] == b"WEBP")


def shown_rgb(path: str, folder: Path, read: Callable[[str], np.ndarray] = read_image_rgb) -> Path | None:
    """A PNG of the RGB image, with equal pixels, in a new folder below `folder`.

    None if the browser shows the file itself, or if it cannot be read: the run says why. `read` gives the
    pixels, (H, W, 3) uint8.
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
