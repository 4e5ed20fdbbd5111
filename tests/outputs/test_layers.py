"""The layers of a viewer hold what the analysis finds, at the size that a bundle stores."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from app.panels.compare import compare_layers
from app.panels.ground_truth import truth_layers
from app.panels.what_if import what_if_layers
from app.results import Result, XView
from ktb.analysis.agreement import disagreement_map
from ktb.analysis.attribution import attribute_prediction
from ktb.analysis.comparison import VERDICTS, difference, sensor_need
from ktb.analysis.counterfactual import Perturbation, predict_perturbed
from ktb.analysis.ground_truth import GroundTruth, error_map, fusion_effect
from ktb.analysis.targets import target_at
from ktb.outputs import bundle as bundles
from ktb.outputs.bundle import ablation_bundle, layers_bundle, make_bundle
from ktb.outputs.layers import NOT_DRAWN, Layer, attribution_layer, rests_on_layer
from ktb.utils.text import percent

pytestmark = pytest.mark.usefixtures("one_thread")


def test_where_the_heads_differ(pair, prediction):
    found = make_bundle(pair[0], prediction)
    assert [layer["name"] for layer in found.header["layers"]] == ["heads_differ"]
    np.testing.assert_array_equal(found.arrays["layer.heads_differ"], disagreement_map(prediction.labels))


def test_what_each_pixel_rests_on_comes_with_both_ablations(pair, prediction, ablated):
    need = sensor_need(prediction, ablated["x"], ablated["rgb"])
    added = ablation_bundle(prediction, ablated)
    at_once = make_bundle(pair[0], prediction, ablated=ablated)
    for found in (added, at_once):
        assert set(found.header["ablated"]) == {"x", "rgb"}
        np.testing.assert_array_equal(found.arrays["layer.rests_on"], need.verdict)
        for drop, other in ablated.items():
            np.testing.assert_array_equal(found.arrays[f"labels.without_{drop}"], other.labels["fused"])
    layer = rests_on_layer(prediction, ablated)
    assert f"without X {percent(need.stays_without_x)} of the fused mask stays" in layer.note
    assert f"without RGB {percent(need.stays_without_rgb)}" in layer.note
    assert len(layer.entries) == len(VERDICTS)
    only_x = ablation_bundle(prediction, {"x": ablated["x"]})
    assert "layer.rests_on" not in only_x.arrays


def test_a_changed_run_and_its_changed_pixels(predictor, pair, prediction):
    change = Perturbation(shift_xy=(9, 0), darken=0.5)
    after = predict_perturbed(predictor, change, pair[0], prediction.x)
    found = difference(prediction, after)
    mask, pixels = what_if_layers(change, after, found)
    np.testing.assert_array_equal(mask.values, after.labels["fused"])
    np.testing.assert_array_equal(pixels.values, np.where(found.changed, after.labels["fused"], NOT_DRAWN))
    assert "X moved by 9 px right" in mask.title
    assert "of the pixels change their class" in mask.note


def test_another_checkpoints_mask_has_its_own_classes(prediction):
    names = tuple(f"b{i}" for i in range(len(prediction.classes)))
    other = dataclasses.replace(prediction, model="other", classes=names)
    (mask,) = compare_layers(other, None)
    np.testing.assert_array_equal(mask.values, other.labels["fused"])
    assert (mask.classes, mask.palette) == (names, other.palette)
    same = dataclasses.replace(prediction, model="other", labels=prediction.labels | {
        "fused": prediction.labels["x"]})  # fmt: skip
    _, differs = compare_layers(same, difference(prediction, same))
    wanted = np.where(prediction.labels["x"] != prediction.labels["fused"], 0, NOT_DRAWN)
    np.testing.assert_array_equal(differs.values, wanted)


def test_true_classes_errors_and_effects(pair, prediction):
    labels = prediction.labels["rgb"].copy()
    labels[:20] = 255
    result = Result(pair[0], "depth image", prediction, None, XView(prediction.x))
    layers = {layer.name: layer for layer in truth_layers(result, GroundTruth(labels, "a.png", "as stored"))}
    assert list(layers) == ["truth", "errors", "effect_rgb", "effect_x"]
    np.testing.assert_array_equal(layers["truth"].values, labels)
    np.testing.assert_array_equal(layers["errors"].values, error_map(prediction.labels["fused"], labels))
    for branch in ("rgb", "x"):
        effect = fusion_effect(prediction.labels["fused"], prediction.labels[branch], labels)
        np.testing.assert_array_equal(layers[f"effect_{branch}"].values, effect)
    assert (layers["errors"].values[:20] == NOT_DRAWN).all()


def test_an_attribution_has_a_signed_map_per_sensor_that_there_was(predictor, pair, prediction):
    target = target_at(prediction.labels["fused"], (60, 80), "pixel")
    found = attribute_prediction(predictor, pair[0], prediction.x, target)
    bundle = layers_bundle([attribution_layer(found)], prediction.size_hw)
    for sensor in ("rgb", "x"):
        np.testing.assert_array_equal(
            bundle.arrays[f"layer.attribution.{sensor}"], getattr(found, sensor).astype(np.float32)
        )
    assert bundle.header["layers"][0]["sensors"] == ["rgb", "x"]
    alone = attribution_layer(dataclasses.replace(found, x_is_missing=True))
    assert list(alone.values) == ["rgb"]


def test_layers_are_stored_as_small_as_the_images(monkeypatch):
    monkeypatch.setattr(bundles, "MAX_PIXELS", 60 * 80)
    labels = np.arange(120 * 160).reshape(120, 160) % 40
    bundle = layers_bundle([Layer("a", "A", "B", "labels", labels)], (120, 160), show={"overlay": "layer.a"})
    stored = bundle.arrays["layer.a"]
    assert (stored.shape, stored.dtype) == ((60, 80), np.uint8)
    assert set(np.unique(stored)) <= set(range(40))
    assert bundle.header["show"] == {"overlay": "layer.a"}
    sampled = layers_bundle([Layer("a", "A", "B", "labels", labels[:60, :80])], (120, 160))
    np.testing.assert_array_equal(sampled.arrays["layer.a"], labels[:60, :80])


def test_layers_of_another_size_are_refused():
    layer = Layer("a", "A", "B", "labels", np.zeros((10, 10), int))
    with pytest.raises(ValueError, match=r"layer 'a' has \(10, 10\) .* but the run has \(120, 160\)"):
        layers_bundle([layer], (120, 160))
