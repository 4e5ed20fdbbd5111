"""Results of the page whose fusion shows what a test wants."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from app.results import Result
from ktb.analysis import Inspection, LevelMaps
from ktb.analysis.types import at_of_pixel, cell_at, place_in_image
from ktb.inference.prediction import Prediction


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


SIZE = (120, 160)  # of the synthetic pair


DETAILS = "#ktb-details .ktb-pixel"


TABLE = ".ktb-points tr[data-rank]"


def inspect(tab, y: float, x: float, pane: str = "photo") -> None:
    """Click at fractions of a picture and wait for the answer."""
    picture = tab.locator(f"#ktb-pane-{pane} img.ktb-view")
    box = picture.bounding_box()
    picture.click(position={"x": x * box["width"], "y": y * box["height"]})
    tab.wait_for_selector(DETAILS)


def shown(tab) -> dict[str, str]:
    """The data attributes of the details: y, x, level, head."""
    return tab.eval_on_selector(DETAILS, "e => ({...e.dataset})")


def rows(tab) -> list[dict[str, float]]:
    """The data attributes of the table's rows as numbers."""
    found = tab.eval_on_selector_all(TABLE, "rows => rows.map(row => ({...row.dataset}))")
    return [{key: float(value) for key, value in row.items()} for row in found]


def assert_as_trace(tab, prediction) -> None:
    """The table against the attention of the level and head that the details name."""
    found, table = shown(tab), rows(tab)
    trace = prediction.trace[int(found["level"])]
    row, column = cell_at(trace.query_hw, at_of_pixel((int(found["y"]), int(found["x"])), SIZE))
    attention = trace.attention(torch.tensor([row * trace.query_hw[1] + column]))[0, :, 0].numpy()
    heads, groups = len(attention), trace.sampling_points.shape[1]
    if found["head"] == "mean":
        weights = attention.reshape(groups, heads // groups, -1).sum(axis=1) / heads
        points = trace.sampling_points[0].numpy()
    else:
        head = int(found["head"])
        weights, points = (
            attention[head][None],
            trace.sampling_points[0, head * groups // heads][None].numpy(),
        )
    flat, places = weights.reshape(-1), place_in_image(points.reshape(-1, 2), trace.query_hw)
    weight_x = np.tile(trace.modality_weights[0, 1].numpy(), len(weights))
    assert [item["rank"] for item in table] == list(range(1, 16))
    assert np.allclose([item["attention"] for item in table], np.sort(flat)[::-1][:15], rtol=1e-4)
    chosen = [int(item["point"]) for item in table]
    assert len(set(chosen)) == 15
    assert np.allclose([item["attention"] for item in table], flat[chosen], rtol=1e-4)
    assert np.allclose([item["weightX"] for item in table], weight_x[chosen], atol=1e-5)
    expected_yx = places[chosen] * np.array(SIZE) - 0.5
    assert np.allclose([(item["y"], item["x"]) for item in table], expected_yx, atol=1e-2)
