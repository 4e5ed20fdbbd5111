"""Drawing of the frames of result videos: views of a frame side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ktb.inference.prediction import Prediction
from ktb.visualize import NO_VALUE_RGB, overlay, scalar_to_colors

View = Literal["photo", "x", "overlay", "mask", "balance"]
PANEL_SIDES = (320, 640)
"""Minimum and maximum of a view's longer side in pixels."""
VIEWS: dict[str, str] = {
    "photo": "RGB image",
    "x": "X",
    "overlay": "RGB image and fused mask",
    "mask": "fused mask",
    "balance": "balance: 0 blue (RGB image) to 1 orange (X)",
}
_PAPER, _INK, _FAILED = (24, 24, 28), (226, 226, 230), (255, 190, 110)
_FONT, _LINE = 13, 20
_DEFAULT_HW = (480, 640)  # if the first RGB image cannot be read


class Composer:
    """Draw frames on a canvas sized by the first RGB image; other sizes are fitted into it.

    Args:
        layout: keys of VIEWS, from left to right.
        checkpoint: name of the checkpoint, drawn below the views.
        opacity: opacity of the mask over the RGB image, 0..1.
    """

    def __init__(self, layout: Sequence[View], checkpoint: str, opacity: float):
        self._layout, self._checkpoint, self._opacity = tuple(layout), checkpoint, opacity
        self._panel_hw: tuple[int, int] | None = None

    def draw(
        self,
        title: str,
        rgb: np.ndarray | None,
        prediction: Prediction | None,
        balance: Sequence[np.ndarray] = (),
        error: str | None = None,
    ) -> np.ndarray:
        """Draw a frame as (H, W, 3) uint8 RGB with even sides, of the same size for all frames.

        Args:
            title: number and name of the frame.
            rgb: (H, W, 3) uint8, or None for dark views.
            prediction: None for a failed frame, which shows the RGB image and the error.
            balance: (h, w) 0..1 per level, finest first; drawn grey if empty.
        """
        if self._panel_hw is None:
            self._panel_hw = _even(rgb.shape[:2] if rgb is not None else _DEFAULT_HW)
        height, width = self._panel_hw
        views = len(self._layout)
        canvas = np.empty((height + 2 * _LINE, width * views, 3), np.uint8)
        canvas[:] = _PAPER
        for number, view in enumerate(self._layout):
            picture = self._view(view, rgb, prediction, balance) if prediction or number == 0 else None
            if picture is not None:
                canvas[:height, number * width : (number + 1) * width] = _fitted(picture, self._panel_hw)
        captions = [VIEWS[view] for view in self._layout]
        if prediction is None:
            captions = [f"failed: {error}"]
        return _written(canvas, height, captions, f"{title}   {self._checkpoint}", prediction is None)

    def _view(
        self,
        view: View,
        rgb: np.ndarray | None,
        prediction: Prediction | None,
        balance: Sequence[np.ndarray],
    ) -> np.ndarray | None:
        if prediction is None or rgb is None or view == "photo":
            return rgb
        if view == "x":
            return prediction.x.preview
        if view == "balance":
            return balance_picture(balance, rgb.shape[:2])
        mask = prediction.colors("fused")
        return mask if view == "mask" else overlay(rgb, mask, self._opacity)


def balance_picture(levels: Sequence[np.ndarray], size_hw: tuple[int, int]) -> np.ndarray:
    """Mean balance of all levels, (h, w, 3) uint8 at the finest level's size; grey of size_hw if empty.

    The colour range is 0 to 1 in every frame, so that frames are comparable.
    """
    if not levels:
        return np.full((*size_hw, 3), NO_VALUE_RGB, np.uint8)
    height, width = levels[0].shape
    mean = np.mean([cv2.resize(m, (width, height), interpolation=cv2.INTER_LINEAR) for m in levels], axis=0)
    return scalar_to_colors(mean, 0.0, 1.0, "diverging")


def _even(size_hw: tuple[int, int]) -> tuple[int, int]:
    least, most = PANEL_SIDES
    scale = min(most / max(size_hw), max(1.0, least / max(size_hw)))
    height, width = (max(2, 2 * round(side * scale / 2)) for side in size_hw)
    return height, width


def _fitted(picture: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """The image fitted into and centred on a plate of this size."""
    if picture.shape[:2] == size_hw:
        return picture
    scale = min(size_hw[0] / picture.shape[0], size_hw[1] / picture.shape[1])
    size = [max(1, min(limit, round(side * scale))) for side, limit in zip(picture.shape[:2], size_hw)]
    if all(limit - side <= 2 for side, limit in zip(size, size_hw)):  # avoids borders from rounding
        size = list(size_hw)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(picture, (size[1], size[0]), interpolation=how)
    plate = np.empty((*size_hw, 3), np.uint8)
    plate[:] = _PAPER
    top, left = (size_hw[0] - size[0]) // 2, (size_hw[1] - size[1]) // 2
    plate[top : top + size[0], left : left + size[1]] = small
    return plate


def _written(
    canvas: np.ndarray, top: int, captions: Sequence[str], title: str, is_failure: bool
) -> np.ndarray:
    """Draw captions below the views and the title below them; long texts are truncated."""
    picture = Image.fromarray(canvas)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=_FONT)
    width = canvas.shape[1] // len(captions)
    for number, caption in enumerate(captions):
        text = _cut(caption, pen, font, width - 12)
        pen.text((number * width + 6, top + 3), text, font=font, fill=_FAILED if is_failure else _INK)
    text = _cut(title, pen, font, canvas.shape[1] - 12)
    pen.text((6, top + _LINE), text, font=font, fill=(160, 160, 168))
    return np.asarray(picture)


def _cut(text: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont, width: int) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in text)[:200]
    if pen.textlength(text, font=font) <= width:
        return text
    while text and pen.textlength(f"{text}...", font=font) > width:
        text = text[:-1]
    return f"{text}..."
