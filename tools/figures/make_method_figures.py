"""Draw the two figures of docs/method.md, each for light and for dark pages.

    python -m tools.figures.make_method_figures [--out FOLDER]

Needs only the standard library. A test compares the committed files with the output of this tool.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

FIGURES = Path(__file__).resolve().parents[2] / "assets" / "figures"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True)
class Theme:
    """Colours of the light or the dark version."""

    page: str
    edge: str
    ink: str
    muted: str
    frozen: str
    frozen_edge: str
    rgb: str
    x: str
    fused: str
    on_color: str


LIGHT = Theme(
    "#ffffff",
    "#d9dee7",
    "#1d2433",
    "#5b6577",
    "#eef1f6",
    "#aeb7c6",
    "#2f74c0",
    "#d9701f",
    "#2f8f5b",
    "#ffffff",
)
DARK = Theme(
    "#12161f",
    "#2b3444",
    "#e8ecf4",
    "#9aa6ba",
    "#1f2735",
    "#566379",
    "#6aa9ee",
    "#f0954a",
    "#5cc48c",
    "#10141c",
)


class Drawing:
    """SVG elements in painting order."""

    def __init__(self, theme: Theme, width: int, height: int, label: str):
        self.theme, self.width, self.height, self.label = theme, width, height, label
        self.parts: list[str] = []
        self.rect(0.5, 0.5, width - 1, height - 1, theme.page, theme.edge, radius=14)

    def rect(
        self, x: float, y: float, w: float, h: float, fill: str, edge: str, radius: float = 8, line: float = 1
    ) -> None:
        self.parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="{radius:g}" fill="{fill}" '
            f'stroke="{edge}" stroke-width="{line:g}"/>'
        )

    def text(
        self,
        x: float,
        y: float,
        text: str,
        fill: str | None = None,
        size: float = 14,
        anchor: str = "middle",
        weight: int = 400,
    ) -> None:
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" fill="{fill or self.theme.ink}" font-size="{size:g}" '
            f'text-anchor="{anchor}" font-weight="{weight}">{text}</text>'
        )

    def lines(self, x: float, y: float, texts: list[str], **style) -> None:
        """Lines of text, the first with its baseline at y."""
        for number, text in enumerate(texts):
            self.text(x, y + 17 * number, text, **style)

    def arrow(self, points: list[tuple[float, float]], color: str, width: float = 1.8) -> None:
        """A line through points that ends in a head."""
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width:g}" '
            f'stroke-linejoin="round" marker-end="url(#head{color[1:]})"/>'
        )

    def line(
        self, x1: float, y1: float, x2: float, y2: float, color: str, width: float, opacity: float = 1
    ) -> None:
        self.parts.append(
            f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{color}" '
            f'stroke-width="{width:g}" opacity="{opacity:g}"/>'
        )

    def dot(self, x: float, y: float, r: float, fill: str, square: bool = False) -> None:
        """A sampling point: round if led by RGB, square if led by X."""
        edge = f'stroke="{self.theme.page}" stroke-width="1"'
        if square:
            self.parts.append(
                f'<rect x="{x - r:g}" y="{y - r:g}" width="{2 * r:g}" height="{2 * r:g}" fill="{fill}" '
                f"{edge}/>"
            )
        else:
            self.parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="{r:g}" fill="{fill}" {edge}/>')

    def box(
        self, x: float, y: float, w: float, h: float, texts: list[str], color: str, filled: bool = False
    ) -> None:
        """A labelled box; filled for inputs and outputs."""
        self.rect(x, y, w, h, color if filled else self.theme.page, color, line=1.8)
        ink = self.theme.on_color if filled else self.theme.ink
        top = y + h / 2 + 5 - 8.5 * (len(texts) - 1)
        for number, text in enumerate(texts):
            first = number == 0
            self.text(
                x + w / 2,
                top + 17 * number,
                text,
                size=14 if first else 12,
                weight=600 if first else 400,
                fill=ink if first or filled else self.theme.muted,
            )

    def svg(self) -> str:
        theme = self.theme
        heads = "".join(
            f'<marker id="head{color[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
            f'markerHeight="6" orient="auto"><path d="M0 0 8 4 0 8z" fill="{color}"/></marker>'
            for color in (theme.rgb, theme.x, theme.fused, theme.muted)
        )
        body = "\n".join(self.parts)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="{FONT}" role="img" '
            f'aria-label="{self.label}">\n<defs>{heads}</defs>\n{body}\n</svg>\n'
        )


def network(theme: Theme) -> str:
    """Two streams, the shared frozen stages, prompts before and fusion after each, three heads."""
    d = Drawing(
        theme,
        1000,
        430,
        "The network: RGB image and X pass through the same four frozen stages with separate adapters; MAPA "
        "exchanges prompts before each stage, DSCF fuses both streams after it; three heads predict.",
    )
    rows = {"rgb": 92, "x": 292}  # top of a stream's boxes
    high, middle = 56, 220
    stages = [236 + 152 * i for i in range(4)]
    wide = 104
    for i, left in enumerate(stages):
        d.rect(left - 10, 62, wide + 20, 316, theme.frozen, theme.frozen_edge)
        d.text(left + wide / 2, 52, f"stage {i + 1}, stride {4 * 2**i}", theme.muted, 12)
    for stream, name, color in (("rgb", "RGB image", theme.rgb), ("x", "X", theme.x)):
        top, centre = rows[stream], rows[stream] + high / 2
        d.box(14, top, 106, high, [name], color, filled=True)
        note = "frozen" if stream == "rgb" else "own, trained"
        d.arrow([(120, centre), (132, centre)], color)
        d.box(134, top, 66, high, ["embed"], color)
        d.text(162, top + high + 16 if stream == "rgb" else top - 8, note, theme.muted, 11)
        d.arrow([(200, centre), (stages[0] - 2, centre)], color)
        for i, left in enumerate(stages):
            d.box(left, top, wide, high, ["blocks", "with adapters"], color)
            if i < 3:
                d.arrow([(left + wide, centre), (stages[i + 1] - 2, centre)], color)
        head = "RGB head" if stream == "rgb" else "X head"
        d.arrow([(stages[3] + wide, centre), (862, centre)], color)
        d.box(864, top, 112, high, [head], color, filled=True)
    d.line(stages[0] + wide / 2 + 30, middle, 856, middle, theme.fused, 2, 0.35)
    d.arrow([(stages[3] + wide / 2 + 30, middle), (862, middle)], theme.fused)
    d.box(864, middle - high / 2, 112, high, ["fused head"], theme.fused, filled=True)
    for i, left in enumerate(stages):
        prompt = left - 24 if i else left - 22
        d.arrow([(prompt - 4, rows["rgb"] + 34), (prompt - 4, rows["x"] + 20)], theme.rgb, 1.5)
        d.arrow([(prompt + 4, rows["x"] + 22), (prompt + 4, rows["rgb"] + 36)], theme.x, 1.5)
        d.rect(prompt - 25, middle - 12, 50, 24, theme.page, theme.muted, radius=12)
        d.text(prompt, middle + 5, "MAPA", size=12, weight=600)
        x = left + wide / 2 + 6
        d.arrow([(x, rows["rgb"] + high), (x, middle - 17)], theme.rgb, 1.5)
        d.arrow([(x, rows["x"]), (x, middle + 17)], theme.x, 1.5)
        d.rect(x - 26, middle - 15, 52, 30, theme.fused, theme.fused)
        d.text(x, middle + 5, "DSCF", theme.on_color, 13, weight=600)
    d.rect(24, 399, 22, 14, theme.frozen, theme.frozen_edge, radius=3)
    d.text(54, 411, "one frozen backbone, the same weights for both streams", theme.muted, 13, "start")
    d.text(976, 411, "MAPA: prompts before a stage   ·   DSCF: fusion after it", theme.muted, 13, "end")
    return d.svg()


# Points of the second figure: reference and position as fractions of a map, weight of X, attention, led by X.
POINTS = [
    (0.14, 0.18, 0.20, 0.10, 0.15, 0.2, False), (0.40, 0.18, 0.34, 0.26, 0.30, 0.9, False),
    (0.66, 0.18, 0.74, 0.14, 0.60, 0.2, True), (0.88, 0.18, 0.80, 0.30, 0.85, 0.5, True),
    (0.14, 0.52, 0.24, 0.60, 0.20, 1.0, False), (0.40, 0.52, 0.46, 0.44, 0.55, 1.6, True),
    (0.66, 0.52, 0.58, 0.62, 0.80, 1.3, True), (0.88, 0.52, 0.90, 0.42, 0.70, 0.2, False),
    (0.14, 0.86, 0.10, 0.80, 0.10, 0.2, False), (0.40, 0.86, 0.50, 0.84, 0.35, 0.7, True),
    (0.66, 0.86, 0.70, 0.90, 0.90, 0.3, True), (0.88, 0.86, 0.84, 0.78, 0.75, 0.6, False),
]  # fmt: skip


def fusion(theme: Theme) -> str:
    """The four steps of DSCF at one level."""
    d = Drawing(
        theme,
        1000,
        352,
        "DSCF in four steps: both streams predict points, every point reads and weights both maps, each "
        "position attends to the points, and the result is added to the densely mixed context.",
    )
    wide, high, top = 206, 172, 76
    lefts = [26 + 247 * i for i in range(4)]
    titles = ("1  predict points", "2  read and weight", "3  attend to points", "4  add to the context")
    notes = (
        [
            "Each stream shifts the points of",
            "a coarse grid: round ones are led",
            "by RGB, square ones by X.",
        ],
        [
            "Every point reads both maps; a",
            "small network predicts the weight",
            "of each sensor at the point.",
        ],
        ["Each position weights all points", "by content and distance:", "the attention on the page."],
        [
            "Both are scaled per channel and",
            "added; the context comes from",
            "every pixel of both streams.",
        ],
    )
    for left, title, note in zip(lefts, titles, notes):
        d.text(left, 40, title, size=16, anchor="start", weight=600)
        d.lines(left, top + high + 30, note, fill=theme.muted, size=13, anchor="start")
    for left in lefts[1:]:
        d.arrow([(left - 40, top + high / 2), (left - 10, top + high / 2)], theme.muted)

    def at(left: float, fx: float, fy: float) -> tuple[float, float]:
        return left + fx * wide, top + fy * high

    for panel, left in enumerate(lefts[:3]):
        d.rect(left + 6, top - 8, wide, high, theme.page, theme.x, line=1.6)
        d.rect(left, top, wide, high, theme.page, theme.rgb, line=1.6)
        query = at(left, 0.40, 0.66)
        for x0, y0, x1, y1, weight_x, share, square in POINTS:
            (start_x, start_y), (x, y) = at(left, x0, y0), at(left, x1, y1)
            own = theme.x if square else theme.rgb
            if panel == 0:
                d.dot(start_x, start_y, 2.4, theme.frozen_edge)
                d.line(start_x, start_y, x, y, own, 1.2, 0.8)
                d.dot(x, y, 5, own, square)
            elif panel == 1:
                side = 9
                d.rect(x - side, y - 4, 2 * side, 8, theme.x, theme.page, radius=2)
                d.rect(x - side, y - 4, 2 * side * (1 - weight_x), 8, theme.rgb, theme.page, radius=2)
            else:
                read = theme.x if weight_x > 0.5 else theme.rgb
                d.line(*query, x, y, read, 0.6 + 2.4 * share, 0.55)
                d.dot(x, y, 2.5 + 3.4 * share, read, square)
        if panel == 2:
            d.dot(*query, 6.5, theme.fused)
    left = lefts[3]
    d.box(left, top - 8, wide, 50, ["α ⊙ attended", "sparse: from the points"], theme.fused)
    d.text(left + wide / 2, top + 66, "+", size=20, weight=600)
    d.box(left, top + 76, wide, 50, ["ι ⊙ context", "dense: 3×3 convolution of both"], theme.fused)
    d.arrow([(left + wide / 2, top + 126), (left + wide / 2, top + 140)], theme.fused)
    d.box(left, top + 142, wide, 36, ["Up → fused feature"], theme.fused, filled=True)
    return d.svg()


def drawings() -> dict[str, str]:
    """File name → SVG of both figures in both versions."""
    return {
        f"{name}{suffix}.svg": draw(theme)
        for name, draw in (("method_network", network), ("method_fusion", fusion))
        for suffix, theme in (("", LIGHT), ("_dark", DARK))
    }


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=FIGURES)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, svg in drawings().items():
        (out / name).write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
