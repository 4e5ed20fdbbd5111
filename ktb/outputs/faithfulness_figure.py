"""Figure of a faithfulness study: AUROC of every map, and deletion and insertion curves."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH, ROW, FRAME, CURVES = 11.0, 0.19, 1.0, 2.8  # inches
SENSORS = {"x": "X", "rgb": "RGB"}
CHANCE = 0.5


def faithfulness_figure(results: Mapping[str, Any]) -> bytes:
    """Draw the results of `python -m ktb faithfulness` as SVG.

    Args:
        results: `FaithfulnessStudy.to_dict()` with "model", and optionally "curves" from
            `CurveStudy.to_dict()`.
    """
    drops = [drop for drop in SENSORS if drop in results["ablated"]]
    curves = results.get("curves")
    rows = max(len(results["ablated"][drop]["maps"]) for drop in drops)
    heights = [FRAME + ROW * rows, *([CURVES, CURVES] if curves else [])]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(heights), len(drops), height_ratios=heights, squeeze=False)
    for column, drop in enumerate(drops):
        _draw_scores(grid[0][column], results["ablated"][drop], SENSORS[drop])
        for row, kind in enumerate(("deletion", "insertion") if curves else (), start=1):
            _draw_curves(grid[row][column], curves, drop, kind)
    text = f"{results['model']}: maps against the ablation of a sensor, {results['images']} images"
    figure.suptitle(text + (f"; curves of {curves['images']}" if curves else ""), fontsize=10)
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _draw_scores(axes: Axes, result: Mapping[str, Any], sensor: str) -> None:
    maps = list(result["maps"].items())[::-1]
    places = range(len(maps))
    for key, offset, color in (("auroc", 0.2, "#9aa3b2"), ("within_margin", -0.2, "#2f62c9")):
        values = [CHANCE if one[key] is None else one[key] for _, one in maps]
        bars = [value - CHANCE for value in values]
        label = "AUROC" if key == "auroc" else "within tenths of the margin"
        axes.barh([p + offset for p in places], bars, 0.38, left=CHANCE, color=color, label=label)
    axes.set_yticks(list(places), [name for name, _ in maps], fontsize=7)
    axes.axvline(CHANCE, color="#1d2026", linewidth=0.8)
    axes.set_title(f"{sensor} ablated: {100 * result['changed']:.1f} % of the positions change", fontsize=9)
    axes.set_xlim(0.2, 1.0)
    axes.legend(fontsize=7, loc="lower right")


def _draw_curves(axes: Axes, curves: Mapping[str, Any], drop: str, kind: str) -> None:
    for name, one in curves["ablated"][drop][kind].items():
        style = {"color": "#1d2026", "linestyle": "--"} if name == "random" else {}
        label = name if name == "random" else f"{name} ({one['area']:+.3f})"
        axes.plot(curves["fractions"], one["agreement"], marker=".", linewidth=1.2, label=label, **style)
    verb = "zeroed" if kind == "deletion" else "kept"
    axes.set_xlabel(f"fraction of the {SENSORS[drop]} tokens {verb}, highest value first", fontsize=8)
    axes.set_ylabel("same class as the full run", fontsize=8)
    axes.set_title(f"{kind.capitalize()} (area beside random order)", fontsize=9)
    axes.legend(fontsize=7)
