"""Maps of a fusion level: one in detail, the same one of all levels, and the balance of every head.

Values, scales and their statistics come from `ktb.analysis`; this module draws them and puts them into words.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup

from app.html.images import display_hw, display_size, figure_tag, image_tag
from app.html.svg import arrows, canvas, color_bar, level_points
from app.html.templates import render
from app.results import Result
from ktb.analysis.color_range import OF_X, ColorScale, balance_scale, map_scale, map_values
from ktb.analysis.types import LevelMaps
from ktb.utils.text import percent

NO_PROMPTS = """<div class="ktb-empty"><b>No prompts to show</b>
<span>This checkpoint was built without MAPA.</span></div>"""
NO_X = """<div class="ktb-empty"><b>No map of X</b>
<span>There was no X, so nothing can be said about what it contributed. Offsets, importance, entropy and
the share through attention remain.</span></div>"""


@dataclass(frozen=True)
class MapKind:
    """A map that can be chosen: its name, the glossary's word for it, what it says, the words of its scale.

    Its values and its scale are those of `ktb.analysis.color_range`.
    """

    title: str
    word: str
    note: str
    per_head: bool = False
    words: tuple[str, str, str] = ("", "", "")


KINDS: dict[str, MapKind] = {
    "balance": MapKind(
        "Balance", "balance", "who feeds each pixel: Σ attention × weight of X over the points",
        True, ("RGB image", "balanced", "X"),
    ),
    "importance": MapKind(
        "Point importance", "point importance", "attention that the points here receive; 1 = as much as any",
    ),
    "density": MapKind(
        "Sampling density", "sampling density", "how closely the points lie; 1 = evenly spread",
    ),
    "entropy": MapKind(
        "Attention entropy", "entropy", "how evenly a pixel looks at all points; 1 = uniform, no information",
        True, ("selective", "", "uniform"),
    ),
    "share": MapKind(
        "Share through attention", "share through attention",
        "how much of the fused feature came through the attention at all",
    ),
    "prompt_rgb": MapKind(
        "Prompts to the RGB image", "prompts", "how strongly MAPA changed each token, relative to the token",
    ),
    "prompt_x": MapKind(
        "Prompts to X", "prompts", "how strongly MAPA changed each token, relative to the token",
    ),
}  # fmt: skip
DRAWN = {"offsets": "Offsets (arrows)", "weights": "Modality weight of points"}
DRAWN_WORDS = {"offsets": "offsets", "weights": "modality weight"}
CHOICES = [
    (KINDS[key].title if key in KINDS else DRAWN[key], key)
    for key in (
        "balance", "importance", "density", "offsets", "weights", "entropy", "share", "prompt_rgb", "prompt_x"
    )
]  # fmt: skip
UNIT_SCALE = ColorScale("diverging", 0.0, 1.0)  # of modality weights, which reach from 0 to 1


def scale_bar(scale: ColorScale, words: tuple[str, str, str]) -> Markup:
    """A scale's colours with the numbers of its ends and middle, and what each of the three means."""
    middle = (scale.low + scale.high) / 2
    left, centre, right = words
    texts = f"{scale.low:.2f} {left}", f"{middle:.2f} {centre}", f"{right} {scale.high:.2f}"
    return color_bar(scale.cmap, scale.low, scale.high, tuple(text.strip() for text in texts))


def _lacks_x(result: Result, kind: str) -> bool:
    return result.x_is_missing and kind in (*OF_X, "weights")


def point_bar() -> Markup:
    """The colours of the points."""
    return color_bar("diverging", 0.0, 1.0, ("0 RGB image", "what is read at a point", "X 1"))


def map_view(result: Result, level: int, head: int | None, kind: str) -> Markup:
    """The chosen map, large: one pixel of the picture per position of the level, smoothed by the browser."""
    return result.drawn.get(("map", level, head, kind), lambda: _map_view(result, level, head, kind))


def _map_view(result: Result, level: int, head: int | None, kind: str) -> Markup:
    maps = result.inspection.maps(level)
    if _lacks_x(result, kind):
        return Markup(NO_X)
    if kind in DRAWN:
        return _drawn_view(result, maps, head, kind)
    chosen = KINDS[kind]
    values = map_values(maps, kind, head)
    if values is None:
        return Markup(NO_PROMPTS)
    scale = map_scale(kind, result.inspection.all_maps(), head)
    whose = "" if not chosen.per_head else ", mean over the heads" if head is None else f", head {head}"
    note = f"level {level}{whose}: {chosen.note}; {scale.describe(values)}"
    alt = f"{chosen.title.lower()} map"
    height, width = display_hw(result.rgb)
    ratio = f"aspect-ratio:{width}/{height}"
    picture = image_tag(scale.colors(values), alt, result.prediction.model, "ktb-view ktb-map", style=ratio)
    return figure_tag(picture, chosen.title, note, chosen.word) + scale_bar(scale, chosen.words)


def _drawn_view(result: Result, maps: LevelMaps, head: int | None, kind: str) -> Markup:
    """Points as they are: of all groups for the mean of heads, else of the group that the head reads."""
    size, grid = display_hw(result.rgb), maps.balance.shape
    groups, count = maps.points.shape[:2]
    if head is None:
        chosen = slice(None)
        whose = f"the {count} points of each of {groups} groups" if groups > 1 else f"all {count} points"
    else:
        group = maps.group_of(min(head, len(maps.head_balance) - 1))
        chosen, whose = (
            slice(group, group + 1),
            f"the {count} points of group {group}, which head {head} reads",
        )
    points, drawn = maps.points[chosen].reshape(-1, 2), len(maps.points[chosen])
    x_led = np.tile(np.arange(count) >= count // 2, drawn)
    if kind == "offsets":
        inside = arrows(maps.starts[chosen].reshape(-1, 2), points, x_led, grid, size)
        moved, border = maps.distances[chosen], maps.on_border[chosen]
        note = (
            f"level {maps.level}, {whose}: from where each started to where its offset moved it, blue = led "
            f"by the RGB image, orange = by X; {moved.mean():.2f} positions on average, at most "
            f"{moved.max():.2f}. {percent(float(border.mean()))} of them lie on the border, where points are "
            "clamped, which does not count as movement"
        )
        bar = Markup()
    else:
        weights = np.tile(maps.weight_x, drawn)
        inside = "".join(
            level_points(points[led], weights[led], grid, size, square)
            for led, square in ((~x_led, False), (x_led, True))
        )
        low, mean, high = maps.weight_x.min(), maps.weight_x.mean(), maps.weight_x.max()
        shared = ", which the groups share" if groups > 1 else ""
        note = (
            f"level {maps.level}, {whose}: round = led by the RGB image, square = by X; weight of X{shared}, "
            f"from {low:.2f} to {high:.2f}, mean {mean:.2f}; {UNIT_SCALE.describe(maps.weight_x)}"
        )
        bar = scale_bar(UNIT_SCALE, ("RGB image", "balanced", "X"))
    over = canvas(size, inside, DRAWN[kind], result.prediction.model, veil=0.45)
    photo = image_tag(display_size(result.rgb), DRAWN[kind].lower(), css_class="ktb-view")
    layers = render("layers", css_class="ktb-pile", below=photo, above=over)
    return figure_tag(layers, DRAWN[kind], note, DRAWN_WORDS[kind]) + bar


def borders(result: Result) -> Markup:
    """Class borders of the answer as a see-through picture; the style sheet lays it over maps of values."""
    return result.drawn.get("borders", lambda: _borders(result))


def _borders(result: Result) -> Markup:
    labels = display_size(result.shown.labels["fused"], smooth=False)
    edge = np.zeros(labels.shape, np.uint8)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    thickness = max(1, round(min(labels.shape) / 500))
    if thickness > 1:
        edge = cv2.dilate(edge, np.ones((thickness, thickness), np.uint8))
    drawn = np.full((*labels.shape, 4), 40, np.uint8)
    drawn[..., 3] = 150 * edge
    return image_tag(drawn, "borders of the answer's classes", result.prediction.model, "ktb-over")


def all_levels(result: Result, kind: str, head: int | None) -> Markup:
    """The chosen map of every level in one scale; arrows and points have none, the balance stands in."""
    kind = kind if kind in KINDS else "balance"
    if _lacks_x(result, kind):
        return Markup()
    return result.drawn.get(("levels", kind, head), lambda: _all_levels(result, kind, head))


def _all_levels(result: Result, kind: str, head: int | None) -> Markup:
    chosen = KINDS[kind]
    levels = result.inspection.all_maps()
    scale = map_scale(kind, levels, head)
    figures = []
    for maps in levels:
        own = None if head is None or head >= len(maps.head_balance) else head
        values = map_values(maps, kind, own)
        if values is None:
            continue
        note = f"every {maps.stride} px; mean {values.mean():.2f}, spread {values.std():.3f}; "
        note += scale.describe_beyond(values)
        if chosen.per_head:
            note += "; mean over the heads" if own is None else f"; head {own}"
        if maps.is_uniform and kind == "balance":
            note += "; attention is uniform: no information"
        alt = f"{chosen.title.lower()} map of level {maps.level}"
        figures.append(_small(result, scale.colors(values), alt, f"Level {maps.level}", note))
    if not figures:
        return Markup()
    return render(
        "maps_levels",
        word=chosen.word,
        title=chosen.title,
        figures=figures,
        bar=scale_bar(scale, chosen.words),
        note=chosen.note,
        rule=scale.rule,
    )


def head_grid(result: Result) -> Markup:
    """The balance of every head of every level, all in one scale; what stands in its place without X."""
    if result.x_is_missing:
        return Markup(NO_X)
    return result.drawn.get("heads", lambda: _head_grid(result))


def _head_grid(result: Result) -> Markup:
    levels = result.inspection.all_maps()
    scale = balance_scale([head for maps in levels for head in maps.head_balance], "head")
    rows = [
        {
            "level": maps.level,
            "heads": [
                _small(
                    result,
                    scale.colors(values),
                    f"balance of head {head} at level {maps.level}",
                    f"{head}",
                    f"{values.mean():.2f}; {percent(scale.beyond(values))}",
                )
                for head, values in enumerate(maps.head_balance)
            ],
        }
        for maps in levels
    ]
    bar = scale_bar(scale, KINDS["balance"].words)
    return render("maps_heads", levels=rows, bar=bar, rule=scale.rule)


def _small(result: Result, picture: np.ndarray, alt: str, title: str, note: str) -> Markup:
    height, width = result.rgb.shape[:2]
    ratio = f"aspect-ratio:{width}/{height}"
    tag = image_tag(picture, alt, result.prediction.model, "ktb-view ktb-small", style=ratio)
    return figure_tag(tag, title, note)
