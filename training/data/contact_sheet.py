"""A picture of samples side by side: photo, X and coloured label with names, and the classes below."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ktb.labels import IGNORE_INDEX
from ktb.visualize import IGNORE_RGB, NO_VALUE_RGB, colorize_labels, scalar_to_colors
from training.data.datasets.sample import Sample

_PAPER, _INK, _FAINT = (250, 250, 248), (32, 32, 36), (118, 118, 124)
_TILE = 264  # width of one picture
_GAP, _CARD_GAP, _MARGIN = 3, 26, 32
_CAPTION, _HEADING = 24, 26
_ENTRY = 212  # width of one entry of the legend


class Tile(NamedTuple):
    """One sample; above it stand its name and, at the right, the note."""

    sample: Sample
    note: str = ""


def contact_sheet(
    cards: Sequence[Tile],
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    modality: str,
    *,
    title: str,
    subtitle: str = "",
    shares: Mapping[str, float] | None = None,
) -> np.ndarray:
    """(H, W, 3) uint8 RGB: two columns of cards, then a legend of the classes that the cards show.

    shares: of each class among all pixels, 0..1, to stand beside its name; the key "ignored" for the rest.
    Raises ValueError without cards.
    """
    if not cards:
        raise ValueError("a contact sheet needs at least one sample")
    aspects = [card.sample.rgb.shape[0] / card.sample.rgb.shape[1] for card in cards]
    height = round(_TILE * float(np.median(aspects)))
    columns = min(2, len(cards))
    rows = -(-len(cards) // columns)
    card_width = 3 * _TILE + 2 * _GAP
    width = 2 * _MARGIN + columns * card_width + (columns - 1) * _CARD_GAP
    entries = _legend_entries(cards, classes, palette, shares or {})
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
        left = _MARGIN + column * (card_width + _CARD_GAP)
        for number, heading in enumerate(("RGB", modality, "label")):
            draw.text((left + number * (_TILE + _GAP), top), heading, font=_font(14), fill=_FAINT)
    for number, card in enumerate(cards):
        left = _MARGIN + (number % columns) * (card_width + _CARD_GAP)
        upper = top + _HEADING + (number // columns) * (_CAPTION + height + 14)
        name = _shortened(card.sample.name, _font(14), card_width - 190)
        draw.text((left, upper), name, font=_font(14), fill=_INK)
        draw.text((left + card_width, upper), card.note, font=_font(14), fill=_FAINT, anchor="ra")
        tiles = (card.sample.rgb, x_picture(card.sample.modal_x, modality), card.sample.label)
        for place, tile in enumerate(tiles):
            image = _fit(tile, (height, _TILE), palette)
            sheet.paste(Image.fromarray(image), (left + place * (_TILE + _GAP), upper + _CAPTION))
    heading = "Classes in these samples" + (", with their share of all pixels" if shares else "")
    draw.text((_MARGIN, legend_top - _HEADING), heading, font=_font(14), fill=_FAINT)
    for number, (color, text) in enumerate(entries):
        left = _MARGIN + (number % per_line) * entry_width
        upper = legend_top + (number // per_line) * 27
        draw.rounded_rectangle((left, upper, left + 26, upper + 17), 4, fill=color, outline=(200, 200, 204))
        text = _shortened(text, _font(14), entry_width - 44)
        draw.text((left + 34, upper + 8), text, font=_font(14), fill=_INK, anchor="lm")
    return np.asarray(sheet).copy()


def x_picture(modal_x: np.ndarray, modality: str) -> np.ndarray:
    """X as (H, W, 3) uint8 for display: depth in colours (bright is near, grey is 0), one channel stretched
    to its 1st to 99th percentile, polarisation angles from -255..255, others as they are."""
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
    cards: Sequence[Tile],
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    shares: Mapping[str, float],
) -> list[tuple[tuple[int, int, int], str]]:
    present = set().union(*(np.unique(card.sample.label).tolist() for card in cards))
    shown = [(palette[k], name) for k, name in enumerate(classes) if k in present]
    if IGNORE_INDEX in present:
        shown.append((IGNORE_RGB, "ignored"))
    return [(color, f"{n}  {100 * shares[n]:.1f} %" if n in shares else n) for color, n in shown]


def _fit(image: np.ndarray, size_hw: tuple[int, int], palette: Sequence[tuple[int, int, int]]) -> np.ndarray:
    """The picture, or the label map in colours, as large as fits and centred on paper."""
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
    """The text, or as much of its end as there is room for."""
    if font.getlength(text) <= room:
        return text
    start = bisect_left(range(len(text)), True, key=lambda i: font.getlength("…" + text[i:]) <= room)
    return "…" + text[start:]


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
