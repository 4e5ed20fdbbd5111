"""Plots of a benchmark: time, quartiles and floor of every case, and fractions of the components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

ROW_INCHES, FRAME_INCHES, WIDTH_INCHES = 0.45, 3.0, 11.0


def draw(results: Mapping[str, Any], *files: Path) -> None:
    """Plot the result of `run_cases` to files, whose suffixes select the formats."""
    measured = [result for result in results["results"] if "median" in result]
    divided = [result for result in measured if result["parts"]]
    rows = max(2, len(measured)), max(2, len(divided))
    figure = Figure(figsize=(WIDTH_INCHES, FRAME_INCHES + ROW_INCHES * sum(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    times, shares = figure.subplots(2, 1, height_ratios=rows)
    _draw_times(times, measured)
    _draw_shares(shares, divided)
    machine = results["machine"]
    figure.suptitle(
        f"{machine['gpu'] or machine['processor']}, {machine['threads']} threads, "
        f"median and quartiles of {results['rounds']} interleaved rounds",
        fontsize=10,
    )
    for file in files:
        figure.savefig(file, dpi=150)


def _draw_times(axes: Axes, measured: Sequence[Mapping[str, Any]]) -> None:
    names = [result["name"] for result in measured]
    medians = [result["median"] for result in measured]
    quartiles = zip(*(result["quartiles"] for result in measured))
    low, high = ([abs(q - m) for q, m in zip(side, medians)] for side in quartiles)
    axes.barh(names, medians, xerr=(low, high), color="#4c78a8", ecolor="#333333", capsize=3)
    floors = [result["floor_seconds"] for result in measured]
    axes.plot(floors, names, "|", color="#e45756", markersize=16, markeredgewidth=2)
    for result, name in zip(measured, names):
        text = f"  {result['median']:.3g} s, {result['speedup']['median']:.2f}×"
        axes.text(max(result["quartiles"][1], result["floor_seconds"]), name, text, va="center", fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.2)
    axes.set_xlim(left=0)
    axes.set_xlabel("seconds per run; red: the same operations as one large matrix product")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_shares(axes: Axes, divided: Sequence[Mapping[str, Any]]) -> None:
    parts = list(dict.fromkeys(part for result in divided for part in result["parts"]))
    names = [result["name"] for result in divided]
    left = [0.0] * len(divided)
    for part, colour in zip(parts, colormaps["tab20"].colors):
        widths = [100 * result["parts"].get(part, 0.0) / sum(result["parts"].values()) for result in divided]
        axes.barh(names, widths, left=left, label=part, color=colour)
        left = [start + width for start, width in zip(left, widths)]
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("fraction of one run with pre- and postprocessing, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.figure.legend(*axes.get_legend_handles_labels(), ncols=4, fontsize=8, loc="outside lower center")
