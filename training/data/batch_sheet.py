"""A batch as a picture: what the network is about to learn from."""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ktb.labels import IGNORE_INDEX
from ktb.visualize import IGNORE_RGB, colorize_labels, scalar_to_colors
from training.data.datasets import PairDataset
from training.data.loader import Batch

MAX_ROWS = 8
CELL, GAP = 288, 8  # pixels: a picture's longer side, and the space between pictures
BACKGROUND, INK, QUIET = (255, 255, 255), (28, 30, 34), (110, 114, 120)
SMALL, LARGE = 13, 16  # letters


def draw_batch(batch: Batch, masks: tuple[Tensor | None, Tensor | None], dataset: PairDataset) -> np.ndarray:
    """Rows of rgb, X and label, with the classes that occur below: (H, W, 3) uint8 RGB.

    masks: which samples lose their rgb and which their x tokens, (B,) bool or None; those pictures are faint
    and hatched. Only the first MAX_ROWS samples are shown.
    """
    count = min(MAX_ROWS, len(batch.names))
    faint = [[False] * count if mask is None else mask.tolist() for mask in masks]
    labels = batch.label[:count].numpy()
    rows = []
    for i in range(count):
        pictures = (
            batch.rgb[i].permute(1, 2, 0).numpy(),
            _show_x(batch.modal_x[i].permute(1, 2, 0).numpy(), dataset),
            colorize_labels(labels[i], dataset.palette),
        )
        streams = (("rgb", faint[0][i]), ("x", faint[1][i]), ("", False))
        cells = [
            _masked(_fitted(picture), f"{stream} tokens zeroed") if masked else _fitted(picture)
            for picture, (stream, masked) in zip(pictures, streams, strict=True)
        ]
        rows.append((batch.names[i], cells))
    scale = ", dark is near" if dataset.input_config["encoding"] == "depth" else ""
    titles = ("rgb", f"X ({dataset.modality}{scale})", "label")
    return _assemble(rows, titles, _legend(labels, dataset, 3 * rows[0][1][0].shape[1] + 2 * GAP), batch)


def _show_x(modal_x: np.ndarray, dataset: PairDataset) -> np.ndarray:
    """(H, W, 1 or 3) float32 on the 0..255 scale, or -255..255 for angles, as a picture (H, W, 3) uint8."""
    if dataset.input_config["encoding"] == "depth":
        metric = modal_x[..., 0]
        return scalar_to_colors(np.where(metric > 0, metric, np.nan), 0, max(1.0, float(metric.max())))
    if dataset.modality == "aolp":
        modal_x = (modal_x + 255) / 2
    picture = np.clip(modal_x, 0, 255).astype(np.uint8)
    return picture if picture.shape[-1] == 3 else picture.repeat(3, axis=-1)


def _fitted(picture: np.ndarray) -> np.ndarray:
    factor = CELL / max(picture.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    size = tuple(max(1, round(side * factor)) for side in picture.shape[1::-1])
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=method)


def _masked(picture: np.ndarray, text: str) -> np.ndarray:
    """Faint, hatched, and with a note."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width]
    canvas = (0.3 * picture + 0.7 * 235).astype(np.uint8)
    canvas[(x + y) % 18 < 2] = (176, 40, 52)
    image = Image.fromarray(canvas)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(LARGE)
    box = draw.textbbox((width / 2, height / 2), text, font=font, anchor="mm")
    draw.rounded_rectangle((box[0] - 8, box[1] - 6, box[2] + 8, box[3] + 6), 6, fill=(176, 40, 52))
    draw.text((width / 2, height / 2), text, font=font, fill=BACKGROUND, anchor="mm")
    return np.asarray(image)


def _legend(labels: np.ndarray, dataset: PairDataset, width: int) -> Image.Image:
    """Swatches of the classes that occur, most frequent first, with their share of the pixels."""
    counts = np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)
    font = ImageFont.load_default(SMALL)
    entries = []
    for index in np.argsort(-counts, kind="stable"):
        if counts[index]:
            ignored = index == IGNORE_INDEX
            name = "ignored" if ignored else dataset.classes[index]
            color = IGNORE_RGB if ignored else tuple(dataset.palette[index])
            entries.append((color, f"{name} {100 * counts[index] / labels.size:.1f} %"))
    step = 30 + max(int(font.getlength(text)) for _, text in entries)
    columns = max(1, width // step)
    lines = -(-len(entries) // columns)
    image = Image.new("RGB", (width, lines * (SMALL + 8) + GAP), BACKGROUND)
    draw = ImageDraw.Draw(image)
    for number, (color, text) in enumerate(entries):
        left, top = number % columns * step, number // columns * (SMALL + 8) + GAP
        draw.rectangle((left, top, left + 14, top + 14), fill=color, outline=QUIET)
        draw.text((left + 20, top + 7), text, font=font, fill=INK, anchor="lm")
    return image


def _assemble(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], titles: Sequence[str], legend: Image.Image, batch: Batch
) -> np.ndarray:
    cell_h, cell_w = rows[0][1][0].shape[:2]
    margin, head, caption = 2 * GAP, 28, 20
    width = 2 * margin + 3 * cell_w + 2 * GAP
    height = margin + head + len(rows) * (cell_h + caption + GAP) + legend.height + margin
    image = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(LARGE), ImageFont.load_default(SMALL)
    for column, title in enumerate(titles):
        draw.text((margin + column * (cell_w + GAP), margin), title, font=large, fill=INK)
    if len(rows) < len(batch.names):
        text = f"{len(rows)} of {len(batch.names)} samples"
        draw.text((width - margin, margin), text, font=small, fill=QUIET, anchor="ra")
    top = margin + head
    for name, cells in rows:
        draw.text((margin, top), name, font=small, fill=QUIET)
        for column, cell in enumerate(cells):
            image.paste(Image.fromarray(cell), (margin + column * (cell_w + GAP), top + caption))
        top += cell_h + caption + GAP
    image.paste(legend, (margin, top))
    return np.asarray(image)
