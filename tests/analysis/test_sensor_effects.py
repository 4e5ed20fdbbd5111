"""Effects of the sensors: contributions to the fusion, Shapley values, deletion and insertion curves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.models import MM, depth_model
from helpers.pairs import synthetic_pair

from ktb import Predictor
from ktb.analysis.faithfulness import (
    CurveStudy,
    TokenRuns,
    blank_logits,
    class_changes,
    contributions,
    integrated_gradients,
    recorded_features,
    shapley_values,
    token_curves,
)
from ktb.analysis.faithfulness.fusion_parts import attended_parts
from ktb.modeling.build import build_model

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor():
    return Predictor(depth_model().eval(), runtime="eager")


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair()


@pytest.fixture(scope="module")
def recorded(predictor, pair):
    """A prediction, and the features that its fusion read."""
    with recorded_features(predictor.model) as features:
        prediction = predictor(*pair, options=MM)
    return prediction, features


@pytest.fixture(scope="module")
def ablated(predictor, pair, recorded):
    return {drop: predictor(pair[0], recorded[0].x, trace=False, drop=drop) for drop in ("x", "rgb")}


@pytest.fixture(scope="module")
def runs(predictor, pair, recorded):
    return TokenRuns(predictor, pair[0], recorded[0].x)


def with_residual(model):
    fusion = dataclasses.replace(model.config.fusion, residual=True)
    found = build_model(dataclasses.replace(model.config, fusion=fusion)).eval()
    found.load_state_dict(model.state_dict())
    return found


@pytest.mark.parametrize("residual", [False, True])
@torch.no_grad()
def test_the_sensors_parts_and_the_biases_are_all_that_is_attended(predictor, pair, residual):
    model = with_residual(predictor.model) if residual else predictor.model
    with recorded_features(model) as features:
        prediction = Predictor(model, runtime="eager")(*pair, options=MM)
    for dscf, (rgb, x), trace in zip(model.dscf, features, prediction.trace, strict=True):
        parts = attended_parts(dscf, rgb, x, trace)
        biases = dscf.sparse_part(dscf.proj_v.bias)
        last = dscf.alpha * dscf.proj_out.bias
        biases = biases + (F.linear(last, dscf.up.weight) if residual else last)
        norm = (parts.sum(dim=0) + biases).norm(dim=-1)
        torch.testing.assert_close(norm, trace.attended_norm[0], rtol=1e-4, atol=1e-5)
    found = contributions(model, features, prediction)
    assert ("contribution_with_residual" in found["x"]) == residual
    both = found["rgb"]["contribution_balance"] + found["x"]["contribution_balance"]
    np.testing.assert_allclose(both, 1, atol=1e-5)
    for maps in found.values():
        assert all((values >= 0).all() and (values <= 1).all() for values in maps.values())


def test_contributions_need_the_features_of_the_whole_run(predictor, recorded):
    prediction, features = recorded
    with pytest.raises(ValueError, match="record them around a run"):
        contributions(predictor.model, features[:2], prediction)


def test_shapley_values_sum_to_the_effect_of_both_sensors(predictor, recorded, ablated):
    prediction = recorded[0]
    blank = blank_logits(predictor, prediction.network_hw)
    found = shapley_values(prediction, ablated, blank)
    label = prediction.logits["fused"].argmax(dim=1, keepdim=True)

    def value(logits):
        logits = logits / prediction.temperatures["fused"]
        return logits.log_softmax(dim=1).gather(1, label)[0, 0].numpy()

    both, none = value(prediction.logits["fused"]), value(blank)
    np.testing.assert_allclose(found["x"] + found["rgb"], both - none, atol=1e-4)
    only_x, only_rgb = (value(ablated[drop].logits["fused"]) for drop in ("rgb", "x"))
    np.testing.assert_allclose(found["x"] - found["rgb"], only_x - only_rgb, atol=1e-4)


@pytest.mark.parametrize("sensor", ["x", "rgb"])
def test_zeroing_all_tokens_is_the_ablation(runs, recorded, ablated, sensor):
    prediction = recorded[0]
    for kept, expected in ((True, prediction), (False, ablated[sensor])):
        found = runs.logits(sensor, np.full(runs.grid, kept))
        torch.testing.assert_close(found, expected.logits["fused"][0], rtol=1e-4, atol=1e-4)


def test_curves_begin_and_end_where_the_runs_do(runs, recorded, ablated):
    maps = {"rows": np.arange(8.0)[:, None].repeat(8, axis=1), "flat": np.zeros((4, 4))}
    found = token_curves(runs, "x", maps, fractions=(0, 0.5, 1), seeds=2)
    same = 1 - class_changes(recorded[0], ablated["x"]).mean()
    for kind, ends in (("deletion", (1, same)), ("insertion", (same, 1))):
        assert set(found[kind]) == {"rows", "flat", "random"}
        for curve in found[kind].values():
            assert (curve[0], curve[-1]) == pytest.approx(ends)
            assert 0 <= curve[1] <= 1
    with pytest.raises(ValueError, match="increasing numbers from 0 to 1"):
        token_curves(runs, "x", maps, fractions=(0, 0.5))


def test_deletion_begins_with_the_highest_values(runs):
    asked = []

    class Recording:
        grid = (4, 6)

        def logits(self, sensor, kept):
            asked.append(kept)
            return torch.zeros(2, *self.grid)

    rows = np.arange(4.0)[:, None].repeat(6, axis=1)
    token_curves(Recording(), "rgb", {"rows": rows}, fractions=(0, 0.25, 1), seeds=1)
    deleted, inserted, *_ = (kept for kept in asked if 0 < kept.mean() < 1)
    np.testing.assert_array_equal(deleted, rows < 3)
    np.testing.assert_array_equal(inserted, rows == 3)


def test_areas_compare_with_random_order():
    study = CurveStudy(fractions=(0, 0.5, 1), seeds=1)
    for middle in (0.2, 0.4):
        curves = {
            "deletion": {"a": [1.0, middle, 0.4], "random": [1.0, 0.7, 0.4]},
            "insertion": {"a": [0.4, middle, 1.0], "random": [0.4, 0.7, 1.0]},
        }
        study.add({"x": curves})
    found = study.to_dict()
    assert (found["images"], found["fractions"]) == (2, [0, 0.5, 1])
    deletion, insertion = (found["ablated"]["x"][kind] for kind in ("deletion", "insertion"))
    assert deletion["a"]["agreement"] == pytest.approx([1, 0.3, 0.4])
    assert deletion["a"]["area"] == pytest.approx(0.2)  # a triangle of height 0.4 and width 1
    assert deletion["a"]["area_error"] == pytest.approx(0.05)
    assert insertion["a"]["area"] == pytest.approx(-0.2)
    assert deletion["random"]["area"] == 0


@pytest.mark.parametrize("sensor", ["x", "rgb"])
def test_integrated_gradients_sum_to_the_change_of_the_score(runs, sensor):
    def score(kept):
        logits = runs.logits(sensor, np.full(runs.grid, kept))
        return float(logits.log_softmax(dim=0).gather(0, label).sum())

    label = runs.logits(sensor, np.ones(runs.grid, bool)).argmax(dim=0, keepdim=True)
    found = integrated_gradients(runs, sensor, steps=16)
    assert found.shape == runs.grid
    assert found.sum() == pytest.approx(score(True) - score(False), rel=0.1)
