"""The registries of modalities and backbones: every entry is whole, and nothing else has to know a name."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import get_args

import pytest
import torch

from ktb.config import BACKBONES, Encoding, LiteConfig, Modality, ModelConfig, SwinConfig
from ktb.inputs.encode import encoder
from ktb.modalities import DEFAULT_ENCODINGS, ENCODERS, MODALITIES
from ktb.modeling.build import VARIANTS, build_model, lite_config, swin_config
from ktb.modeling.layers import run_block


def test_a_modality_is_one_entry():
    assert get_args(Modality) == tuple(MODALITIES) == tuple(DEFAULT_ENCODINGS)
    assert get_args(Encoding) == tuple(ENCODERS)
    words = [word for info in MODALITIES.values() for word in info.filename_words]
    assert len(words) == len(set(words))
    for name, info in MODALITIES.items():
        assert DEFAULT_ENCODINGS[name] in info.encodings
        assert info.noun
        assert info.image
        assert info.label
    assert all(callable(encoder(encoding)) for encoding in ENCODERS)


@pytest.mark.parametrize("kind", BACKBONES)
def test_a_backbone_is_one_entry(kind):
    info = BACKBONES[kind]
    assert info.config().kind == kind
    parts = {"embed", "downsample", "blocks", "reach", "timed_modules", "freeze_statistics", "load_timm"}
    parts |= {"timm_name", "set_grad_checkpointing"}
    assert parts <= set(dir(info.network_class))


def test_configurations_and_registries_need_neither_torch_nor_pydantic():
    code = "import sys, ktb.config, ktb.modalities; print([m for m in ('torch', 'timm', 'pydantic', 'numpy') "
    code += "if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_text_of_a_configuration_is_what_it_was():
    text = json.dumps(lite_config().to_dict())
    assert text.startswith(
        '{"name": "ktb-lite-nyuv2-depth", "backbone": {"kind": "lite", "adapter_ranks": [24, 40, 64, 96], '
        '"stage_dims": [24, 40, 80, 192], "feature_dims": [24, 40, 112, 320], "adapters": true, "size": 0}, '
        '"fusion": {'
    )
    swin = dataclasses.asdict(SwinConfig())
    assert list(swin) == [
        "kind", "embed_dim", "depths", "num_heads", "window_size", "adapter_ranks", "drop_path", "adapters"
    ]  # fmt: skip
    assert json.dumps(ModelConfig.from_dict(json.loads(text)).to_dict()) == text


def test_variants_give_the_configurations_that_recipes_had():
    assert VARIANTS["lite"].make("nyuv2") == lite_config()
    assert VARIANTS["swin-l"].make("mfnet", name="a") == swin_config("l", "mfnet", name="a")
    half = VARIANTS["lite"].inputs(modality="thermal", encoding="thermal", short_side=64)
    assert (half.rgb_mean, half.x_mean, half.x_std, half.short_side) == (
        (0.5,) * 3,
        (0.5,) * 3,
        (0.5,) * 3,
        64,
    )
    assert VARIANTS["swin-b"].inputs(modality="depth").x_std == (1.0, 1.0, 1.0)


def test_gradient_checkpointing_is_a_switch_and_patches_nothing():
    model = build_model(lite_config())
    model.backbone.set_grad_checkpointing()
    assert not [name for name, module in model.named_modules() if "forward" in vars(module)]
    calls = []

    class Block(torch.nn.Module):
        def forward(self, tensor):
            calls.append(torch.is_grad_enabled())
            return tensor.square()

    tensor = torch.ones(3, requires_grad=True)
    run_block(Block(), tensor, recompute=True).sum().backward()
    assert len(calls) == 2  # once more in the backward pass
    with torch.no_grad():
        run_block(Block(), tensor, recompute=True)
    run_block(Block(), tensor.detach(), recompute=True)
    run_block(Block(), tensor, recompute=False).sum().backward()
    assert len(calls) == 5
    assert isinstance(model.config.backbone, LiteConfig)
