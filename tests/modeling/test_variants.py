"""Networks with parts left out (ablations), parameters by part, and classes of one's own."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers.models import pair, stirred, tiny_model, tiny_swin_config

from ktb.checkpoints.load import load_model, save_model
from ktb.config import BRANCHES, FusionConfig, ModelConfig
from ktb.inference.predictor import Predictor
from ktb.labels import DatasetLabels
from ktb.modeling.build import build_model, lite_config, swin_config
from ktb.modeling.model import KTB, PARTS, count_parameters, parameter_group

pytestmark = pytest.mark.usefixtures("one_thread")

VARIANTS = {"prompts": {"prompts": False}, "fusion": {"kind": "mean"}, "adapters": {"adapters": False}}


def without(kind: str, *parts: str) -> ModelConfig:
    """The tiny Swin or the lite configuration without some parts."""
    config = tiny_swin_config() if kind == "swin" else lite_config()
    for part in parts:
        owner = "backbone" if part == "adapters" else "fusion"
        changed = dataclasses.replace(getattr(config, owner), **VARIANTS[part])
        config = dataclasses.replace(config, **{owner: changed})
    return config


def variant(kind: str, *parts: str) -> KTB:
    torch.manual_seed(0)
    return stirred(build_model(without(kind, *parts)))


@pytest.fixture(scope="module", params=["swin", "lite"])
def whole(request) -> KTB:
    return stirred(tiny_model(request.param))


@pytest.mark.parametrize("part", VARIANTS)
def test_a_part_left_out_has_no_tensors_and_the_others_keep_theirs(whole, part):
    kind = whole.config.backbone.kind
    shapes = {name: tensor.shape for name, tensor in variant(kind, part).state_dict().items()}
    assert shapes == {n: t.shape for n, t in whole.state_dict().items() if parameter_group(n) != part}
    assert any(parameter_group(name) == part for name in whole.state_dict())


@pytest.mark.parametrize("part", VARIANTS)
@torch.no_grad()
def test_a_part_left_out_equals_the_whole_network_with_that_part_silenced(whole, part):
    kind = whole.config.backbone.kind
    small, silenced = variant(kind, part), tiny_model(kind)
    silenced.load_state_dict({**whole.state_dict(), **small.state_dict()})
    if part == "adapters":
        for name, parameter in silenced.named_parameters():
            parameter.mul_(parameter_group(name) != "adapters" or ".up." not in name)
    elif part == "prompts":
        for name, parameter in silenced.named_parameters():
            parameter.mul_(parameter_group(name) != "prompts" or not (".up." in name or ".beta" in name))
    else:
        for level in silenced.dscf:
            level.forward = lambda rgb, x, trace: ((rgb + x) / 2, None)
    rgb, modal_x = pair()
    found, expected = small(rgb, modal_x), silenced(rgb, modal_x)
    for branch in BRANCHES:
        assert torch.allclose(getattr(found, branch), getattr(expected, branch), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", ["swin", "lite"])
def test_the_barest_network_trains_its_embedding_and_heads_and_survives_a_file(kind, tmp_path):
    model = variant(kind, *VARIANTS).train()
    sum(getattr(model(*pair()), branch).square().mean() for branch in BRANCHES).backward()
    trained = {parameter_group(name) for name, _ in model.trainable_parameters()}
    assert trained == {"x embedding", "heads"}
    assert all(p.grad.abs().max() > 0 for _, p in model.trainable_parameters())
    save_model(tmp_path / "bare.safetensors", model.eval(), {})
    loaded = load_model(tmp_path / "bare.safetensors")
    assert loaded.config == model.config
    with torch.no_grad():
        assert torch.equal(loaded(*pair()).fused, model(*pair()).fused)


@pytest.mark.parametrize("kind", ["swin", "lite"])
def test_a_mean_leaves_no_trace_and_the_predictor_says_so(kind):
    model = variant(kind, "fusion")
    with torch.no_grad():
        assert model(*pair(), trace=True).trace is None
    photo = np.zeros((64, 96, 3), np.uint8)
    x = np.full((64, 96), 1000, np.uint16) if kind == "lite" else photo
    assert Predictor(model)(photo, x).trace is None


@pytest.mark.parametrize("kind", ["swin", "lite"])
@torch.no_grad()
def test_a_residual_starts_as_the_mean_and_then_adds_what_the_fusion_gives(kind):
    config = tiny_swin_config() if kind == "swin" else lite_config()
    config = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, residual=True))
    torch.manual_seed(0)
    model = build_model(config)
    plain = tiny_model(kind)
    assert model.state_dict().keys() == plain.state_dict().keys()
    a, b = torch.randn(2, 1, 6, 8, config.backbone.feature_dims[1])
    assert torch.equal(model.dscf[1](a, b)[0], (a + b) / 2)
    plain.load_state_dict(stirred(model).state_dict())
    (fused, trace), (without, _) = model.dscf[1](a, b, trace=True), plain.dscf[1](a, b)
    assert torch.allclose(fused, without + (a + b) / 2, atol=1e-5)
    assert torch.allclose(trace.residual_norm, ((a + b) / 2).norm(dim=-1))
    summands = trace.attended_norm + trace.context_norm + trace.residual_norm
    bias = model.dscf[1].up.bias.norm()
    assert (fused.norm(dim=-1) <= summands + bias + 1e-4).all()


def test_a_residual_belongs_to_dscf():
    with pytest.raises(ValueError, match="residual is true, but the fusion kind is 'mean'"):
        dataclasses.replace(lite_config().fusion, kind="mean", residual=True)


def test_a_configuration_without_the_new_keys_is_the_whole_network():
    values = lite_config().to_dict()
    del values["backbone"]["adapters"], values["fusion"]["kind"], values["fusion"]["prompts"]
    del values["fusion"]["residual"]
    assert ModelConfig.from_dict(values) == lite_config()


@pytest.mark.parametrize(
    ("owner", "key", "value", "message"),
    [
        ("fusion", "kind", "sum", r"configuration\.fusion\.kind is 'sum'; allowed: dscf, mean\."),
        ("fusion", "prompts", 0, r"configuration\.fusion\.prompts is 0; expected true or false"),
        ("backbone", "adapters", "no", r"configuration\.backbone\.adapters is 'no'; expected true or false"),
    ],
)
def test_wrong_values_are_refused_by_name(owner, key, value, message):
    values = lite_config().to_dict()
    values[owner][key] = value
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict(values)


def test_an_unknown_fusion_is_refused_in_code_too():
    with pytest.raises(ValueError, match="fusion kind is 'sum'; allowed: dscf, mean"):
        FusionConfig(mapa_ranks=(8,) * 4, dscf_ranks=(16,) * 4, kind="sum")


def test_the_lower_bound_of_the_size_holds_for_every_variant():
    for kind in ("swin", "lite"):
        for parts in ((), *((part,) for part in VARIANTS), tuple(VARIANTS)):
            total = sum(total for total, _ in count_parameters(variant(kind, *parts)).values())
            assert 0 < without(kind, *parts).weight_count() < total


def test_parameters_by_part_add_up(whole):
    counts = count_parameters(whole)
    assert tuple(counts) == PARTS
    assert sum(total for total, _ in counts.values()) == sum(p.numel() for p in whole.parameters())
    assert counts.pop("backbone")[1] == 0
    assert all(total == trainable > 0 for total, trainable in counts.values())


def test_swin_b_has_the_published_numbers_of_parameters():
    with torch.device("meta"):  # shapes only: no memory, no random numbers
        counts = count_parameters(build_model(swin_config("b", "nyuv2")))
    assert sum(total for total, _ in counts.values()) == 94_433_942
    assert sum(trainable for _, trainable in counts.values()) == 7_545_886


def test_configurations_take_classes_of_ones_own():
    labels = DatasetLabels("orchard", "Orchard", ("tree", "apple"), ((0, 100, 0), (200, 0, 0)))
    for config in (swin_config("b", labels), lite_config(labels)):
        assert config.dataset == "orchard"
        assert "orchard" in config.name
        assert (config.num_classes, config.classes, config.palette) == (2, labels.classes, labels.palette)
    with pytest.raises(ValueError, match="dataset 'orchard' is not known; choose one of nyuv2"):
        lite_config("orchard")
