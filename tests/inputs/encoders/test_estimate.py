"""Estimated depth: the real code of `transformers` on a tiny random network; no weights are at hand."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from helpers.pairs import synthetic_pair

from ktb import Predictor, load_model
from ktb.config import InputConfig
from ktb.inputs import InputError, XOptions, encode_x
from ktb.inputs.depth_estimation import (
    ASSUMED_METRES,
    DepthEstimator,
    is_available,
    metres_from_inverse,
    unavailable_reason,
)

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="needs the optional package transformers"
)


def tiny_model(folder, kind: str):
    """Write a Depth Anything of random weights, as `from_pretrained` finds it."""
    import torch
    from transformers import (
        DepthAnythingConfig,
        DepthAnythingForDepthEstimation,
        Dinov2Config,
        DPTImageProcessor,
    )

    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=56,
        patch_size=14,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_hidden_size=4,
        depth_estimation_type=kind,
        max_depth=20,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    ).save_pretrained(folder)
    return folder


@needs_transformers
@pytest.mark.parametrize("kind", ["metric", "relative"])
def test_estimate_is_depth_in_metres_marked_as_estimated(tmp_path, kind):
    photo, _ = synthetic_pair()
    raw = DepthEstimator(tiny_model(tmp_path / "Tiny-hf", kind))(photo)
    assert raw.origin == "estimated"
    assert raw.data.shape == photo.shape[:2]
    assert raw.data.dtype == np.float32
    assert raw.facts["estimated by"] == "Tiny-hf"
    assert "ESTIMATED" in raw.notes[0]
    if kind == "metric":
        assert 0 < raw.data.min() <= raw.data.max() <= 20
    else:
        near, far = ASSUMED_METRES
        assert (raw.data.min(), raw.data.max()) == pytest.approx((near, far))
        assert "assumed" in raw.facts["scale"]


@needs_transformers
def test_prediction_with_estimated_depth_says_so_everywhere(tmp_path):
    photo, _ = synthetic_pair()
    raw = DepthEstimator(tiny_model(tmp_path / "Tiny-hf", "relative"))(photo)
    prediction = Predictor(load_model("ktb-lite-nyuv2-depth"))(photo, raw, options=XOptions(unit="mm"))
    assert prediction.x.origin == "estimated"
    assert prediction.x.depth.unit == "m"  # an option for an earlier file does not reach the estimate
    assert prediction.x.depth.confidence == "guess"  # metres that the network did not estimate
    assert prediction.x.summary.startswith("ESTIMATED depth")
    summary = prediction.summary()
    assert summary["x"]["origin"] == "estimated"
    assert any("ESTIMATED" in warning for warning in summary["warnings"])


def test_inverse_depth_becomes_metres_between_the_assumed_distances():
    inverse = np.linspace(0, 10, 101, dtype=np.float32)[None].repeat(40, 0)
    metres = metres_from_inverse(inverse, 1.0, 6.0)
    assert metres[0, 0] == pytest.approx(6)
    assert metres[0, -1] == pytest.approx(1)
    assert (np.diff(metres[0]) <= 0).all()
    assert np.ptp(metres_from_inverse(np.ones((40, 40), np.float32), 1.0, 6.0)) == 0


def test_estimate_feeds_a_model_of_hha_as_depth():
    metres = np.full((48, 64), 2.0, np.float32)
    metres[20:] = np.linspace(2, 1, 28)[:, None]
    from ktb.inputs.types import RawX

    raw = RawX(metres, "estimated", "estimate", origin="estimated")
    reading = encode_x(raw, InputConfig(modality="hha", encoding="hha"))
    assert reading.modality == "hha"
    assert not any("looks like" in warning for warning in reading.warnings)


def test_missing_package_is_named(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "transformers" else real(name, *rest)
    )
    assert not is_available()
    assert "pip install transformers" in unavailable_reason()
    with pytest.raises(InputError, match="pip install transformers"):
        DepthEstimator()


@needs_transformers
def test_weights_that_are_nowhere_are_named(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="neither in the cache nor reachable"):
        DepthEstimator(tmp_path / "no-such-folder")


@needs_transformers
def test_a_hub_that_does_not_answer_is_given_up_soon(monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(InputError, match="hf download nobody/no-model"):
        DepthEstimator("nobody/no-model")
