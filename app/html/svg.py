"""Sampling points, arrows and colour bars as SVG: sharp at any size, small enough to send in a drag."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from markupsafe import Markup

from app.html.swatch import hex_color
from app.html.templates import render
from ktb.analysis.types import PixelView, place_in_image, strongest
from ktb.utils.text import percent
from ktb.visualize import Cmap, scalar_to_colors

COLOR_STEPS = 11  # odd: balanced has a colour of its own
EMPHASISED = 15
MANY_ARROWS = 800  # more than these are drawn thinner
FAINT_LINES = 120  # more lines than these hide the picture
SQUARE = 1.72  # the side of a square that looks as large as a disc of radius 1
BAR_STOPS = 17
RGB_LED, X_LED = "#2f74c0", "#d9701f"


def hex_colors(values: np.ndarray, low: float, high: float, cmap: Cmap) -> list[str]:
    """One #rrggbb per value."""
    return [hex_color(rgb) for rgb in scalar_to_colors(values, low, high, cmap)]


def canvas(
    size_hw: tuple[int, int],
    inside: str,
    label: str,
    checkpoint: str,
    veil: float = 0.0,
    grid_hw: tuple[int, int] | None = None,
) -> Markup:
    """An <svg> that covers a picture of this size.

    `inside` is SVG as this module draws it, from numbers; `veil` whitens the picture so that points stand
    out; `grid_hw` tells the page's script how far an arrow key moves.
    """
    height, width = size_hw
    return render(
        "canvas",
        width=width,
        height=height,
        inside=Markup(inside),
        label=label,
        checkpoint=checkpoint,
        veil=veil,
        grid=grid_hw,
    )


def places_xy(points: np.ndarray, grid_hw: tuple[int, int], size_hw: tuple[int, int]) -> np.ndarray:
    """Points (…, 2) as (y, x) in [-1, 1] → (…, 2) x, y in the picture's pixels, 0 its left or upper edge."""
    return (place_in_image(points, grid_hw) * np.array(size_hw))[..., ::-1]


def dots(
    xy: np.ndarray, radii: np.ndarray, values: np.ndarray, rim: float, square: np.ndarray | None = None
) -> str:
    """Discs (or squares) coloured by a weight 0..1; a path per colour, as many elements make a browser slow.

    Args:
        xy: (N, 2) pixels; radii: (N,) pixels; values: (N,) 0..1; rim: width of the dark rim.
        square: (N,) bool, which of them are squares; None for none.
    """
    square = np.zeros(len(xy), bool) if square is None else square
    colors = np.round(np.clip(values, 0, 1) * (COLOR_STEPS - 1)).astype(int)
    palette = hex_colors(np.linspace(0, 1, COLOR_STEPS), 0, 1, "diverging")
    shapes: dict[int, list[str]] = defaultdict(list)
    for (x, y), radius, is_square, color in zip(
        xy.tolist(), radii.tolist(), square.tolist(), colors.tolist(), strict=True
    ):
        shapes[color].append(_square(x, y, radius) if is_square else _disc(x, y, radius))
    return "".join(
        f'<path d="{"".join(shapes[color])}" fill="{palette[color]}" stroke="#18181c" '
        f'stroke-width="{2 * rim:.2f}" paint-order="stroke"/>'
        for color in sorted(shapes)
    )


# Both run clockwise: of two that overlap nothing is cut out.
def _disc(x: float, y: float, radius: float) -> str:
    half = f"a{radius:.2f} {radius:.2f} 0 1 1"
    return f"M{x - radius:.2f} {y:.1f}{half} {2 * radius:.2f} 0{half} {-2 * radius:.2f} 0z"


def _square(x: float, y: float, radius: float) -> str:
    side = SQUARE * radius
    return f"M{x - side / 2:.2f} {y - side / 2:.2f}h{side:.2f}v{side:.2f}h{-side:.2f}z"


def lines(start: np.ndarray, end: np.ndarray, color: str, width: float, opacity: float) -> str:
    """Thin lines between places (N, 2), x and y in pixels."""
    marks = "".join(f"M{a:.1f} {b:.1f}L{c:.1f} {d:.1f}" for (a, b), (c, d) in zip(start, end))
    return (
        f'<path d="{marks}" fill="none" stroke="{color}" stroke-width="{width:.2f}" opacity="{opacity}" '
        'stroke-linecap="round"/>'
    )


def pixel_points(view: PixelView, size_hw: tuple[int, int], label: str, checkpoint: str) -> Markup:
    """Where one position looked: area = attention, colour = weight of X, round = the RGB image's choice.

    Without X all points have the colour in the middle.
    Sizes are absolute: with uniform attention all points are alike, however many there are.
    """
    height, width = size_hw
    unit = width / 640
    share, led = view.attention, view.x_led
    weight = np.full_like(view.weight_x, 0.5) if view.x_is_missing else view.weight_x
    xy, begin = (places_xy(p, view.grid_hw, size_hw) for p in (view.points, view.references))
    count = len(view.attention)
    radii = 0.13 * np.sqrt(width * height / count) * np.sqrt(view.attention * count)
    radii = np.clip(radii, 0.5 * unit, 17 * unit)
    first = strongest(view, EMPHASISED)
    others = np.setdiff1d(np.arange(count), first)
    moved = strongest(view, EMPHASISED + FAINT_LINES)[EMPHASISED:]
    faint = dots(xy[others], radii[others], weight[others], 0.5 * unit, led[others])
    parts = [
        lines(begin[moved], xy[moved], "#20242c", 0.7 * unit, 0.4),
        f'<g opacity=".8">{faint}</g>',
        lines(begin[first], xy[first], "#fff", 3.2 * unit, 0.85),
        lines(begin[first], xy[first], "#18181c", 1.4 * unit, 0.95),
    ]
    colors = hex_colors(weight[first], 0, 1, "diverging")
    for rank in reversed(range(len(first))):
        index = first[rank]
        said = f"{rank + 1}: {percent(share[index])} of the attention"
        if not view.x_is_missing:
            said += f", weight of X {weight[index]:.2f}"
        parts.append(
            _strong(xy[index], radii[index], colors[rank], bool(view.x_led[index]), rank + 1, said, unit)
        )
    return canvas(size_hw, "".join(parts), label, checkpoint, 0.35, view.grid_hw)


def _strong(
    xy: np.ndarray, radius: float, color: str, square: bool, rank: int, said: str, unit: float
) -> str:
    (x, y), r = xy, max(radius, 3.2 * unit)
    if square:
        side = SQUARE * r
        shape = f'<rect x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:.1f}" height="{side:.1f}"'
    else:
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"'
    text = (
        f'<text x="{x + r + 2.5 * unit:.1f}" y="{y - r * 0.5:.1f}" font-size="{11 * unit:.1f}">{rank}</text>'
        if rank <= 5
        else ""
    )
    title = Markup("<title>{}</title>").format(said)
    return (
        f'<g class="ktb-strong" data-rank="{rank}">{shape} fill="{color}" stroke="#fff" '
        f'stroke-width="{3.4 * unit:.1f}" paint-order="stroke"/>{shape} fill="{color}" stroke="#18181c" '
        f'stroke-width="{1.3 * unit:.1f}">{title}'
        f"</{'rect' if square else 'circle'}>{text}</g>"
    )


def level_points(
    points: np.ndarray, weight_x: np.ndarray, grid_hw: tuple[int, int], size_hw: tuple[int, int], square: bool
) -> str:
    """All points (N, 2) of a level in one size, coloured by their weight of X (N,)."""
    height, width = size_hw
    radius = float(np.clip(0.17 * np.sqrt(height * width / max(1, len(points))), 1.4, 0.011 * width))
    shape = np.full(len(points), square)
    return dots(
        places_xy(points, grid_hw, size_hw), np.full(len(points), radius), weight_x, 0.6 * width / 640, shape
    )


def arrows(
    references: np.ndarray,
    points: np.ndarray,
    x_led: np.ndarray,
    grid_hw: tuple[int, int],
    size_hw: tuple[int, int],
) -> str:
    """Arrows from where points (N, 2) started to where they moved, blue = rgb-led, orange = x-led."""
    unit = size_hw[1] / 640
    width = unit * (1.3 if len(points) <= MANY_ARROWS else 0.8)
    start, end = (places_xy(p, grid_hw, size_hw) for p in (references, points))
    drawn = []
    for led, color in ((~x_led, RGB_LED), (x_led, X_LED)):
        a, b = start[led], end[led]
        along = b - a
        length = np.linalg.norm(along, axis=1, keepdims=True)
        along = along / np.maximum(length, 1e-6)
        head = np.minimum(0.4 * length, 5 * unit)
        left, right = (b - head * (along + s * 0.6 * along[:, ::-1] * (-1, 1)) for s in (1, -1))
        drawn.append(lines(a, b, color, width, 0.95))
        drawn += [lines(wing, b, color, width, 0.95) for wing in (left, right)]
    return "".join(drawn)


def color_bar(cmap: Cmap, low: float, high: float, labels: tuple[str, str, str]) -> Markup:
    """A colour scale as HTML with a text at the left, in the middle and at the right."""
    stops = hex_colors(np.linspace(low, high, BAR_STOPS), low, high, cmap)
    return render("color_bar", stops=stops, labels=labels)
