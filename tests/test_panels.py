"""What the page's pictures and words promise, without a browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from pairs import write_pair
from PIL import Image

from app.layout import card_text
from app.panels.branches import branches_panel
from app.panels.fusion import describe, fusion_panel
from app.panels.result import footer, result_panel
from app.pictures import balance_half_range, balance_picture, points_picture
from app.service import LevelView, Service
from ktb.build import build_model, lite_config
from ktb.checkpoint import save_model

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    config = lite_config(name="random")
    classes = (HOSTILE,) * config.num_classes
    model = build_model(dataclasses.replace(config, classes=classes))
    path = tmp_path_factory.mktemp("models") / "random.safetensors"
    save_model(path, model, {"limits": HOSTILE})
    return Service([str(path)])


@pytest.fixture(scope="module")
def result(service, tmp_path_factory):
    rgb_path, x_path = write_pair(tmp_path_factory.mktemp("pair"), 64, 96)
    return service.segment(str(rgb_path), str(x_path), "random")


def level(balance: np.ndarray, entropy: float = 0.5) -> LevelView:
    points = {stream: np.zeros((4, 2), np.float32) for stream in ("rgb", "x")}
    weights = {stream: np.full(4, 0.5, np.float32) for stream in ("rgb", "x")}
    return LevelView(
        stride=4, balance=balance.astype(np.float32), entropy=entropy, points=points, weights=weights
    )


def test_names_from_a_checkpoint_are_escaped_everywhere(service, result):
    hostile_name = dataclasses.replace(result.prediction, model=HOSTILE)
    hostile = dataclasses.replace(result, prediction=hostile_name)
    pages = [result_panel(hostile), branches_panel(hostile), fusion_panel(hostile, 0), footer(hostile)]
    for text in (*pages, card_text(service, "random")):
        assert "<script" not in text
    assert "&lt;script&gt;" in pages[0]


def test_x_is_called_what_it_is(result):
    assert 'alt="x input: depth image"' in branches_panel(result)
    assert "X: event frame" in branches_panel(dataclasses.replace(result, x_name="event frame"))


def test_pictures_name_their_checkpoint(result):
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', fusion_panel(result, 1))
    assert len(sources) >= 7
    for source in sources:
        assert Image.open(io.BytesIO(base64.b64decode(source))).text["Checkpoint"] == "random"


def test_uniform_attention_is_called_uniform():
    flat = level(np.full((6, 8), 0.5), entropy=0.99)
    assert "carries no information" in describe(flat, 2)
    assert "carries no information" not in describe(level(np.full((6, 8), 0.5), entropy=0.7), 2)


@pytest.mark.parametrize(
    ("mean", "words"), [(0.2, "leans to the photograph"), (0.8, "leans to X"), (0.5, "neither sensor")]
)
def test_words_name_the_preferred_sensor(mean, words):
    assert words in describe(level(np.full((6, 8), mean)), 0)


def test_flat_balance_maps_look_flat_and_sides_have_their_colours():
    nearly_flat = level(0.5 + np.linspace(-0.01, 0.01, 48).reshape(6, 8))
    assert balance_half_range([nearly_flat]) == pytest.approx(0.1)
    labels = np.zeros((60, 80), np.uint8)
    picture = balance_picture(nearly_flat, labels, 0.1).astype(int)
    assert np.ptp(picture.reshape(-1, 3), axis=0).max() < 60  # of 200 from end to end
    ends = np.zeros((6, 8))
    ends[:, 4:] = 1
    picture = balance_picture(level(ends), labels, 0.5).astype(int)
    assert picture[30, 5, 2] > picture[30, 5, 0] + 50  # 0: photograph, blue
    assert picture[30, 75, 0] > picture[30, 75, 2] + 50  # 1: X, orange


def test_sampling_points_land_where_their_coordinates_say():
    black = np.zeros((101, 201, 3), np.uint8)
    points = np.array([[-1.0, -1.0], [0.0, 0.5]])  # (y, x): the top left corner; the middle row, at 3/4
    changed = points_picture(black, points, np.array([0.0, 1.0])).astype(int)
    assert changed[0, 0, 2] > changed[0, 0, 0]  # weight of x 0: blue
    assert changed[50, 150, 0] > changed[50, 150, 2]  # weight of x 1: orange
    assert np.array_equal(changed[50, 50], changed[90, 190])  # elsewhere: background


def test_levels_hold_what_the_trace_says(result):
    for view, trace in zip(result.levels, result.prediction.trace):
        half = trace.sampling_points.shape[2] // 2
        assert np.allclose(view.points["x"], trace.sampling_points[0, :, half:].reshape(-1, 2).numpy())
        groups = trace.sampling_points.shape[1]
        assert np.allclose(
            view.weights["rgb"].reshape(groups, -1), trace.modality_weights[0, 1, :half].numpy()
        )
        assert np.allclose(view.balance, trace.balance()[0].numpy())


def test_figures_of_the_card_are_never_rounded_up(service, monkeypatch):
    row = {"miou": 30.26, "pixel_accuracy": 69.99}
    monkeypatch.setattr(service, "card", lambda model: {"figures": {"x": row}})
    assert "x 30.2 mIoU, 69.9 % of pixels" in card_text(service, "random")


def test_a_model_that_fuses_by_a_mean_says_so_instead_of_showing_attention(tmp_path):
    config = lite_config(name="mean")
    config = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, kind="mean"))
    save_model(tmp_path / "mean.safetensors", build_model(config), {})
    rgb_path, x_path = write_pair(tmp_path, 64, 96)
    found = Service([str(tmp_path / "mean.safetensors")]).segment(str(rgb_path), [str(x_path)], "mean")
    assert found.levels == ()
    assert "No attention to show" in fusion_panel(found, 2)
    assert "data:image/png" in result_panel(found)
    assert "data:image/png" in branches_panel(found)
