"""The inspected pixel in numbers: words, the strongest points, where its feature came from, its classes."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

from app.glossary import explain, term
from app.html.svg import EMPHASISED
from app.html.swatch import swatch
from app.results import Result
from ktb.analysis.coordinates import at_of_pixel, place_in_image, strongest
from ktb.analysis.describe import describe_pixel
from ktb.analysis.types import PixelShares, PixelView
from ktb.config import HEADS
from ktb.utils.text import percent
from ktb.visualize import scalar_to_colors

TOP_CLASSES = 5
HINT = """<div class="ktb-hint"><b>Click a pixel in any picture</b><span>and see where the fusion looked for
it, which sensor fed it, and what each head says. Drag to follow an edge; the arrow keys move by one position
of the level.</span></div>"""


def view_of(result: Result, level: int, head: int | None, pixel: tuple[int, int]) -> PixelView:
    """Where this pixel (y, x) of the RGB image looked."""
    at = at_of_pixel(pixel, result.rgb.shape[:2])
    return result.inspection.pixel(level, at, head)


def pixel_details(result: Result, view: PixelView, pixel: tuple[int, int]) -> str:
    """Everything about one pixel at one level; `view` as `view_of` gives it."""
    (y, x), (row, column), (rows, columns) = pixel, view.position, view.grid_hw
    whose = "mean over the heads" if view.head is None else f"head {view.head}"
    shares, classes = result.inspected.get(pixel, lambda: _of_all_levels(result, pixel))
    tiles = "".join(
        f"<div><b>{value}</b><span>{said}</span></div>"
        for value, said in (
            (percent(view.balance, 0), f"of its {term('attention')} {term('balance', 'goes to X')}"),
            (
                f"{view.effective_points:.0f} of {view.points_per_head}",
                f"points it {term('effective points', 'effectively looks at')}",
            ),
            (
                percent(view.sparse_share, 0),
                f"of its feature {term('share through attention', 'came through attention')}",
            ),
        )
    )
    return f"""<div class="ktb-pixel" data-y="{y}" data-x="{x}" data-level="{view.level}"
data-head="{"mean" if view.head is None else view.head}">
<h4>Pixel ({y}, {x}) <span>{term("level")} {view.level}, {explain(whose, {"heads": "head", "head": "head"})};
position ({row}, {column}) of {rows} × {columns}</span></h4>
<div class="ktb-tiles">{tiles}</div>
<p>{explain(describe_pixel(view, "X"), {"normalised entropy": "entropy"})}</p>
<h5>Where its fused feature came from</h5>{_shares(shares, view.level)}
<h5>What each {term("segmentation head", "head")} says here</h5>{classes}</div>"""


def points_table(result: Result, view: PixelView) -> str:
    """The points with the most attention; their numbers are also data attributes of the rows."""
    size = result.rgb.shape[:2]
    first = strongest(view, EMPHASISED)
    places = place_in_image(view.points[first], view.grid_hw) * np.array(size) - 0.5
    colors = scalar_to_colors(view.weight_x[first], 0, 1, "diverging")
    most = max(float(view.attention[first[0]]), 1e-9)
    rows = "".join(
        f'<tr data-rank="{rank}" data-point="{index}" data-attention="{view.attention[index]:.7g}" '
        f'data-weight-x="{view.weight_x[index]:.7g}" data-y="{y:.4f}" data-x="{x:.4f}">'
        f'<td class="num">{rank}</td><td class="num">{percent(view.attention[index], 2)}'
        f'<i style="width:{50 * view.attention[index] / most:.1f}px"></i></td>'
        f'<td class="num">{swatch(color)} '
        f"{view.weight_x[index]:.2f}</td>"
        f'<td class="num">({y:.0f}, {x:.0f})</td>'
        f"<td>{'■ X' if view.x_led[index] else '● photo'}</td></tr>"
        for rank, (index, (y, x), color) in enumerate(zip(first, places, colors), start=1)
    )
    total = float(view.attention[first].sum())
    return f"""<div class="ktb-points"><h4>The {len(first)} strongest points
<span>{percent(total)} of the attention; {len(view.attention) - len(first)} share the rest</span></h4>
<table><thead><tr><th class="num">#</th><th class="num">{term("attention")}</th>
<th class="num">{term("modality weight", "weight of X")}</th><th class="num">pixel (y, x)</th>
<th>{term("led by")}</th></tr></thead><tbody>{rows}</tbody></table></div>"""


def _of_all_levels(result: Result, pixel: tuple[int, int]) -> tuple[list[PixelShares], str]:
    at = at_of_pixel(pixel, result.rgb.shape[:2])
    return result.inspection.shares(at), _classes(result, pixel)


def _shares(shares: Sequence[PixelShares], level: int) -> str:
    rows = []
    for index, share in enumerate(shares):
        parts = (("rgb", share.rgb), ("x", share.x), ("context", share.context))
        bars = "".join(f'<i class="{name}" style="width:{100 * part:.2f}%"></i>' for name, part in parts)
        rgb, x, context = (round(100 * part) for _, part in parts)
        said = f"level {index}: RGB image {rgb} %, X {x} %, context {context} %"
        rows.append(
            f'<div class="{"chosen" if index == level else ""}"><span>level {index}</span>'
            f'<div class="ktb-stacked" role="img" aria-label="{said}">{bars}</div>'
            f"<span>{rgb} · {x} · {context} %</span></div>"
        )
    key = (
        '<p class="ktb-key"><i class="rgb"></i>RGB image <i class="x"></i>X (both through attention) '
        f'<i class="context"></i>{term("context")} of both streams, which nothing splits</p>'
    )
    return f'<div class="ktb-shares">{"".join(rows)}</div>{key}'


def _classes(result: Result, pixel: tuple[int, int]) -> str:
    prediction = result.prediction
    columns = []
    for branch, found in prediction.probabilities_at(*pixel).items():
        top = np.argsort(-found, kind="stable")[:TOP_CLASSES]
        rows = "".join(
            f'<div data-class="{index}" data-probability="{found[index]:.6g}">'
            f"<span>{html.escape(prediction.classes[index])}</span>"
            f'<span class="num">{percent(found[index], 0)}</span>'
            f'<i style="width:{100 * found[index]:.1f}%;'
            f'background:rgb{tuple(prediction.palette[index])}"></i></div>'
            for index in top
        )
        missing = "; no X was given" if branch == "x" and result.x_is_missing else ""
        columns.append(f'<div data-branch="{branch}"><b>{HEADS[branch]}{missing}</b>{rows}</div>')
    return f'<div class="ktb-classes">{"".join(columns)}</div>'
