"""How the method works: a drawing and a short description."""

from __future__ import annotations

BLUE, ORANGE, GREEN = "#2f74c0", "#d9701f", "#2f8f5b"
_STAGES = (170, 330, 490, 650)  # left edges of the four stages
_WIDE, _HIGH = 120, 44
_ROWS = {"rgb": 40, "x": 196}
_MIDDLE = 140

SENTENCES = """<p>Both images pass through the same pretrained network, which stays <b>frozen</b>: only small
adapters in its blocks are trained. <b>MAPA</b> (modality-aware prompting and adaptation) passes prompts from
each stream to the other before every stage. <b>DSCF</b> (dynamic sparse cross-modality fusion) predicts a few
sampling points from both streams, weights the two sensors at each point, and adds the attended features to a
dense mix of both streams. Click a pixel in <i>Inspect</i> to see these points and weights.</p>"""


def how_it_works() -> str:
    """The drawing and its text, as HTML in the page's colours."""
    label = 'tabindex="0" role="group" aria-label="How it works"'
    return f'<div class="ktb-how" {label}>{_drawing()}{SENTENCES}</div>'


def _drawing() -> str:
    parts = [_arrowheads()]
    for stream, name, color in (("rgb", "RGB image", BLUE), ("x", "X", ORANGE)):
        top = _ROWS[stream]
        parts.append(_box(20, top, 110, _HIGH, name, color, filled=True))
        parts.append(_line(130, top + _HIGH / 2, _STAGES[0], top + _HIGH / 2, color))
        for index, left in enumerate(_STAGES):
            parts.append(_box(left, top, _WIDE, _HIGH, f"stage {index + 1}", color))
            if index:
                parts.append(_line(_STAGES[index - 1] + _WIDE, top + _HIGH / 2, left, top + _HIGH / 2, color))
        head_left = _STAGES[-1] + _WIDE + 40
        middle = top + _HIGH / 2
        parts.append(_line(_STAGES[-1] + _WIDE, middle, head_left, middle, color))
        parts.append(_box(head_left, top, 96, _HIGH, f"{'RGB' if stream == 'rgb' else 'X'} head", color))
    for left in _STAGES:
        parts += [_prompts(left - 20), _fusion(left + _WIDE / 2 + 14)]
    parts.append(
        _box(_STAGES[-1] + _WIDE + 40, _MIDDLE - _HIGH / 2, 96, _HIGH, "fused head", GREEN, filled=True)
    )
    parts.append(
        _line(_STAGES[0] + _WIDE / 2 + 28, _MIDDLE, _STAGES[-1] + _WIDE + 40, _MIDDLE, GREEN, behind=True)
    )
    label = (
        "Drawing: RGB image and X pass through four frozen stages; prompts (MAPA) connect them before each "
        "stage; after each stage, sparse points (DSCF) fuse both for the fused head."
    )
    legend = (
        _text(20, 272, "⇅ MAPA: prompts between the streams", "start")
        + _text(310, 272, "◎ DSCF: sampling points, weighted per sensor", "start")
        + _text(926, 272, "stages: frozen, with small adapters", "end")
    )
    return f'<svg viewBox="0 28 930 256" role="img" aria-label="{label}">{"".join(parts)}{legend}</svg>'


def _arrowheads() -> str:
    heads = "".join(
        f'<marker id="ktb-a{color[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        f'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="{color}"/></marker>'
        for color in (BLUE, ORANGE, GREEN)
    )
    return f"<defs>{heads}</defs>"


def _box(x: float, y: float, width: float, height: float, name: str, color: str, filled: bool = False) -> str:
    fill, text = (color, "#fff") if filled else ("none", "currentColor")
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="9" fill="{fill}" stroke="{color}" '
        f'stroke-width="1.6"/>' + _text(x + width / 2, y + height / 2 + 5, name, "middle", text)
    )


def _text(x: float, y: float, text: str, anchor: str, fill: str = "currentColor") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="14" fill="{fill}">{text}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, color: str, behind: bool = False) -> str:
    dash = ' stroke-dasharray="2 5" opacity=".55"' if behind else ""
    end = x2 - 2 * (y1 == y2)
    return (
        f'<line x1="{x1}" y1="{y1}" x2="{end}" y2="{y2}" stroke="{color}" stroke-width="1.8"{dash} '
        f'marker-end="url(#ktb-a{color[1:]})"/>'
    )


def _prompts(x: float) -> str:
    """The two prompts before a stage, between the rows."""
    top, bottom = _ROWS["rgb"] + _HIGH / 2 + 6, _ROWS["x"] + _HIGH / 2 - 6
    return _line(x - 5, top, x - 5, bottom, BLUE) + _line(x + 5, bottom, x + 5, top, ORANGE)


def _fusion(x: float) -> str:
    """Points of both sensors around a position after a stage."""
    spots = ((-17, -9, BLUE), (12, -15, ORANGE), (19, 7, BLUE), (-9, 16, ORANGE), (-2, -19, BLUE))
    links = "".join(
        f'<line x1="{x}" y1="{_MIDDLE}" x2="{x + dx}" y2="{_MIDDLE + dy}" stroke="{color}" stroke-width="1"/>'
        f'<circle cx="{x + dx}" cy="{_MIDDLE + dy}" r="3.4" fill="{color}"/>'
        for dx, dy, color in spots
    )
    ends = "".join(
        _line(x, y, x, _MIDDLE + side * 24, color)
        for y, side, color in ((_ROWS["rgb"] + _HIGH, -1, BLUE), (_ROWS["x"], 1, ORANGE))
    )
    return f'{ends}{links}<circle cx="{x}" cy="{_MIDDLE}" r="6" fill="{GREEN}"/>'
