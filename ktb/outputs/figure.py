"""One prediction as a publication figure: SVG, PDF or PNG with a caption."""

from __future__ import annotations

import io
import textwrap
import threading
from collections.abc import Sequence
from typing import Literal, get_args

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from ktb.analysis import Inspection, LevelMaps
from ktb.analysis.color_range import ColorScale, balance_scale
from ktb.config import HEADS
from ktb.inference.prediction import ClassRow, Prediction
from ktb.outputs.finding import Finding, mark
from ktb.utils.text import percent

FigureFormat = Literal["svg", "pdf", "png"]
MIN_DPI, MAX_DPI = 50, 600
MAX_SIDE = 1600  # longer side of one panel's image in pixels
WIDTH, MARGIN, GAP, TITLE = 10.0, 0.25, 0.14, 0.26  # inches
MAX_PANEL_HEIGHT, LEGEND_LINE, MAX_LEGEND = 4.2, 0.19, 18
CAPTION_LINE, CAPTION_LETTERS = 0.16, 172
INK, SOFT = "#1d2026", "#5b6270"
SETTINGS = {
    "svg.hashsalt": "ktb",  # equal figures give equal files
    "svg.fonttype": "none",  # keeps text as text
    "pdf.fonttype": 42,  # embeds full outlines, which journals require
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "text.color": INK,
}
_lock = threading.Lock()  # matplotlib's settings are global to the process


def figure_bytes(
    rgb: np.ndarray,
    prediction: Prediction,
    kind: FigureFormat = "svg",
    *,
    head: int | None = None,
    dpi: int = 200,
    inspection: Inspection | None = None,
    finding: Finding | None = None,
) -> bytes:
    """Draw a figure with RGB image, X, the three masks, classes, balance maps and a caption.

    Args:
        rgb: (H, W, 3) uint8, the RGB image of the prediction.
        head: head whose balance is drawn at every level; None for the mean over the heads.
        dpi: resolution of a PNG, 50..600; 200 gives a width of 2,000 pixels.
        inspection: an inspection of this prediction, whose cached maps are reused.
        finding: a pixel that is marked in RGB image, X and fused mask, and described in the caption.

    Returns:
        The file's contents, without a date and equal for equal predictions.

    Raises:
        ValueError: the kind is unknown, the dpi is out of range, a level lacks the head, or the RGB image has
            another size.
    """
    if kind not in get_args(FigureFormat):
        raise ValueError(f"figure format {kind!r}: choose one of {', '.join(get_args(FigureFormat))}")
    if isinstance(dpi, bool) or not isinstance(dpi, int) or not MIN_DPI <= dpi <= MAX_DPI:
        raise ValueError(f"dpi {dpi!r}: give a whole number from {MIN_DPI} to {MAX_DPI}")
    if rgb.shape[:2] != prediction.size_hw:
        raise ValueError(
            f"the RGB image is {rgb.shape[:2]} (height, width), the prediction "
            f"{prediction.labels['fused'].shape}; give the RGB image that the prediction was made from"
        )
    if prediction.trace and inspection is None:
        inspection = Inspection(prediction)
    has_maps = inspection is not None and not inspection.x_is_missing
    levels = inspection.all_maps() if has_maps else ()
    balances = [_balance(level, head) for level in levels]
    title = {"Title": _plain(f"KTB: {prediction.model}")}
    metadata = {
        "svg": {"Date": None, "Creator": "KTB", **title},
        "pdf": {"CreationDate": None, "Creator": "KTB", "Producer": None, **title},
        "png": {"Software": "KTB", "Checkpoint": _plain(prediction.model), "X": prediction.x.origin},
    }[kind]
    buffer = io.BytesIO()
    with _lock, mpl.rc_context(SETTINGS):
        figure = _draw(rgb, prediction, levels, balances, head, finding)
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def caption(
    prediction: Prediction,
    scale: ColorScale | None,
    balances: Sequence[np.ndarray] = (),
    head: int | None = None,
) -> str:
    """The caption; `scale` is that of the balance maps, None without maps."""
    (height, width), (inner_h, inner_w) = prediction.size_hw, prediction.network_hw
    reading = prediction.x
    said = [
        f"Checkpoint {prediction.model}. RGB image {width} × {height} pixels, network {inner_w} × {inner_h}.",
        f"X ({reading.modality}, {reading.origin}): {reading.summary.rstrip('.')}.",
        "Mask shares are of the pixels of the fused mask.",
    ]
    if prediction.choice:
        said.insert(1, f"Chosen automatically: {prediction.choice}.")
    if scale is not None:
        whose = "the mean over the heads" if head is None else f"head {head}"
        beyond = ", ".join(percent(scale.beyond(balance)) for balance in balances)
        said.append(
            f"Balance at levels 0 to {len(balances) - 1}, {whose}: share of each position's attention that "
            f"goes to X; colours from {scale.low:.2f} to {scale.high:.2f}, {scale.rule}; beyond them lie "
            f"{beyond} of the maps."
        )
    elif reading.origin != "missing":
        said.append("This checkpoint's fusion has no attention: there are no balance maps.")
    said += [f"Note: {warning}" for warning in dict.fromkeys(prediction.warnings)]
    return _plain(" ".join(said))


def _balance(level: LevelMaps, head: int | None) -> np.ndarray:
    if head is None:
        return level.balance
    if isinstance(head, bool) or not isinstance(head, int) or not 0 <= head < len(level.head_balance):
        raise ValueError(
            f"head {head!r} does not exist: level {level.level} has heads 0 to "
            f"{len(level.head_balance) - 1}; give one that every level has, or none for the mean of all"
        )
    return level.head_balance[head]


def _draw(
    rgb: np.ndarray,
    prediction: Prediction,
    levels: Sequence[LevelMaps],
    balances: Sequence[np.ndarray],
    head: int | None,
    finding: Finding | None = None,
) -> Figure:
    scale = balance_scale(balances) if balances else None
    said = caption(prediction, scale, balances, head)
    if finding is not None:
        said = f"{_plain(finding.words)} {said}"
    text = textwrap.wrap(said, CAPTION_LETTERS)
    rows = prediction.class_table("fused")
    aspect = rgb.shape[0] / rgb.shape[1]
    third = (WIDTH - 2 * MARGIN - 2 * GAP) / 3
    tall = min(third * aspect, MAX_PANEL_HEIGHT)
    second = max(tall, LEGEND_LINE * (min(len(rows), MAX_LEGEND) // 2 + 1.5))
    fourth = (WIDTH - 2 * MARGIN - 3 * GAP) / 4
    small = min(fourth * aspect, MAX_PANEL_HEIGHT) if levels else 0.0
    maps_height = TITLE + small + 0.62 if levels else 0.0
    height = 2 * MARGIN + 2 * TITLE + tall + second + 2 * GAP + maps_height + CAPTION_LINE * len(text)

    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    FigureCanvasAgg(figure)

    def axes(left: float, top: float, width: float, tall: float) -> Axes:
        return figure.add_axes((left / WIDTH, 1 - (top + tall) / height, width / WIDTH, tall / height))

    masks = {branch: prediction.colors(branch) for branch in ("fused", "rgb", "x")}
    x_title = "X: none" if prediction.x.origin == "missing" else f"X: {prediction.x.modality}"
    if prediction.x.origin == "estimated":
        x_title += ", ESTIMATED"
    first = [(rgb, "RGB image"), (prediction.x.preview, x_title), (masks["fused"], "Fused mask")]
    others = [(masks[branch], HEADS[branch]) for branch in ("rgb", "x")]
    for index, (image, title) in enumerate(first):
        panel = axes(MARGIN + index * (third + GAP), MARGIN + TITLE, third, tall)
        _picture(panel, image, title, smooth=index < 2)
        if finding is not None:
            mark(panel, finding, rgb.shape[:2])
    top = MARGIN + 2 * TITLE + tall
    for index, (image, title) in enumerate(others):
        panel = axes(MARGIN + index * (third + GAP), top, third, tall)
        _picture(panel, image, title, smooth=False)
    _legend(axes(MARGIN + 2 * (third + GAP), top, third, second), rows)
    top += second + GAP
    if scale is not None:
        for index, (level, balance) in enumerate(zip(levels, balances)):
            panel = axes(MARGIN + index * (fourth + GAP), top + TITLE, fourth, small)
            shown = scale.colors(_enlarged(balance, rgb.shape[:2]))
            even = ": attention is uniform" if level.is_uniform else ""
            _picture(panel, shown, f"Balance, level {level.level}{even}", smooth=False)
        _color_bar(axes(WIDTH * 0.3, top + TITLE + small + 0.14, WIDTH * 0.4, 0.13), scale)
        top += maps_height
    for number, line in enumerate(text):
        y = 1 - (top + CAPTION_LINE * (number + 0.8)) / height
        figure.text(MARGIN / WIDTH, y, line, color=SOFT, fontsize=7.5, va="top", parse_math=False)
    return figure


def _picture(panel: Axes, image: np.ndarray, title: str, smooth: bool) -> None:
    scale = MAX_SIDE / max(image.shape[:2])
    if scale < 1:
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        how = cv2.INTER_AREA if smooth else cv2.INTER_NEAREST_EXACT
        image = cv2.resize(image, size, interpolation=how)
    panel.imshow(image, interpolation="none")  # vector files keep the pixels unsmoothed
    panel.set_axis_off()
    _title(panel, title)


def _title(panel: Axes, title: str) -> None:
    panel.set_title(_plain(title), loc="left", fontsize=8.5, color=INK, pad=3, parse_math=False)


def _legend(panel: Axes, rows: Sequence[ClassRow]) -> None:
    """Two columns of swatches, names and fractions, largest class first; classes beyond are counted."""
    panel.set_axis_off()
    shown = rows[:MAX_LEGEND]
    per_column = (len(shown) + 1) // 2
    height = panel.get_position().height * panel.figure.get_figheight()
    line = LEGEND_LINE / height
    panel.set(xlim=(0, 1), ylim=(0, 1))
    _title(panel, "Classes of the fused mask")
    for index, row in enumerate(shown):
        left, y = 0.5 * (index // per_column), 1 - line * (index % per_column + 0.6)
        color = [channel / 255 for channel in row.color]
        box = Rectangle((left, y - line * 0.3), 0.04, line * 0.62, facecolor=color, edgecolor=SOFT, lw=0.4)
        panel.add_patch(box)
        name = _plain(row.name)
        name = name if len(name) <= 18 else name[:17] + "…"
        _text(panel, left + 0.055, y, name, "left")
        _text(panel, left + 0.47, y, percent(row.share), "right")
    if len(rows) > len(shown):
        more = f"and {len(rows) - len(shown)} smaller ones"
        _text(panel, 0, 1 - line * (per_column + 0.6), more, "left", SOFT)


def _text(panel: Axes, x: float, y: float, text: str, ha: str, color: str = INK) -> Text:
    return panel.text(x, y, text, fontsize=7, color=color, ha=ha, va="center", parse_math=False)


def _color_bar(panel: Axes, scale: ColorScale) -> None:
    low, high = scale.low, scale.high
    values = np.linspace(low, high, 255)
    colors = ListedColormap(scale.colors(values) / 255)
    panel.imshow(values[None], cmap=colors, extent=(low, high, 0, 1), aspect="auto")
    panel.set_yticks([])
    labels = [f"{low:.2f}  RGB image", "0.50  balanced", f"X  {high:.2f}"]
    panel.set_xticks([low, 0.5, high], labels, fontsize=7)
    panel.tick_params(length=2, width=0.5, color=SOFT)
    for spine in panel.spines.values():
        spine.set(linewidth=0.4, color=SOFT)


def _enlarged(values: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    scale = min(1.0, MAX_SIDE / max(size_hw))
    size = max(1, round(size_hw[1] * scale)), max(1, round(size_hw[0] * scale))
    return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)


def _plain(text: str) -> str:
    """Replace characters that are invalid in XML or that fonts cannot draw."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
