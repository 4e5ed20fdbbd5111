"""Maps of a fusion level: one in detail, the same one of all levels, and the balance of every head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from markupsafe import Markup

from app.html.images import display_hw, display_size, figure_tag, image_tag
from app.html.svg import arrows, canvas, color_bar, level_points
from app.html.templates import render
from app.results import Result
from ktb.analysis.color_range import balance_range, balance_rule, common_range
from ktb.analysis.types import LevelMaps
from ktb.utils.text import percent
from ktb.visualize import Cmap, scalar_to_colors

NO_PROMPTS = """<div class="ktb-empty"><b>No prompts to show</b>
<span>This checkpoint was built without MAPA.</span></div>"""
MIN_SPAN = 0.1  # maps flatter than this look flat, as they are


@dataclass(frozen=True)
class Scale:
    """The colours of a map: their ends, the share of the values beyond, what each end means, and the rule."""

    cmap: Cmap
    low: float
    high: float
    clipped: float
    words: tuple[str, str, str]
    rule: str = ""

    def colors(self, values: np.ndarray) -> np.ndarray:
        """(h, w) → (h, w, 3) uint8."""
        return scalar_to_colors(values, self.low, self.high, self.cmap)

    @property
    def bar(self) -> Markup:
        """The colour bar with its numbers."""
        middle = (self.low + self.high) / 2
        left, centre, right = self.words
        texts = f"{self.low:.2f} {left}", f"{middle:.2f} {centre}", f"{right} {self.high:.2f}"
        return color_bar(self.cmap, self.low, self.high, tuple(text.strip() for text in texts))

    @property
    def said(self) -> str:
        """Where the colours end, and how many values lie beyond."""
        beyond = f"{percent(self.clipped)} of the values lie" if self.clipped else "no value lies"
        return f"Colours end at {self.rule}; {beyond} beyond."


@dataclass(frozen=True)
class MapKind:
    """A map that can be chosen: its name, the glossary's word for it, what it says, and its values.

    `values` gives those of a level and a head, (h, w), or None where there are none.
    """

    title: str
    word: str
    note: str
    values: Callable[[LevelMaps, int | None], np.ndarray | None]
    per_head: bool = False
    words: tuple[str, str, str] = ("", "", "")


def _head(values: np.ndarray, head: int | None) -> np.ndarray:
    return values.mean(axis=0) if head is None else values[min(head, len(values) - 1)]


KINDS: dict[str, MapKind] = {
    "balance": MapKind(
        "Balance", "balance", "who feeds each pixel: Σ attention × weight of X over the points",
        lambda m, head: _head(m.head_balance, head), True, ("RGB image", "balanced", "X"),
    ),
    "importance": MapKind(
        "Point importance", "point importance", "attention that the points here receive; 1 = as much as any",
        lambda m, head: m.importance_map,
    ),
    "density": MapKind(
        "Sampling density", "sampling density", "how closely the points lie; 1 = evenly spread",
        lambda m, head: m.density_map,
    ),
    "entropy": MapKind(
        "Attention entropy", "entropy", "how evenly a pixel looks at all points; 1 = uniform, no information",
        lambda m, head: _head(m.entropy, head), True, ("selective", "", "uniform"),
    ),
    "share": MapKind(
        "Share through attention", "share through attention",
        "how much of the fused feature came through the attention at all",
        lambda m, head: m.sparse_share,
    ),
    "prompt_rgb": MapKind(
        "Prompts to the RGB image", "prompts", "how strongly MAPA changed each token, relative to the token",
        lambda m, head: m.prompt_rgb,
    ),
    "prompt_x": MapKind(
        "Prompts to X", "prompts", "how strongly MAPA changed each token, relative to the token",
        lambda m, head: m.prompt_x,
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


def scale_of(kind: str, levels: Sequence[LevelMaps], head: int | None = None) -> Scale:
    """One scale for all levels, so that they compare; too wide for noise to look like signal."""
    found = [values for level in levels if (values := KINDS[kind].values(level, head)) is not None]
    if kind == "balance":
        return balance_scale(found)
    low, high = common_range(found) if found else (0.0, 1.0)
    rule = "the lowest 1st and the highest 99th percentile of a level"
    if kind in ("importance", "density"):
        low, high, rule = 0.0, max(2.0, high), "0 and the highest 99th percentile of a level, at least 2"
    elif kind.startswith("prompt"):
        rule = f"0 and the highest 99th percentile of a level, at least {MIN_SPAN}"
        low, high = 0.0, max(MIN_SPAN, high)
    elif high - low < MIN_SPAN:
        low = min(max(0.0, (low + high - MIN_SPAN) / 2), 1 - MIN_SPAN)
        high, rule = low + MIN_SPAN, f"±{MIN_SPAN / 2:g} around the middle of the values"
    return Scale("sequential", low, high, _beyond(found, low, high), KINDS[kind].words, rule)


def balance_scale(balances: Sequence[np.ndarray], map_name: str = "level") -> Scale:
    """The scale of balance maps that are seen together; `map_name` is what each of them shows."""
    half = balance_range(balances)
    low, high = 0.5 - half, 0.5 + half
    rule = balance_rule(map_name)
    return Scale("diverging", low, high, _beyond(balances, low, high), KINDS["balance"].words, rule)


def _beyond(maps: Sequence[np.ndarray], low: float, high: float) -> float:
    """The share of all values outside the ends."""
    everything = np.concatenate([values.ravel() for values in maps]) if maps else np.zeros(1)
    return float(((everything < low - 1e-6) | (everything > high + 1e-6)).mean())


def point_bar() -> Markup:
    """The colours of the points."""
    return color_bar("diverging", 0.0, 1.0, ("RGB image", "what is read at a point", "X"))


def map_view(result: Result, level: int, head: int | None, kind: str) -> Markup:
    """The chosen map, large: one pixel of the picture per position of the level, smoothed by the browser."""
    return result.drawn.get(("map", level, head, kind), lambda: _map_view(result, level, head, kind))


def _map_view(result: Result, level: int, head: int | None, kind: str) -> Markup:
    maps = result.inspection.maps(level)
    if kind in DRAWN:
        return _drawn_view(result, maps, head, kind)
    chosen = KINDS[kind]
    values = chosen.values(maps, head)
    if values is None:
        return NO_PROMPTS
    scale = scale_of(kind, result.inspection.all_maps(), head)
    whose = "" if not chosen.per_head else ", mean over the heads" if head is None else f", head {head}"
    note = f"level {level}{whose}: {chosen.note}. {scale.said}"
    alt = f"{chosen.title.lower()} map"
    height, width = display_hw(result.rgb)
    ratio = f"aspect-ratio:{width}/{height}"
    picture = image_tag(scale.colors(values), alt, result.prediction.model, "ktb-view ktb-map", style=ratio)
    return figure_tag(picture, chosen.title, note, chosen.word) + scale.bar


def _drawn_view(result: Result, maps: LevelMaps, head: int | None, kind: str) -> Markup:
    size, grid = display_hw(result.rgb), maps.balance.shape
    groups, count = maps.points.shape[:2]
    if head is None:
        points, whose = (
            maps.points.mean(axis=0),
            "mean over the groups of heads" if groups > 1 else "all heads",
        )
    else:
        group = min(head, len(maps.head_balance) - 1) * groups // len(maps.head_balance)
        points, whose = maps.points[group], f"group {group}, which head {head} reads"
    x_led = np.arange(count) >= count // 2
    if kind == "offsets":
        inside = arrows(maps.references[0], points, x_led, grid, size)
        moved = np.linalg.norm((points - maps.references[0]) * (np.array(grid) - 1) / 2, axis=1)
        note = (
            f"level {maps.level}, {whose}: from where each point started to where it moved, blue = led by "
            f"the photo, orange = by X; {moved.mean():.1f} positions on average, at most {moved.max():.1f}"
        )
        bar = Markup()
    else:
        inside = "".join(
            level_points(points[led], maps.weight_x[led], grid, size, square)
            for led, square in ((~x_led, False), (x_led, True))
        )
        low, mean, high = maps.weight_x.min(), maps.weight_x.mean(), maps.weight_x.max()
        note = (
            f"level {maps.level}, {whose}: round = led by the RGB image, square = by X; weight of X from "
            f"{low:.2f} to {high:.2f}, mean {mean:.2f}"
        )
        bar = Scale("diverging", 0.0, 1.0, 0.0, ("RGB image", "balanced", "X")).bar
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
    return result.drawn.get(("levels", kind, head), lambda: _all_levels(result, kind, head))


def _all_levels(result: Result, kind: str, head: int | None) -> Markup:
    chosen = KINDS[kind]
    levels = result.inspection.all_maps()
    scale = scale_of(kind, levels, head)
    figures = []
    for maps in levels:
        own = None if head is None or head >= len(maps.head_balance) else head
        values = chosen.values(maps, own)
        if values is None:
            continue
        note = f"every {maps.stride} px; mean {values.mean():.2f}, spread {values.std():.3f}"
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
        bar=scale.bar,
        note=chosen.note,
        said=scale.said,
    )


def head_grid(result: Result) -> Markup:
    """The balance of every head of every level, all in one scale."""
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
                    f"{values.mean():.2f}",
                )
                for head, values in enumerate(maps.head_balance)
            ],
        }
        for maps in levels
    ]
    return render("maps_heads", levels=rows, bar=scale.bar, said=scale.said)


def _small(result: Result, picture: np.ndarray, alt: str, title: str, note: str) -> Markup:
    height, width = result.rgb.shape[:2]
    ratio = f"aspect-ratio:{width}/{height}"
    tag = image_tag(picture, alt, result.prediction.model, "ktb-view ktb-small", style=ratio)
    return figure_tag(tag, title, note)
