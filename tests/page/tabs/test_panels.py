"""What the page says of a run without a browser: names are escaped, numbers are those of the run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers.models import stirred
from helpers.pairs import write_pair

from app.layout import card_text
from app.panels.compare import compare_panel
from app.panels.footer import footer
from app.panels.ground_truth import truth_panel
from app.panels.what_if import what_if_panel
from app.service import Service
from app.viewer import run_bytes
from ktb.analysis.color_range import map_scale
from ktb.analysis.comparison import difference
from ktb.analysis.counterfactual import Perturbation
from ktb.analysis.ground_truth import GroundTruth
from ktb.checkpoints.load import save_model
from ktb.modeling.build import build_model, lite_config
from ktb.outputs.figure import figure_bytes
from ktb.outputs.report import report_html

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    config = lite_config(name="random")
    classes = (HOSTILE,) * config.num_classes
    model = build_model(dataclasses.replace(config, classes=classes))
    path = tmp_path_factory.mktemp("models") / "random.safetensors"
    save_model(path, stirred(model), {"limits": HOSTILE})
    return Service([str(path)])


@pytest.fixture(scope="module")
def result(service, tmp_path_factory):
    rgb_path, x_path = write_pair(tmp_path_factory.mktemp("pair"), 64, 96)
    return service.segment(str(rgb_path), str(x_path), "random")


def test_names_from_a_checkpoint_and_a_file_are_escaped_everywhere(service, result):
    prediction = dataclasses.replace(result.prediction, model=HOSTILE)
    hostile = dataclasses.replace(result, prediction=prediction)
    other = dataclasses.replace(prediction, labels=prediction.labels | {"fused": prediction.labels["x"]})
    found = difference(prediction, other)
    truth = GroundTruth(prediction.labels["x"], HOSTILE, HOSTILE)
    for text in (
        footer(hostile),
        compare_panel(hostile, dataclasses.replace(hostile, prediction=other), found),
        what_if_panel(hostile, Perturbation(drop="x"), other, found),
        truth_panel(hostile, truth),
        card_text(service, "random"),
    ):
        assert "<script" not in text
        assert "&lt;script&gt;" in text


def test_flat_balance_maps_look_flat_and_sides_have_their_colours(result):
    def with_balance(values):
        heads = np.repeat(values[None].astype(np.float32), 2, axis=0)
        return [dataclasses.replace(level, balance=heads[0], head_balance=heads)
                for level in result.inspection.all_maps()]  # fmt: skip

    flat = with_balance(0.5 + np.linspace(-0.01, 0.01, 48).reshape(6, 8))
    scale = map_scale("balance", flat)
    assert (scale.low, scale.high) == pytest.approx((0.4, 0.6))
    colors = scale.colors(flat[0].balance).astype(int)
    assert np.ptp(colors.reshape(-1, 3), axis=0).max() < 60  # of 200 from end to end
    ends = np.zeros((6, 8))
    ends[:, 4:] = 1
    sides = with_balance(ends)
    colors = map_scale("balance", sides).colors(sides[0].balance).astype(int)
    assert colors[3, 0, 2] > colors[3, 0, 0] + 50  # 0: RGB image, blue
    assert colors[3, 7, 0] > colors[3, 7, 2] + 50  # 1: X, orange
    values = np.full((40, 50), 0.5) + np.linspace(-0.2, 0.2, 50)
    values[0, 0] = 1.0
    scale = map_scale("balance", with_balance(values))
    assert scale.high < 0.75
    assert 0 < scale.beyond(values) < 0.03


def test_without_x_report_and_figure_say_nothing_about_what_it_contributed(service, tmp_path):
    alone = service.segment(str(write_pair(tmp_path, 64, 96)[0]), None, "random", source="none")
    assert alone.x_is_missing
    given = {"inspection": alone.inspection}
    report = report_html(alone.rgb, alone.prediction, viewer=False, **given)
    figure = figure_bytes(alone.rgb, alone.prediction, "svg", **given).decode()
    for document in (report, figure):
        for claim in ("attention reads", "alance, level", "Balance at levels"):
            assert claim not in document, claim


def test_levels_hold_what_the_trace_says(result):
    for level, trace in zip(result.inspection.all_maps(), result.prediction.trace):
        assert np.allclose(level.points, trace.sampling_points[0].numpy())
        assert np.allclose(level.weight_x, trace.modality_weights[0, 1].numpy())
        assert np.allclose(level.balance, trace.balance()[0].numpy())


def test_figures_of_the_card_are_never_rounded_up(service, monkeypatch):
    row = {"miou": 30.26, "pixel_accuracy": 69.99}
    monkeypatch.setattr(service, "card", lambda model: {"figures": {"x": row}})
    assert "x 30.2 mIoU, 69.9 % of pixels" in card_text(service, "random")


def test_a_model_that_fuses_by_a_mean_has_a_result_too(tmp_path):
    config = lite_config(name="mean")
    config = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, kind="mean"))
    save_model(tmp_path / "mean.safetensors", build_model(config), {})
    rgb_path, x_path = write_pair(tmp_path, 64, 96)
    found = Service([str(tmp_path / "mean.safetensors")]).segment(str(rgb_path), [str(x_path)], "mean")
    assert found.inspection is None
    assert run_bytes(found)
    assert "Download masks" in footer(found)
