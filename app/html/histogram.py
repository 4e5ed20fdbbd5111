"""A histogram as a small inline SVG that scales with its column; the words below it are HTML."""

from __future__ import annotations

import html

import numpy as np

from ktb.inputs.histogram import Histogram

WIDTH, HEIGHT = 640, 130


def histogram_tag(histogram: Histogram, title: str, window: tuple[float, float] | None = None) -> str:
    """Bars of the counts over the values.

    Args:
        title: a caption, such as "Values".
        window: part of the axis to be marked, in the histogram's unit.
    """
    counts, edges = histogram.counts.astype(float), histogram.edges
    low, high = float(edges[0]), float(edges[-1])
    tops = HEIGHT * (1 - counts / max(counts.max(), 1))
    step = WIDTH / len(counts)
    bars = "".join(
        f"M{index * step:.1f} {HEIGHT}V{top:.1f}h{step * 0.86:.1f}V{HEIGHT}z"
        for index, top in enumerate(tops)
        if top < HEIGHT
    )
    mark = ""
    if window is not None and high > low:
        start, end = (np.clip((value - low) / (high - low), 0, 1) * WIDTH for value in window)
        mark = (
            f'<rect class="ktb-window" x="{start:.1f}" y="0" width="{max(end - start, 2):.1f}" '
            f'height="{HEIGHT}"/>'
        )
    is_short = len(histogram.unit) <= 4
    unit = f" {html.escape(histogram.unit)}" if histogram.unit and is_short else ""
    caption = title if is_short else f"{title}: {histogram.unit}"
    return (
        f'<figure class="ktb-histogram"><svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="{html.escape(title)}">{mark}<path d="{bars}"/></svg>'
        f"<div><span>{number(low)}</span><span>{number((low + high) / 2)}</span>"
        f"<span>{number(high)}{unit}</span></div><figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def number(value: float) -> str:
    """Three significant digits, without an exponent where people would not write one."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.2e}"
