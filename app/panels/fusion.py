"""The fusion in words and numbers: how much its attention says at each level, and what a pixel reacts to."""

from __future__ import annotations

import html

import cv2
import numpy as np

from app.drawing import canvas, color_bar, level_points
from app.panels.x_input import warnings_box
from app.pictures import display_hw, display_size, figure_tag, image_tag
from app.service import Result
from ktb.inspection.maps import clipped_range
from ktb.inspection.views import Attribution, LevelMaps
from ktb.inspection.words import describe_attribution, describe_level, percent
from ktb.visualize import scalar_to_colors

EMPTY = '<div class="ktb-empty"><b>No result yet</b><span>Run a pair to see how it was fused.</span></div>'
NO_ATTENTION = """<div class="ktb-empty"><b>No attention to show</b>
<span>This checkpoint fuses the two streams by a plain mean: every pixel gets half of each.</span></div>"""
MUST_CLICK = '<p class="ktb-note">Click a pixel in one of the pictures first.</p>'


def words(result: Result, level: int) -> str:
    """Warnings about X, and one level in sentences; what stands in its place without attention."""
    if not result.levels:
        return NO_ATTENTION
    maps = result.levels[level]
    height, width = maps.balance.shape
    said = (
        f"Level {level}: {width}×{height} positions, one every {maps.stride} pixels of the network's input. "
    )
    missing = (
        '<p class="ktb-words"><b>X was missing</b>, so its points and weights mean nothing.</p>'
        if result.x_is_missing
        else ""
    )
    return (
        f"{warnings_box(result.prediction.x.warnings)}{missing}"
        f'<p class="ktb-words">{html.escape(said + describe_level(maps, "X"))}</p>'
    )


def pictures(result: Result) -> tuple[str, str]:
    """The photograph and X, large and clickable."""
    photo = image_tag(display_size(result.rgb), "photograph", css_class="ktb-view")
    x = image_tag(
        display_size(result.prediction.x.preview), f"x input: {result.x_name}", css_class="ktb-view"
    )
    missing = "; X was missing" if result.x_is_missing else ""
    return (
        figure_tag(photo, "Photograph", "round points were placed by its stream"),
        figure_tag(x, f"X: {result.x_name}", f"square points were placed by its stream{missing}"),
    )


def placed_points(result: Result, level: int, head: int | None) -> tuple[str, str]:
    """What lies over the pictures before a click: the points that each stream placed."""
    maps = result.levels[level]
    size, half = display_hw(result.rgb), maps.points.shape[1] // 2
    groups = len(maps.points)
    chosen = (
        slice(None) if head is None else slice(g := head // max(1, len(maps.head_balance) // groups), g + 1)
    )
    drawn = []
    for part, label in ((slice(0, half), "rgb sampling points"), (slice(half, None), "x sampling points")):
        points = maps.points[chosen, part]
        weights = np.tile(maps.weight_x[part], len(points))
        inside = level_points(points.reshape(-1, 2), weights, maps.balance.shape, size, label[0] == "x")
        drawn.append(canvas(size, inside, label, result.prediction.model, 0.3, maps.balance.shape))
    return drawn[0], drawn[1]


def honesty(result: Result, level: int) -> str:
    """How much the attention of each level says, in numbers."""
    rows = "".join(_honest_row(maps, maps.level == level) for maps in result.levels)
    return f"""<div class="ktb-honest"><h4>How much the attention says</h4>
<table><thead><tr><th>level</th><th class="num" title="mean share of the attention that goes to X">X</th>
<th class="num" title="of the attention, divided by that of uniform attention">entropy</th>
<th class="num" title="exponential of the entropy: as if so many points shared it evenly">points</th>
<th class="num" title="share of the fused feature that came through attention">through it</th></tr>
</thead><tbody>{rows}</tbody></table>
<p class="ktb-note">Attention is not the whole fusion: what does not come through it is a dense context of
both streams. Entropy 1 is uniform attention, which looks nowhere in particular.</p></div>"""


def _honest_row(maps: LevelMaps, chosen: bool) -> str:
    points, entropy = len(maps.weight_x), float(maps.entropy.mean())
    effective = float(np.exp(maps.entropy * np.log(points)).mean())
    uniform = " <em>uniform: its maps carry no information</em>" if maps.is_uniform else ""
    return (
        f'<tr class="{"chosen" if chosen else ""}" data-level="{maps.level}"><td>{maps.level}{uniform}</td>'
        f'<td class="num">{percent(float(maps.balance.mean()))}</td><td class="num">{entropy:.2f}</td>'
        f'<td class="num">{effective:.0f} of {points}</td>'
        f'<td class="num">{percent(float(maps.sparse_share.mean()))}</td></tr>'
    )


def attribution_panel(result: Result, found: Attribution) -> str:
    """What a score reacts to in both sensors, beside what really happens when one is switched off."""
    low, high, clipped = clipped_range(np.stack([found.rgb, found.x]), centre=0.0)
    views = (
        ("rgb", result.rgb, found.rgb, found.total_rgb, 1 - found.share_x, "Photograph"),
        ("x", result.prediction.x.preview, found.x, found.total_x, found.share_x, f"X: {result.x_name}"),
    )
    figures = "".join(
        figure_tag(
            image_tag(
                _over(under, values, low, high), f"{name} attribution", result.prediction.model, "ktb-view"
            ),
            f"{title}: {100 * share:.0f} % of the sensitivity",
            f"gradient × token adds up to {total:+.2f}",
        )
        for name, under, values, total, share, title in views
    )
    without = "".join(
        f"<div><b>{change:+.2f}</b><span>when {name} is switched off<br>"
        f"the score becomes {found.value + change:.2f}</span></div>"
        for name, change in (("the photograph", found.without_rgb), ("X", found.without_x))
    )
    bar = color_bar("diverging", low, high, (f"{low:.3f} against", "0", f"for {high:.3f}"))
    return f"""<div class="ktb-attribution" data-score="{html.escape(found.score)}">
<p class="ktb-words">{html.escape(describe_attribution(found, "X"))}</p>
<div class="ktb-grid ktb-two">{figures}</div>{bar}
<h4>What really happens <span>the score is {found.value:.2f}</span></h4><div class="ktb-tiles">{without}</div>
<p class="ktb-note">Gradient × token after patch embedding: how the score would follow a small change of each
token. Orange speaks for the class, blue against it. Colours end at the 1st and 99th percentile
({100 * clipped:.1f} % of the values lie beyond). Both numbers need not agree: the gradient is a slope here,
switching off is a long way. Checkpoint: {html.escape(result.prediction.model)}.</p></div>"""


def _over(under: np.ndarray, values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Signed values as colours over a grey picture: the stronger, the less of the picture shows through."""
    picture = display_size(under)
    grey = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2) * 0.45 + 255 * 0.5
    wide = cv2.resize(values.astype(np.float32), picture.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    strength = np.clip(np.abs(wide) / max(high, 1e-12), 0, 1)[..., None] ** 0.6
    colors = scalar_to_colors(wide, low, high, "diverging")
    return (grey * (1 - strength) + colors * strength).astype(np.uint8)
