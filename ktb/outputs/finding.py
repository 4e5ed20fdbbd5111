"""A finding: one pixel of a run, with what its class rests on, to be marked in figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap

from ktb.analysis import Inspection, PixelView
from ktb.analysis.types import place_in_image
from ktb.inference.prediction import Drop, Prediction
from ktb.utils.text import percent
from ktb.visualize import color_table

STRONGEST = 120  # points that are drawn
MAX_AREA = 40.0  # of the strongest point, in points²
SENSORS: Mapping[Drop, str] = {"x": "X", "rgb": "RGB"}


@dataclass(frozen=True, eq=False)
class Finding:
    """A pixel to mark.

    Attributes:
        pixel: (row, column) of the RGB image.
        words: what is known about it, in sentences.
        view: its attention at one level; None without a trace.
    """

    pixel: tuple[int, int]
    words: str
    view: PixelView | None = None


def find(
    prediction: Prediction,
    pixel: tuple[int, int],
    *,
    level: int = 3,
    head: int | None = None,
    inspection: Inspection | None = None,
    ablated: Mapping[Drop, Prediction] | None = None,
) -> Finding:
    """What is known about a pixel.

    Args:
        pixel: (row, column) of the RGB image.
        level, head: of the points that are drawn; head None is the mean over the heads.
        inspection: of the prediction; None leaves the points out.
        ablated: predictions with a sensor ablated, by the ablated sensor.

    Raises:
        ValueError: the pixel lies outside the image.
    """
    height, width = prediction.size_hw
    row, column = pixel
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(
            f"pixel {pixel} lies outside the image of {height} × {width} (height × width) pixels."
        )
    name = prediction.classes[prediction.labels["fused"][row, column]]
    sure = percent(float(prediction.confidences["fused"][row, column]), 0)
    said = [f"Marked: x {column}, y {row}, {name} ({sure})."]
    for drop in ("x", "rgb"):
        if ablated and drop in ablated:
            other = prediction.classes[ablated[drop].labels["fused"][row, column]]
            verb = "stays" if other == name else "becomes"
            said.append(f"Without {SENSORS[drop]} it {verb} {other}.")
    view = None
    if inspection is not None:
        view = inspection.pixel(level, inspection.at((row, column)), head)
        which = "the mean over the heads" if head is None else f"head {head}"
        said.append(
            f"Points: the strongest of its attention at level {level}, {which}; size shows attention, colour "
            "the weight of X (blue 0, orange 1), squares were placed by the X stream."
        )
    return Finding((row, column), " ".join(said), view)


def mark(panel: Axes, finding: Finding, size_hw: tuple[int, int]) -> None:
    """Draw a finding's points and a ring at its pixel on a panel that shows an image of a size."""
    where = {"transform": panel.transAxes, "clip_on": False}
    if finding.view is not None:
        _points(panel, finding.view, where)
    y, x = ((place + 0.5) / side for place, side in zip(finding.pixel, size_hw))
    for width, color in ((2.4, "black"), (1.2, "white")):
        panel.plot([x], [1 - y], "o", ms=8, mfc="none", mec=color, mew=width, **where)


def _points(panel: Axes, view: PixelView, where: dict) -> None:
    strongest = np.argsort(-view.attention, kind="stable")[:STRONGEST][::-1]
    places = place_in_image(view.points[strongest], view.grid_hw)
    areas = MAX_AREA * view.attention[strongest] / view.attention.max()
    colors = ListedColormap(color_table("diverging") / 255)
    weights = view.weight_x[strongest]
    for is_led, marker in ((False, "o"), (True, "s")):
        chosen = view.x_led[strongest] == is_led
        shown = (
            {"c": "#c8ccd4"}
            if view.x_is_missing
            else {"c": weights[chosen], "cmap": colors, "vmin": 0, "vmax": 1}
        )
        y, x = places[chosen].T
        panel.scatter(
            x, 1 - y, s=areas[chosen], marker=marker, edgecolors="black", linewidths=0.3, **shown, **where
        )
