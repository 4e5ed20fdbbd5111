"""The fusion tab: who feeds each pixel, and where the fusion looked."""

from __future__ import annotations

import html

from app.panels.x_input import warnings_box
from app.pictures import (
    balance_half_range,
    balance_picture,
    display_size,
    figure_tag,
    image_tag,
    points_picture,
)
from app.service import LevelView, Result
from ktb.visualize import colorbar

EMPTY = '<div class="ktb-empty"><b>No result yet</b><span>Run a pair to see how it was fused.</span></div>'
NO_ATTENTION = """<div class="ktb-empty"><b>No attention to show</b>
<span>This checkpoint fuses the two streams by a plain mean: every pixel gets half of each.</span></div>"""


def fusion_panel(result: Result, level: int) -> str:
    """One level in detail, and the balance maps of all levels in one colour scale below."""
    if not result.levels:
        return NO_ATTENTION
    view = result.levels[level]
    half = balance_half_range(result.levels)
    labels = display_size(result.prediction.labels["fused"], smooth=False)
    photo = display_size(result.rgb)
    x_preview = display_size(result.prediction.x.preview)
    large = [
        (balance_picture(view, labels, half), "balance map", "Balance", "who feeds each pixel"),
        (
            points_picture(photo, view.points["rgb"], view.weights["rgb"]),
            "rgb sampling points",
            "RGB-led points",
            f"{len(view.points['rgb'])} places that the photograph chose",
        ),
        (
            points_picture(x_preview, view.points["x"], view.weights["x"]),
            "x sampling points",
            "X-led points",
            f"{len(view.points['x'])} places that X chose"
            + ("; X was missing, so they mean nothing" if result.x_is_missing else ""),
        ),
    ]
    checkpoint = result.prediction.model
    figures = "".join(
        figure_tag(image_tag(image, alt, checkpoint), title, note) for image, alt, title, note in large
    )
    small = "".join(
        figure_tag(
            image_tag(balance_picture(other, labels, half), f"balance map of level {index}", checkpoint),
            f"Level {index}",
            f"every {other.stride} px; mean {other.balance.mean():.2f}, spread {other.balance.std():.3f}",
        )
        for index, other in enumerate(result.levels)
    )
    bar = colorbar(
        "diverging",
        0.5 - half,
        0.5 + half,
        height=52,
        width=560,
        ticks=[0.5 - half, 0.5, 0.5 + half],
        labels=[f"{0.5 - half:.2f}  photograph", "0.50 balanced", f"X  {0.5 + half:.2f}"],
    )
    said = warnings_box(result.prediction.x.warnings)
    return f"""{said}<p class="ktb-words">{html.escape(describe(view, level))}</p>
<div class="ktb-grid ktb-three">{figures}</div>
<div class="ktb-bar">{image_tag(bar, "colour bar from photograph to X", checkpoint)}</div>
<h4>Balance at all levels</h4><div class="ktb-grid ktb-four">{small}</div>
<p class="ktb-note">Balance is Σ attention × weight of X over the sampled points, averaged over the heads.
Points are coloured by the weight of X at that point (0 blue, 1 orange). Colour range: the 99th percentile of
all levels, at least ±0.1, so that flat maps look flat. Checkpoint:
{html.escape(checkpoint)}.</p>"""


def describe(view: LevelView, level: int) -> str:
    """In words: how informative the attention is, and which sensor it prefers."""
    height, width = view.balance.shape
    start = (
        f"Level {level}: {width}×{height} positions, one every {view.stride} pixels of the network's input. "
        f"Attention entropy {view.entropy:.2f} of 1: "
    )
    if view.is_uniform:
        return start + "attention is uniform at this level, so its balance map carries no information."
    mean, spread = float(view.balance.mean()), float(view.balance.std())
    side = "X" if mean > 0.52 else "the photograph" if mean < 0.48 else "neither sensor"
    return start + (
        f"it looks at some points more than at others. On average it leans to {side} ({mean:.2f} of the "
        f"attention goes to X), with a spread of {spread:.3f} over the image."
    )
