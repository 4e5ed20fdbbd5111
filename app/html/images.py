"""Pictures for the page: sent inside the HTML, so that no picture of a user's data is written to disk."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import cv2
import numpy as np
from markupsafe import Markup
from PIL import Image

from app.html.templates import render
from ktb.outputs.files import png_bytes
from ktb.visualize import Color

MAX_DISPLAY_SIDE = 1280
COMPRESS_LEVEL = 1  # of PNG: a third larger than by default, in a third of the time


def display_hw(image: np.ndarray, side: int = MAX_DISPLAY_SIDE) -> tuple[int, int]:
    """Height and width of `display_size` of a picture, without its work."""
    return fitted_hw(image.shape[:2], side)


def fitted_hw(size_hw: tuple[int, int], side: int = MAX_DISPLAY_SIDE) -> tuple[int, int]:
    """A size of the same proportions whose longer side is at most `side`."""
    height, width = size_hw
    scale = min(1.0, side / max(height, width))
    return round(height * scale), round(width * scale)


def display_size(image: np.ndarray, smooth: bool = True, side: int = MAX_DISPLAY_SIDE) -> np.ndarray:
    """Shrink a picture that is larger than a screen, or than `side`; labels and masks with smooth=False."""
    size = display_hw(image, side)
    if size == image.shape[:2]:
        return image
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST_EXACT)


def image_tag(
    image: np.ndarray,
    alt: str,
    checkpoint: str = "",
    css_class: str = "",
    palette: Sequence[Color] | None = None,
    style: str = "",
) -> Markup:
    """An <img> with its pixels inside: PNG that names its checkpoint, or JPEG for what no checkpoint made.

    Args:
        image: (H, W, 3) uint8 RGB; with a palette (H, W) uint8; of a PNG also (H, W, 4) RGBA.
    """
    if checkpoint:
        kind, data = "png", png_bytes(image, checkpoint, palette, compress_level=COMPRESS_LEVEL)
    else:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="jpeg", quality=92)
        kind, data = "jpeg", buffer.getvalue()
    source = Markup(f"data:image/{kind};base64,{base64.b64encode(data).decode()}")  # nothing to escape in it
    height, width = image.shape[:2]
    return render(
        "image", css_class=css_class, alt=alt, width=width, height=height, source=source, style=style
    )


def figure_tag(image: Markup, title: str, note: str) -> Markup:
    """An image tag with a caption below it."""
    return render("figure", image=image, title=title, note=note)
