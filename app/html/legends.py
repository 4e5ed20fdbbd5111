"""Maps as small lossless pictures, with scales and legends that are text: they fit light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from markupsafe import Markup

from app.html.images import display_size, image_tag
from app.html.swatch import hex_color
from app.html.templates import render
from ktb.analysis.agreement import kind_shares
from ktb.inference.prediction import Prediction
from ktb.visualize import Cmap, Color, outline_boundaries, scalar_to_colors

STEPS = 254  # colours of a scalar map are 0..STEPS, its outlines STEPS + 1
OUTLINE: Color = (70, 70, 76)
KINDS: tuple[tuple[Color, str, str], ...] = (
    ((236, 238, 241), "All agree", "the three heads say the same class"),
    ((47, 116, 192), "Only RGB agrees", "the RGB head says what the fused head says, the X head does not"),
    ((217, 112, 31), "Only X agrees", "the X head says what the fused head says, the RGB head does not"),
    ((138, 43, 152), "Fused alone", "the RGB and the X head say the same, the fused head another class"),
    ((32, 32, 38), "All differ", "three different classes"),
)
"""Colour, name and meaning of each value of `ktb.analysis.agreement.disagreement_map`."""


def mask_tag(prediction: Prediction, branch: str, css_class: str = "ktb-view") -> Markup:
    """A branch's classes in their colours as picture."""
    labels = display_size(prediction.labels[branch], smooth=False)
    return image_tag(labels, f"{branch} mask", prediction.model, css_class, prediction.palette)


def kinds_tag(kinds: np.ndarray, alt: str, checkpoint: str, css_class: str = "ktb-view") -> Markup:
    """A disagreement map (H, W) as picture."""
    colors = [color for color, _, _ in KINDS]
    return image_tag(display_size(kinds, smooth=False), alt, checkpoint, css_class, colors)


def scalar_tag(
    values: np.ndarray,
    span: tuple[float, float],
    cmap: Cmap,
    alt: str,
    checkpoint: str,
    css_class: str = "ktb-view",
    labels: np.ndarray | None = None,
) -> Markup:
    """A scalar map as picture.

    Args:
        values: (h, w) float32; with labels it is upsampled to their size.
        span: values of the first and the last colour.
        labels: (H, W) integers whose borders are drawn in.
    """
    if labels is not None:
        labels = display_size(labels, smooth=False)
        values = cv2.resize(values, labels.shape[::-1], interpolation=cv2.INTER_LINEAR)
    low, high = span
    position = np.clip((display_size(values) - low) / (high - low), 0, 1)
    index = np.rint(position * STEPS).astype(np.uint8)
    if labels is not None:
        lines = outline_boundaries(labels, np.zeros((*labels.shape, 3), np.uint8))
        index[lines[..., 0] > 0] = STEPS + 1
    palette = [tuple(map(int, color)) for color in scalar_to_colors(np.linspace(0, 1, STEPS + 1), 0, 1, cmap)]
    return image_tag(index, alt, checkpoint, css_class, [*palette, OUTLINE])


def scale_html(cmap: Cmap, low: str, high: str) -> Markup:
    """A colour bar between the words for its two ends."""
    colors = scalar_to_colors(np.linspace(0, 1, 17), 0, 1, cmap)
    return render("scale", low=low, high=high, stops=[hex_color(color) for color in colors])


def kinds_legend(kinds: np.ndarray) -> Markup:
    """What the colours of a disagreement map mean, with their shares of the image."""
    return legend_html(KINDS, kind_shares(kinds))


def legend_html(entries: Sequence[tuple[Color, str, str]], shares: Sequence[float]) -> Markup:
    """A bar of the shares (0..1), and below it colour, name, meaning and share of each."""
    rows = [
        {"color": color, "name": name, "meaning": meaning, "share": share}
        for (color, name, meaning), share in zip(entries, shares)
    ]
    return render("legend", entries=rows)
