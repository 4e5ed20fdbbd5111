"""What the tests of the viewer share: the chosen pixel, its points, and inspections with given maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from app.results import Result
from helpers.page.browsing import VIEWER
from ktb.analysis import Inspection, LevelMaps
from ktb.analysis.types import at_of_pixel, cell_at
from ktb.inference.prediction import Prediction

POINTS = ".ktb-v-points tr[data-point]"
VIEW = f"""() => {{
  const viewer = {VIEWER}, {{ pixel, level, head }} = viewer.state, grid = viewer.level.grid;
  const cell = pixel.map((at, axis) => Math.floor((at + 0.5) / viewer.size[axis] * grid[axis]));
  const view = viewer.level.view(cell, head);
  return {{ pixel, level, head, attention: Array.from(view.attention), points: view.points,
    weightX: view.points.map((_, index) => view.weightX(index)) }};
}}"""


class Fixed(Inspection):
    """An inspection that finds the given maps."""

    def __init__(self, prediction: Prediction, views: Sequence[LevelMaps]):
        super().__init__(prediction)
        self.views = tuple(views)

    def maps(self, level: int) -> LevelMaps:
        return self.views[level]


def with_maps(result: Result, views: Sequence[LevelMaps]) -> Result:
    """The result with these maps of its levels, and nothing drawn yet."""
    return dataclasses.replace(result, inspection=Fixed(result.prediction, views))


def click_image(tab, y: float, x: float, pane: str = "rgb") -> None:
    """Click at fractions of an image of the viewer, which shows all of it; the card tells of the pixel."""
    picture = tab.locator(f".ktb-v canvas[data-pane={pane}]")
    box = picture.bounding_box()
    picture.click(position={"x": x * box["width"], "y": y * box["height"]})


def drag(tab, start: tuple[float, float], end: tuple[float, float], pane: str = "rgb") -> None:
    """Drag with the mouse between two places of an image of the viewer, fractions (y, x) of it."""
    picture = tab.locator(f".ktb-v canvas[data-pane={pane}]")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for y, x in (start, end)]
    tab.mouse.move(*places[0])
    tab.mouse.down()
    tab.mouse.move(*places[1], steps=3)
    tab.mouse.up()


def assert_as_trace(tab, prediction: Prediction) -> None:
    """The chosen pixel's attention and its table against the trace, for the viewer's level and head."""
    found = tab.evaluate(VIEW)
    trace = prediction.trace[found["level"]]
    row, column = cell_at(trace.query_hw, at_of_pixel(tuple(found["pixel"]), prediction.size_hw))
    attention = trace.attention(torch.tensor([row * trace.query_hw[1] + column]))[0, :, 0].numpy()
    heads, groups = len(attention), trace.sampling_points.shape[1]
    points = trace.sampling_points[0].numpy()
    if found["head"] is None:
        weights = attention.reshape(groups, heads // groups, -1).sum(axis=1) / heads
    else:
        head = found["head"]
        weights, points = attention[head][None], points[head * groups // heads][None]
    np.testing.assert_allclose(found["attention"], weights.ravel(), atol=1e-3)
    np.testing.assert_allclose(found["points"], points.reshape(-1, 2), atol=1e-5)
    weight_x = np.tile(trace.modality_weights[0, 1].numpy(), len(weights))
    np.testing.assert_allclose(found["weightX"], weight_x, atol=1e-5)
    rows = tab.eval_on_selector_all(POINTS, "all => all.map(row => ({...row.dataset}))")
    strongest = np.sort(found["attention"])[::-1][:15]
    np.testing.assert_allclose([float(row["attention"]) for row in rows], strongest, rtol=1e-6)
    for row in rows:
        assert found["attention"][int(row["point"])] == float(row["attention"])
