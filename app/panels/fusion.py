"""The fusion of each level in words and numbers: how much its attention says."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup

from app.html.images import display_hw, display_size, figure_tag, image_tag
from app.html.svg import canvas, level_points
from app.html.templates import render
from app.panels.maps import all_levels, borders, head_grid, map_view
from app.panels.x_input import warnings_box
from app.results import Result
from ktb.analysis.describe import describe_level
from ktb.analysis.types import LevelMaps

FIRST_LEVEL, FIRST_MAP = 2, "balance"
"""What the tab's controls say at the start."""
EMPTY = '<div class="ktb-empty"><b>No result yet</b><span>Run a pair to see how it was fused.</span></div>'
NO_ATTENTION = """<div class="ktb-empty"><b>No attention to show</b>
<span>This checkpoint fuses the two streams by a plain mean: every pixel gets half of each.</span></div>"""
EXPLAINED = {
    "Level": "level",
    "Attention": "attention",
    "attention": "attention",
    "normalised entropy": "entropy",
    "modality weights": "modality weight",
    "heads": "head",
    "context": "context",
}
"""Phrases of the sentences about a level → words of the glossary."""


def words(result: Result, level: int) -> str:
    """Warnings about X, and one level in sentences; what stands in its place without attention."""
    if result.inspection is None:
        return NO_ATTENTION
    maps = result.inspection.maps(level)
    height, width = maps.balance.shape
    said = (
        f"Level {level}: {width}×{height} positions, one every {maps.stride} pixels of the network's input. "
    )
    return render(
        "fusion_words",
        warnings=warnings_box(result.prediction.warnings),
        words=said + describe_level(maps, "X"),
        explained=EXPLAINED,
    )


def pictures(result: Result) -> tuple[Markup, Markup]:
    """The RGB image and X, large and clickable."""
    return result.drawn.get("fusion pictures", lambda: _pictures(result))


def at_first(result: Result) -> None:
    """Draw what its tab shows first of a run, and its many heads; all stays with the result."""
    if result.inspection is not None:
        pictures(result)
        borders(result)
        map_view(result, FIRST_LEVEL, None, FIRST_MAP)
        all_levels(result, FIRST_MAP, None)
        placed_points(result, FIRST_LEVEL, None)
        head_grid(result)


def _pictures(result: Result) -> tuple[Markup, Markup]:
    photo = image_tag(display_size(result.rgb), "RGB image", css_class="ktb-view")
    x = image_tag(
        display_size(result.prediction.x.preview), f"x input: {result.x_name}", css_class="ktb-view"
    )
    missing = "; X was missing" if result.x_is_missing else ""
    return (
        figure_tag(photo, "RGB image", "round points were placed by its stream"),
        figure_tag(x, f"X: {result.x_name}", f"square points were placed by its stream{missing}"),
    )


def placed_points(result: Result, level: int, head: int | None) -> tuple[Markup, Markup]:
    """What lies over the pictures before a click: the points that each stream placed."""
    return result.drawn.get(("placed", level, head), lambda: _placed_points(result, level, head))


def _placed_points(result: Result, level: int, head: int | None) -> tuple[Markup, Markup]:
    maps = result.inspection.maps(level)
    size, half = display_hw(result.rgb), maps.points.shape[1] // 2
    chosen = slice(None) if head is None else slice(group := maps.group_of(head), group + 1)
    drawn = []
    for part, label in ((slice(0, half), "rgb sampling points"), (slice(half, None), "x sampling points")):
        points = maps.points[chosen, part]
        weight_x = np.full_like(maps.weight_x, 0.5) if maps.x_is_missing else maps.weight_x
        weights = np.tile(weight_x[part], len(points))
        inside = level_points(points.reshape(-1, 2), weights, maps.balance.shape, size, label[0] == "x")
        drawn.append(canvas(size, inside, label, result.prediction.model, 0.3, maps.balance.shape))
    return drawn[0], drawn[1]


def honesty(result: Result, level: int) -> Markup:
    """How much the attention of each level says, in numbers."""
    rows = [_honest_row(maps) for maps in result.inspection.all_maps()]
    has_residual = any(row["residual_share"] is not None for row in rows)
    return render(
        "fusion_honesty",
        rows=rows,
        level=level,
        has_residual=has_residual,
        x_is_missing=result.x_is_missing,
    )


def _honest_row(maps: LevelMaps) -> dict[str, Any]:
    points = len(maps.weight_x)
    sparse = float(maps.sparse_share.mean())
    residual = None if maps.residual_share is None else float(maps.residual_share.mean())
    return {
        "level": maps.level,
        "is_uniform": maps.is_uniform,
        "balance": float(maps.balance.mean()),
        "entropy": float(maps.entropy.mean()),
        "effective": float(np.exp(maps.entropy * np.log(points)).mean()),
        "points": points,
        "sparse_share": sparse,
        "context_share": 1 - sparse - (residual or 0),
        "residual_share": residual,
    }
