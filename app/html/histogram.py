"""A histogram as a small inline SVG that scales with its column; the words below it are HTML."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from app.html.templates import render
from ktb.inputs.histogram import Histogram

WIDTH, HEIGHT = 640, 130


def histogram_tag(histogram: Histogram, title: str, window: tuple[float, float] | None = None) -> Markup:
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
    mark = None
    if window is not None and high > low:
        start, end = (np.clip((value - low) / (high - low), 0, 1) * WIDTH for value in window)
        mark = {"left": f"{start:.1f}", "width": f"{max(end - start, 2):.1f}"}
    is_short = len(histogram.unit) <= 4
    unit = f" {histogram.unit}" if histogram.unit and is_short else ""
    return render(
        "histogram",
        width=WIDTH,
        height=HEIGHT,
        title=title,
        caption=title if is_short else f"{title}: {histogram.unit}",
        window=mark,
        bars=bars,
        low=number(low),
        middle=number((low + high) / 2),
        high=f"{number(high)}{unit}",
    )


def number(value: float) -> str:
    """Three significant digits, without an exponent where people would not write one."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        digits = max(0, 2 - int(np.floor(np.log10(abs(value))))) if value else 0
        text = f"{value:,.{digits}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.2e}"
