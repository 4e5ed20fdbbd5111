"""Contact sheets: rows of rgb, X and coloured label, with the names above and the classes below.

`contact_sheet` draws stored samples of a dataset, `draw_batch` an augmented batch of a training run.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ktb.labels import IGNORE_INDEX
from ktb.visualize import IGNORE_RGB, NO_VALUE_RGB, colorize_labels, scalar_to_colors
from training.data.datasets.base import PairDataset
from training.data.datasets.sample import Sample
from training.data.loader import Batch

_PAPER, _INK, _FAINT = (250, 250, 248), (32, 32, 36), (118, 118, 124)
_TILE = 264  # width of one image
_GAP, _COLUMN_GAP, _MARGIN = 3, 26, 32
_CAPTION, _HEADING = 24, 26
_ENTRY = 212  # width of one entry of the legend

MAX_ROWS = 8
CELL, GAP = 288, 8  # pixels: longer side of an image of a batch, and the space between images
_WHITE, _BLACK, _GREY, _RED = (255, 255, 255), (28, 30, 34), (110, 114, 120), (176, 40, 52)
_SMALL, _LARGE = 13, 16  # font sizes of a batch


class Tile(NamedTuple):
    """One sample; its name and, on the right, the note are drawn above it."""

    sample: Sample
    note: str = ""


def contact_sheet(
    tiles: Sequence[Tile],
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    modality: str,
    *,
    title: str,
    subtitle: str = "",
    fractions: Mapping[str, float] | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8 RGB: two columns of samples, then a legend of their classes.

    fractions: each class's fraction of all pixels, 0..1, for the legend; the key "ignored" for the rest.
    Raises ValueError without samples.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one sample")
    aspects = [tile.sample.rgb.shape[0] / tile.sample.rgb.shape[1] for tile in tiles]
    height = round(_TILE * float(np.median(aspects)))
    columns = min(2, len(tiles))
    rows = -(-len(tiles) // columns)
    tile_width = 3 * _TILE + 2 * _GAP
    width = 2 * _MARGIN + columns * tile_width + (columns - 1) * _COLUMN_GAP
    entries = _legend_entries(tiles, classes, palette, fractions or {})
    per_line = max(1, (width - 2 * _MARGIN) // _ENTRY)
    entry_width = (width - 2 * _MARGIN) // per_line
    top = _MARGIN + 34 + (24 if subtitle else 0) + 12
    legend_top = top + _HEADING + rows * (_CAPTION + height + 14) + 12 + _HEADING
    total = legend_top + -(-len(entries) // per_line) * 27 + _MARGIN

    sheet = Image.new("RGB", (width, total), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN - 4), title, font=_font(26), fill=_INK)
    if subtitle:
        draw.text((_MARGIN, _MARGIN + 32), subtitle, font=_font(15), fill=_FAINT)
    for column in range(columns):
        left = _MARGIN + column * (tile_width + _COLUMN_GAP)
        for number, heading in enumerate(("RGB", modality, "label")):
            draw.text((left + number * (_TILE + _GAP), top), heading, font=_font(14), fill=_FAINT)
    for number, tile in enumerate(tiles):
        left = _MARGIN + (number % columns) * (tile_width + _COLUMN_GAP)
        upper = top + _HEADING + (number // columns) * (_CAPTION + height + 14)
        name = _shortened(tile.sample.name, _font(14), tile_width - 190)
        draw.text((left, upper), name, font=_font(14), fill=_INK)
        draw.text((left + tile_width, upper), tile.note, font=_font(14), fill=_FAINT, anchor="ra")
        images = (tile.sample.rgb, x_image(tile.sample.modal_x, modality), tile.sample.label)
        for column, image in enumerate(images):
            image = _fit(image, (height, _TILE), palette)
            sheet.paste(Image.fromarray(image), (left + column * (_TILE + _GAP), upper + _CAPTION))
    heading = "Classes in these samples" + (", with their share of all pixels" if fractions else "")
    draw.text((_MARGIN, legend_top - _HEADING), heading, font=_font(14), fill=_FAINT)
    for number, (color, text) in enumerate(entries):
        left = _MARGIN + (number % per_line) * entry_width
        upper = legend_top + (number // per_line) * 27
        draw.rounded_rectangle((left, upper, left + 26, upper + 17), 4, fill=color, outline=(200, 200, 204))
        text = _shortened(text, _font(14), entry_width - 44)
        draw.text((left + 34, upper + 8), text, font=_font(14), fill=_INK, anchor="lm")
    return np.asarray(sheet).copy()


def x_image(modal_x: np.ndarray, modality: str) -> np.ndarray:
    """X as (H, W, 3) uint8 for display.

    Depth is coloured (bright is near, grey is 0). One channel is stretched from its 1st to its 99th
    percentile. Polarisation angles are scaled from -255..255. Other images do not change.
    """
    values = modal_x.astype(np.float32)
    grey = values.ndim == 2 or not np.ptp(values, axis=-1).any()
    if grey:
        values = values if values.ndim == 2 else values[..., 0]
        if modality == "depth":
            known = np.where(values > 0, values, np.nan)
            if np.isnan(known).all():
                return np.full((*values.shape, 3), NO_VALUE_RGB, np.uint8)
            near, far = np.nanpercentile(known, (1, 99))
            return scalar_to_colors(known, float(far), float(near))
        low, high = np.percentile(values, (1, 99))
        values = (values - low) * (255 / max(high - low, 1e-6))
        values = np.repeat(values[..., None], 3, axis=-1)
    elif modality == "aolp":
        values = (values + 255) / 2
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _legend_entries(
    tiles: Sequence[Tile],
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    fractions: Mapping[str, float],
) -> list[tuple[tuple[int, int, int], str]]:
    present = set().union(*(np.unique(tile.sample.label).tolist() for tile in tiles))
    shown = [(palette[k], name) for k, name in enumerate(classes) if k in present]
    if IGNORE_INDEX in present:
        shown.append((IGNORE_RGB, "ignored"))
    return [(color, f"{n}  {100 * fractions[n]:.1f} %" if n in fractions else n) for color, n in shown]


def _fit(image: np.ndarray, size_hw: tuple[int, int], palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """The image, or the coloured label map, scaled to fit and centred."""
    scale = min(size_hw[0] / image.shape[0], size_hw[1] / image.shape[1])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    if image.ndim == 2:
        small = colorize_labels(cv2.resize(image, size, interpolation=cv2.INTER_NEAREST_EXACT), palette)
    else:
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    tile = np.full((*size_hw, 3), (236, 236, 234), np.uint8)
    top, left = (size_hw[0] - size[1]) // 2, (size_hw[1] - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = small
    return tile


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """The text, or as much of its end as fits into `room` pixels."""
    if font.getlength(text) <= room:
        return text
    start = bisect_left(range(len(text)), True, key=lambda i: font.getlength("…" + text[i:]) <= room)
    return "…" + text[start:]


def draw_batch(batch: Batch, masks: tuple[Tensor | None, Tensor | None], dataset: PairDataset) -> np.ndarray:
    """(H, W, 3) uint8 RGB: rows of rgb, X and label of a batch, then a legend of the classes.

    masks: samples without rgb tokens and samples without x tokens, (B,) bool or None; their images are pale
    and hatched. Only the first MAX_ROWS samples are drawn.
    """
    count = min(MAX_ROWS, len(batch.names))
    masked = [[False] * count if mask is None else mask.tolist() for mask in masks]
    labels = batch.label[:count].numpy()
    rows = []
    for i in range(count):
        images = (
            batch.rgb[i].permute(1, 2, 0).numpy(),
            _batch_x_image(batch.modal_x[i].permute(1, 2, 0).numpy(), dataset),
            colorize_labels(labels[i], dataset.palette),
        )
        streams = (("rgb", masked[0][i]), ("x", masked[1][i]), ("", False))
        cells = [
            _hatched(_fit_cell(image), f"{stream} tokens zeroed") if zeroed else _fit_cell(image)
            for image, (stream, zeroed) in zip(images, streams, strict=True)
        ]
        rows.append((batch.names[i], cells))
    scale = ", dark is near" if dataset.input_config["encoding"] == "depth" else ""
    titles = ("rgb", f"X ({dataset.modality}{scale})", "label")
    return _assemble(
        rows, titles, _batch_legend(labels, dataset, 3 * rows[0][1][0].shape[1] + 2 * GAP), batch
    )


def _batch_x_image(modal_x: np.ndarray, dataset: PairDataset) -> np.ndarray:
    """(H, W, 1 or 3) float32 on the 0..255 scale, or -255..255 for angles, as an image (H, W, 3) uint8."""
    if dataset.input_config["encoding"] == "depth":
        metric = modal_x[..., 0]
        return scalar_to_colors(np.where(metric > 0, metric, np.nan), 0, max(1.0, float(metric.max())))
    if dataset.modality == "aolp":
        modal_x = (modal_x + 255) / 2
    image = np.clip(modal_x, 0, 255).astype(np.uint8)
    return image if image.shape[-1] == 3 else image.repeat(3, axis=-1)


def _fit_cell(image: np.ndarray) -> np.ndarray:
    factor = CELL / max(image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    size = tuple(max(1, round(side * factor)) for side in image.shape[1::-1])
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=method)


def _hatched(image: np.ndarray, text: str) -> np.ndarray:
    """The image pale and hatched, with a text."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width]
    canvas = (0.3 * image + 0.7 * 235).astype(np.uint8)
    canvas[(x + y) % 18 < 2] = _RED
    drawn = Image.fromarray(canvas)
    draw = ImageDraw.Draw(drawn)
    font = _font(_LARGE)
    box = draw.textbbox((width / 2, height / 2), text, font=font, anchor="mm")
    draw.rounded_rectangle((box[0] - 8, box[1] - 6, box[2] + 8, box[3] + 6), 6, fill=_RED)
    draw.text((width / 2, height / 2), text, font=font, fill=_WHITE, anchor="mm")
    return np.asarray(drawn)


def _batch_legend(labels: np.ndarray, dataset: PairDataset, width: int) -> Image.Image:
    """Swatches of the classes by frequency, with their fractions of the pixels."""
    counts = np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)
    font = _font(_SMALL)
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
    image = Image.new("RGB", (width, lines * (_SMALL + 8) + GAP), _WHITE)
    draw = ImageDraw.Draw(image)
    for number, (color, text) in enumerate(entries):
        left, top = number % columns * step, number // columns * (_SMALL + 8) + GAP
        draw.rectangle((left, top, left + 14, top + 14), fill=color, outline=_GREY)
        draw.text((left + 20, top + 7), text, font=font, fill=_BLACK, anchor="lm")
    return image


def _assemble(
    rows: Sequence[tuple[str, Sequence[np.ndarray]]], titles: Sequence[str], legend: Image.Image, batch: Batch
) -> np.ndarray:
    cell_h, cell_w = rows[0][1][0].shape[:2]
    margin, head, caption = 2 * GAP, 28, 20
    width = 2 * margin + 3 * cell_w + 2 * GAP
    height = margin + head + len(rows) * (cell_h + caption + GAP) + legend.height + margin
    image = Image.new("RGB", (width, height), _WHITE)
    draw = ImageDraw.Draw(image)
    large, small = _font(_LARGE), _font(_SMALL)
    for column, title in enumerate(titles):
        draw.text((margin + column * (cell_w + GAP), margin), title, font=large, fill=_BLACK)
    if len(rows) < len(batch.names):
        text = f"{len(rows)} of {len(batch.names)} samples"
        draw.text((width - margin, margin), text, font=small, fill=_GREY, anchor="ra")
    top = margin + head
    for name, cells in rows:
        draw.text((margin, top), name, font=small, fill=_GREY)
        for column, cell in enumerate(cells):
            image.paste(Image.fromarray(cell), (margin + column * (cell_w + GAP), top + caption))
        top += cell_h + caption + GAP
    image.paste(legend, (margin, top))
    return np.asarray(image)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
