"""The check whether images are like those of the training: numbers, files, runtimes and words."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from helpers.models import MM, depth_model
from helpers.pairs import synthetic_pair

from ktb import Predictor, load_adapter, load_model, save_adapter, save_model
from ktb.config import DOMAIN_CASES, DomainConfig
from ktb.inference.runtimes.graph import GraphModule, output_names, to_output
from ktb.modeling.build import build_model
from ktb.modeling.domain import FeatureGaussian, fit_gaussian
from ktb.outputs.files import result_files

pytestmark = pytest.mark.usefixtures("one_thread")
ROOMS = "the three rooms of this test"


def checked_model(thresholds=(1e3, 1e3, 1e3, 1e3)):
    """A model whose statistics are a standard normal distribution, with thresholds that nothing exceeds."""
    model = depth_model()
    config = dataclasses.replace(model.config, domain=DomainConfig(ROOMS, thresholds, levels=(2, 3), rank=4))
    checked = build_model(config)
    state = {**checked.state_dict(), **model.state_dict()}
    checked.load_state_dict(state)
    return checked


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair(95, 127)


def with_thresholds(**limits: float):
    return checked_model(tuple(limits.get(case, 1e3) for case in DOMAIN_CASES))


def test_without_statistics_nothing_is_said(pair):
    prediction = Predictor(depth_model())(*pair, options=MM)
    assert prediction.in_domain is None
    assert prediction.domain is None
    assert prediction.ribbon == ""
    summary = prediction.summary()
    assert summary["in_domain"] is None
    assert summary["domain"] is None


def test_an_image_within_the_thresholds_is_in_domain(pair):
    prediction = Predictor(checked_model())(*pair, options=MM)
    assert prediction.in_domain is True
    assert prediction.ribbon == ""
    assert prediction.warnings == prediction.x.warnings
    found = prediction.summary()["domain"]
    assert found["trained_on"] == ROOMS
    assert found["rgb"]["in_domain"]
    assert 0 < found["rgb"]["distance"] < 1


@pytest.mark.parametrize(
    ("limits", "outside", "said", "advised"),
    [
        ({"rgb": 1e-6}, ("rgb",), "this picture is unlike", False),
        ({"x": 1e-6}, ("x",), "this X is unlike", True),
        ({"rgb": 1e-6, "x": 1e-6}, ("rgb", "x"), "this pair is unlike", False),
    ],
)
def test_what_is_outside_is_told_everywhere(pair, limits, outside, said, advised):
    prediction = Predictor(with_thresholds(**limits))(*pair, options=MM)
    assert prediction.in_domain is False
    assert prediction.domain.outside == outside
    assert prediction.ribbon == f"outside training: {said} {ROOMS} that this model learned from"
    (warning,) = prediction.warnings[:1]
    assert warning.startswith(f"Outside training: {said}")
    assert ("trust the RGB head more" in warning) == advised
    assert warning not in prediction.x.warnings  # X may be used for another run
    files = result_files(pair[0], prediction)
    assert json.loads(files["prediction.json"])["in_domain"] is False
    assert warning in json.loads(files["prediction.json"])["warnings"]
    inside = Predictor(checked_model())(*pair, options=MM)
    assert files["overlay.png"] != result_files(pair[0], inside)["overlay.png"]


def test_each_case_has_its_own_statistics(pair):
    predictor = Predictor(with_thresholds(rgb_alone=1e-6))
    assert predictor(*pair, options=MM).in_domain
    alone = predictor(pair[0], None)
    assert alone.domain.outside == ("rgb",)
    assert set(alone.domain.distances) == {"rgb"}
    assert predictor(*pair, options=MM, drop="x").domain.outside == ("rgb",)
    without_rgb = predictor(*pair, options=MM, drop="rgb")
    assert set(without_rgb.domain.distances) == {"x"}
    assert without_rgb.in_domain


def test_batches_tiles_and_traces_give_the_same_distances(pair):
    model = checked_model()
    predictor = Predictor(model, short_side=256)
    single = predictor(*pair, options=MM)
    prepared = [predictor.prepare(*pair, options=MM), predictor.prepare(pair[0][:, ::-1].copy(), None)]
    outputs = predictor.run(prepared)
    both = [predictor.finish(pair, output, 0.0) for pair, output in zip(prepared, outputs, strict=True)]
    tiled = Predictor(model, short_side=256, tile=256)
    for other in (both[0], predictor(*pair, options=MM, trace=False), tiled(*pair, options=MM)):
        for stream, distance in single.domain.distances.items():
            assert other.domain.distances[stream] == pytest.approx(distance, rel=1e-3)
    assert set(both[1].domain.distances) == {"rgb"}


def test_exported_graphs_have_the_features(pair):
    model = checked_model()
    rgb, modal_x = torch.randn(2, 3, 64, 96), torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = model(rgb, modal_x, trace=True)
        tensors = GraphModule(model)(rgb, modal_x, torch.ones(2, 2))
    names = output_names(model)
    assert len(names) == len(tensors)
    for trace in (True, False):
        found = to_output(model, dict(zip(names, tensors)), trace, ("fused",), "onnx")
        for ours, theirs in zip(found.pooled, expected.pooled, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)
    assert not any(name.startswith("pooled") for name in output_names(depth_model()))


def test_files_keep_the_statistics_and_load_strictly(pair, tmp_path):
    model = checked_model()
    torch.manual_seed(0)
    for gaussian in model.domain.cases.values():
        gaussian.mean.normal_()
    expected = Predictor(model)(*pair, options=MM).domain.distances
    save_model(tmp_path / "whole.safetensors", model, {})
    save_adapter(tmp_path / "adapter.safetensors", model, {})
    whole = load_model(tmp_path / "whole.safetensors")
    adapted = load_adapter(tmp_path / "adapter.safetensors", tmp_path / "whole.safetensors")
    for loaded in (whole, adapted):
        assert Predictor(loaded)(*pair, options=MM).domain.distances == pytest.approx(expected, rel=1e-5)
    without = dataclasses.replace(model.config, domain=None)
    model.config = without
    save_model(tmp_path / "odd.safetensors", model, {})
    with pytest.raises(ValueError, match=r"unexpected .*domain\.cases\.rgb"):
        load_model(tmp_path / "odd.safetensors")


def test_a_fitted_gaussian_measures_in_its_own_standard_deviations():
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 40, generator=generator)
    made = torch.randn(3000, 6, generator=generator) @ mixing + 0.1 * torch.randn(
        3000, 40, generator=generator
    )
    gaussian = FeatureGaussian(40, 6)
    gaussian.load_state_dict(dict(fit_gaussian(made[:2000] + 5, 6)))
    inside = gaussian(made[2000:] + 5)
    assert inside.mean() == pytest.approx(1, abs=0.05)
    assert gaussian(made[2000:] + 5 + torch.randn(40, generator=generator)).min() > 2 * inside.max()
    constant = torch.cat([made, torch.full((3000, 1), 7.0)], dim=1)  # a channel that never changes
    assert np.isfinite(fit_gaussian(constant, 6)["directions"]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"thresholds": (1.0, 1.0, 1.0)}, "give 4 finite numbers above 0"),
        ({"thresholds": (1.0, 0.0, 1.0, 1.0)}, "give 4 finite numbers above 0"),
        ({"levels": (3, 3)}, "give different ones of 0 to 3"),
        ({"levels": ()}, "give different ones of 0 to 3"),
        ({"rank": 0}, "give 1 to 512 principal directions"),
    ],
)
def test_invalid_settings_are_told(fields, message):
    with pytest.raises(ValueError, match=message):
        DomainConfig(**{"trained_on": ROOMS, "thresholds": (1.0,) * 4, **fields})
