"""The inspected pixel in numbers: words, the strongest points, where its feature came from, its classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from app.html.svg import EMPHASISED
from app.html.templates import render
from app.results import Result
from ktb.analysis.describe import describe_pixel
from ktb.analysis.types import PixelShares, PixelView, at_of_pixel, place_in_image, strongest
from ktb.config import HEADS
from ktb.visualize import scalar_to_colors

TOP_CLASSES = 5
HINT = """<div class="ktb-hint"><b>Click a pixel in any picture</b><span>and see where the fusion looked for
it, which sensor fed it, and what each head says. Drag to follow an edge; the arrow keys move by one position
of the level.</span></div>"""


def view_of(result: Result, level: int, head: int | None, pixel: tuple[int, int]) -> PixelView:
    """Where this pixel (y, x) of the RGB image looked."""
    at = at_of_pixel(pixel, result.rgb.shape[:2])
    return result.inspection.pixel(level, at, head)


def pixel_details(result: Result, view: PixelView, pixel: tuple[int, int]) -> Markup:
    """Everything about one pixel at one level; `view` as `view_of` gives it."""
    (y, x), (row, column), (rows, columns) = pixel, view.position, view.grid_hw
    whose = "mean over the heads" if view.head is None else f"head {view.head}"
    shares, classes = result.inspected.get(pixel, lambda: _of_all_levels(result, pixel))
    return render(
        "pixel",
        y=y,
        x=x,
        level=view.level,
        head="mean" if view.head is None else view.head,
        whose=whose,
        row=row,
        column=column,
        rows=rows,
        columns=columns,
        balance=view.balance,
        effective_points=view.effective_points,
        points=view.points_per_head,
        x_is_missing=view.x_is_missing,
        sparse_share=view.sparse_share,
        has_residual=view.residual_share is not None,
        words=describe_pixel(view, "X"),
        shares=[_share(level, share) for level, share in enumerate(shares)],
        classes=classes,
    )


def points_table(result: Result, view: PixelView) -> Markup:
    """The points with the most attention; their numbers are also data attributes of the rows."""
    size = result.rgb.shape[:2]
    first = strongest(view, EMPHASISED)
    places = place_in_image(view.points[first], view.grid_hw) * np.array(size) - 0.5
    colors = scalar_to_colors(view.weight_x[first], 0, 1, "diverging")
    most = max(float(view.attention[first[0]]), 1e-9)
    points = [
        {
            "index": index,
            "attention": view.attention[index],
            "bar": 50 * view.attention[index] / most,
            "weight_x": view.weight_x[index],
            "x_led": view.x_led[index],
            "y": y,
            "x": x,
            "color": color,
        }
        for index, (y, x), color in zip(first, places, colors)
    ]
    return render(
        "pixel_points",
        points=points,
        total=float(view.attention[first].sum()),
        count=f"{len(view.attention):,}",
        others=f"{len(view.attention) - len(first):,}",
        per_head=view.points_per_head,
        groups=view.groups if view.groups > 1 else None,
        x_is_missing=view.x_is_missing,
    )


def _of_all_levels(result: Result, pixel: tuple[int, int]) -> tuple[Sequence[PixelShares], Markup]:
    at = at_of_pixel(pixel, result.rgb.shape[:2])
    return result.inspection.shares(at), _classes(result, pixel)


def _share(level: int, share: PixelShares) -> dict[str, Any]:
    """Per cent of each source at a level: as the width of its bar, and as a whole number."""
    parts = {"rgb": share.rgb, "x": share.x, "context": share.context, "residual": share.residual}
    return {"level": level} | {
        name: {"width": f"{100 * part:.2f}", "rounded": round(100 * part)} for name, part in parts.items()
    }


def _classes(result: Result, pixel: tuple[int, int]) -> Markup:
    prediction = result.prediction
    heads = []
    for branch, found in prediction.probabilities_at(*pixel).items():
        classes = [
            {
                "index": index,
                "name": prediction.classes[index],
                "probability": found[index],
                "color": prediction.palette[index],
            }
            for index in np.argsort(-found, kind="stable")[:TOP_CLASSES]
        ]
        is_missing = branch == "x" and result.x_is_missing
        heads.append({"branch": branch, "head": HEADS[branch], "is_missing": is_missing, "classes": classes})
    return render("pixel_classes", heads=heads)
