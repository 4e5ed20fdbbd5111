"""The network reproduces the numbers of the released implementation."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from ktb.checkpoints.official import infer_config, our_name, to_ours
from ktb.modeling.build import build_model
from tools import plain_forward

VECTORS = ["small_96x128", "small_100x132", "small_98x131_w12"]
TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=VECTORS)
def case(request, shared, deterministic_state):
    folder = shared / "reference" / "vectors"
    shapes = json.loads((folder / f"{request.param}.json").read_text())["official_shapes"]
    vectors = load_file(folder / f"{request.param}.safetensors")
    official = deterministic_state(shapes)
    model = build_model(infer_config(official))
    model.load_state_dict(to_ours(official))
    with torch.inference_mode():
        output = model(vectors["rgb"], vectors["x"], trace=True)
        return model, vectors, output


def assert_close(ours, reference):
    assert ours.shape == reference.shape
    assert (ours - reference).abs().max() <= TOLERANCE


def assert_logits_close(output, vectors):
    logits = [name for name in vectors if name.startswith("logits")]
    assert len(logits) == 3
    for name in logits:
        branch = {"logits_dte": "x"}.get(name, name.removeprefix("logits_"))
        assert_close(getattr(output, branch), vectors[name])


def test_logits_equal_the_reference(case):
    _, vectors, output = case
    assert_logits_close(output, vectors)


def test_the_benchmarks_baseline_equals_the_reference(case):
    model, vectors, _ = case
    assert_logits_close(plain_forward.make(model)(vectors["rgb"], vectors["x"]), vectors)


@pytest.mark.parametrize("level", range(4))
def test_fusion_trace_equals_the_reference(case, level):
    _, vectors, output = case
    trace = output.trace[level]
    points = trace.sampling_points.shape[2] // 2
    for name, offsets in (
        ("offset_rgb", trace.sampling_offsets[:, :, :points]),
        ("offset_x", trace.sampling_offsets[:, :, points:]),
    ):
        assert_close(offsets.transpose(2, 3).unflatten(3, trace.point_hw), vectors[f"{name}.{level}"])
    assert_close(trace.modality_weights, vectors[f"modality_weights.{level}"])
    queries = vectors[f"attention_queries.{level}"]
    assert_close(trace.attention(queries), vectors[f"attention_rows.{level}"])


@pytest.mark.parametrize("level", range(4))
def test_fused_features_equal_the_reference(case, level):
    model, vectors, _ = case
    captured = {}
    handle = model.dscf[level].register_forward_hook(lambda _m, _i, out: captured.update(fused=out[0]))
    with torch.inference_mode():
        model(vectors["rgb"], vectors["x"])
    handle.remove()
    assert_close(captured["fused"].flatten(1, 2), vectors[f"dscf_out.{level}"])


def test_parameter_counts_and_trainable_list_of_swin_b(official_shapes):
    from ktb.modeling.build import swin_config

    reference = official_shapes("b")
    model = build_model(swin_config("b", "nyuv2"))
    assert sum(p.numel() for p in model.parameters()) == reference["params"] == 94_433_942
    trainable = dict(model.trainable_parameters())
    assert sum(p.numel() for p in trainable.values()) == reference["trainable_params"] == 7_545_886
    translated = [our_name(name) for name in reference["trainable"]]
    assert len(set(translated)) == len(translated)
    assert set(translated) == set(trainable)
    frozen_batch_norms = [n for n, m in model.named_modules() if re.search("BatchNorm", type(m).__name__)]
    assert all(n.startswith(("dscf.", "heads.")) for n in frozen_batch_norms)
