"""Pictures for the page: sent inside the HTML, so that no picture of a user's data is written to disk."""

from __future__ import annotations

import base64
import html
import io

import cv2
import numpy as np
from PIL import Image

from ktb.outputs import png_bytes

MAX_DISPLAY_SIDE = 1280
MIN_BALANCE_RANGE = 0.1  # maps flatter than ±this around 0.5 look flat, as they are


def display_size(image: np.ndarray, smooth: bool = True, side: int = MAX_DISPLAY_SIDE) -> np.ndarray:
    """Shrink a picture that is larger than a screen, or than `side`; labels and masks with smooth=False."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST_EXACT)


def image_tag(image: np.ndarray, alt: str, checkpoint: str = "", css_class: str = "") -> str:
    """An <img> with its pixels inside: PNG that names its checkpoint, or JPEG for what no checkpoint made."""
    if checkpoint:
        kind, data = "png", png_bytes(image, checkpoint)
    else:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="jpeg", quality=92)
        kind, data = "jpeg", buffer.getvalue()
    return (
        f'<img class="{html.escape(css_class)}" alt="{html.escape(alt)}" width="{image.shape[1]}" '
        f'height="{image.shape[0]}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'
    )


def figure_tag(image: str, title: str, note: str) -> str:
    """An image tag with a caption below it."""
    caption = f"<b>{html.escape(title)}</b> <span>{html.escape(note)}</span>"
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
