"""Faithfulness of maps: the statistics by hand, and the study of real predictions."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers.models import depth_model
from helpers.pairs import synthetic_pair, write_pair
from typer.testing import CliRunner

from ktb import Predictor, load_model, save_model
from ktb.__main__ import app
from ktb.analysis import Inspection
from ktb.analysis.faithfulness import (
    DISAGREEMENT,
    INDECISION,
    RELIANCE,
    FaithfulnessStudy,
    auroc,
    auroc_within,
    class_changes,
    forecasts,
    image_maps,
    image_scores,
    measure,
    reliance,
)
from ktb.analysis.faithfulness.scores import map_score
from ktb.checkpoints.card import figure_tables
from ktb.utils.text import rounded_down

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = "ktb-lite-nyuv2-depth"


def by_pairs(scores, happened) -> float:
    """AUROC by its definition."""
    high, low = scores[happened], scores[~happened]
    return float(np.mean((high[:, None] > low) + 0.5 * (high[:, None] == low)))


@pytest.mark.parametrize("values", [3, 1000])  # with many ties, and with few
def test_auroc_is_the_share_of_ordered_pairs(values):
    rng = np.random.default_rng(0)
    scores, happened = rng.integers(0, values, 200).astype(np.float32), rng.random(200) < 0.3
    assert auroc(scores, happened) == pytest.approx(by_pairs(scores, happened))


def test_auroc_of_a_perfect_a_reversed_and_a_constant_map():
    happened = np.array([0, 0, 1, 1], bool)
    assert auroc(np.arange(4), happened) == 1
    assert auroc(-np.arange(4), happened) == 0
    assert auroc(np.zeros(4), happened) == 0.5
    assert np.isnan(auroc(np.arange(4), np.ones(4, bool)))


def test_within_strata_the_stratifying_value_says_nothing():
    rng = np.random.default_rng(0)
    indecision, extra = rng.random(20_000), rng.random(20_000)
    happened = rng.random(20_000) < 0.1 + 0.6 * indecision + 0.2 * extra
    assert auroc(indecision, happened) > 0.6
    assert auroc_within(indecision, happened, indecision) == pytest.approx(0.5, abs=0.03)
    assert auroc_within(extra, happened, indecision) > 0.52
    assert np.isnan(auroc_within(extra, np.zeros(20_000), indecision))


def test_ties_count_half_within_strata_too():
    rng = np.random.default_rng(1)
    scores, values = rng.integers(0, 4, 300).astype(np.float32), rng.integers(0, 10, 300)
    happened = rng.random(300) < 0.4
    total = pairs = 0
    for value in range(10):
        inside = values == value
        count = happened[inside].sum() * (~happened[inside]).sum()
        total, pairs = total + count * by_pairs(scores[inside], happened[inside]), pairs + count
    assert map_score(scores, happened, values).within_margin == pytest.approx(total / pairs)


def test_a_large_grid_is_read_at_every_second_position(monkeypatch, runs):
    prediction, ablated = runs
    every = forecasts(prediction, None, "x")[RELIANCE][::2, ::2]
    monkeypatch.setattr("ktb.analysis.faithfulness.study.MAX_POSITIONS", every.size)
    found = image_scores(prediction, None, ablated)["x"][RELIANCE]
    assert found.auroc == pytest.approx(auroc(every, class_changes(prediction, ablated["x"])[::2, ::2]))


@pytest.fixture(scope="module")
def runs():
    """A prediction, and those with a sensor ablated."""
    predictor, (rgb, depth) = Predictor(load_model(MODEL)), synthetic_pair()
    prediction = predictor(rgb, depth)
    return prediction, {drop: predictor(rgb, prediction.x, trace=False, drop=drop) for drop in ("x", "rgb")}


def test_forecasts_read_the_other_sensor(runs):
    prediction, _ = runs
    inspection = Inspection(prediction)
    for drop, other in (("x", "rgb"), ("rgb", "x")):
        found = forecasts(prediction, inspection, drop)
        logits = prediction.logits[other][0] / prediction.temperatures[other]
        probabilities = logits.softmax(dim=0).numpy()
        label = prediction.logits["fused"][0].argmax(dim=0).numpy()
        expected = 1 - np.take_along_axis(probabilities, label[None], axis=0)[0]
        np.testing.assert_allclose(found[RELIANCE], expected, atol=1e-6)
        np.testing.assert_array_equal(found[RELIANCE], reliance(prediction, drop))
        assert all(values.shape == label.shape for values in found.values())
    x, rgb = (forecasts(prediction, inspection, drop)["balance"] for drop in ("x", "rgb"))
    np.testing.assert_allclose(x + rgb, 1, atol=1e-6)
    assert set(forecasts(prediction, None, "x")) == {INDECISION, RELIANCE, DISAGREEMENT}


def test_a_study_of_images_pools_their_positions(runs):
    prediction, ablated = runs
    inspection, study = Inspection(prediction), FaithfulnessStudy()
    alone = image_scores(prediction, inspection, ablated)
    for _ in range(2):
        study.add(image_maps(prediction, inspection, ablated))
    found = json.loads(json.dumps(study.to_dict()))
    assert found["images"] == 2
    for drop in ("x", "rgb"):
        changed = class_changes(prediction, ablated[drop])
        result = found["ablated"][drop]
        assert result["changed"] == pytest.approx(changed.mean())
        assert result["positions"] == 2 * changed.size
        for name, score in alone[drop].items():
            assert result["maps"][name]["auroc"] == pytest.approx(score.auroc, abs=1e-6)
        within = [score["within_margin"] for score in result["maps"].values()]
        assert within == sorted(within, reverse=True)
        assert all(-1 <= value <= 1 for row in result["spearman"].values() for value in row.values())


def test_images_with_other_maps_are_refused(runs):
    prediction, ablated = runs
    study = FaithfulnessStudy()
    study.add(image_maps(prediction, None, ablated))
    with pytest.raises(ValueError, match="different maps"):
        study.add(image_maps(prediction, Inspection(prediction), ablated))


def test_the_command_writes_its_results_and_resumes(tmp_path, monkeypatch):
    flat = {"reliance": [1.0] * 6, "random": [1.0] * 6}
    monkeypatch.setattr(measure, "token_curves", lambda *_: {"deletion": flat, "insertion": flat})
    save_model(tmp_path / "tiny.safetensors", depth_model(), {})
    rgb, x = write_pair(tmp_path)
    for folder, file in (("rgb", rgb), ("x", x)):
        (tmp_path / folder).mkdir()
        file.rename(tmp_path / folder / f"one{file.suffix}")
    out, kept = tmp_path / "found.json", tmp_path / "kept"
    command = [
        "faithfulness",
        "--rgb-dir",
        f"{tmp_path / 'rgb'}",
        "--x-dir",
        f"{tmp_path / 'x'}",
        "--unit",
        "mm",
    ]
    command += ["--model", f"{tmp_path / 'tiny.safetensors'}", "--curves", "1", "--keep", f"{kept}"]
    carded = tmp_path / "carded.safetensors"
    to_card = ["--card", f"{carded}", "--data", "made pairs"]
    ended = CliRunner().invoke(app, [*command, "--out", f"{out}", *to_card])
    assert ended.exit_code == 0, ended.output
    found = json.loads(out.read_text())
    assert (found["model"], found["images"], found["curves"]["images"]) == ("tiny µ", 1, 1)
    assert {RELIANCE, "shapley", "contribution"} <= set(found["ablated"]["x"]["maps"])
    assert RELIANCE in ended.output
    assert out.with_suffix(".svg").read_text().startswith("<?xml")
    before, after = (load_model(tmp_path / name) for name in ("tiny.safetensors", carded.name))
    assert all(torch.equal(value, after.state_dict()[key]) for key, value in before.state_dict().items())
    assert after.card["faithfulness"]["measured_on"] == "made pairs, 1 image pairs"
    table = "\n".join(figure_tables(after.card))
    scores = [found["ablated"][drop]["maps"][RELIANCE] for drop in ("rgb", "x")]
    row = [rounded_down(one[key], 3) for one in scores for key in ("auroc", "within_margin")]
    assert f"| {RELIANCE} | {' | '.join(row)} |" in table
    written = {file: file.stat().st_mtime_ns for file in kept.glob("one.*")}
    assert len(written) == 2
    again = CliRunner().invoke(app, [*command, "--out", f"{tmp_path / 'again.json'}"])
    assert again.exit_code == 0, again.output
    assert written == {file: file.stat().st_mtime_ns for file in kept.glob("one.*")}
    assert json.loads((tmp_path / "again.json").read_text()) == found
    other = CliRunner().invoke(app, [*command, "--hot", "black", "--out", f"{out}"])
    assert "results of another study" in other.output
    assert "give --rgb-dir" in CliRunner().invoke(app, ["faithfulness"]).output
