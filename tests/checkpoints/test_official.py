"""Import of the authors' checkpoints: formats, widths read from shapes, exact mapping, refusals."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers.models import pair
from safetensors.torch import load_file
from typer.testing import CliRunner

from ktb import load_model
from ktb.__main__ import app
from ktb.checkpoints.metadata import read_header
from ktb.checkpoints.official import (
    RECOMPUTED,
    infer_config,
    merge_order_to_timm,
    official_names,
    our_name,
    to_ours,
)
from ktb.config import InputConfig, ModelConfig
from ktb.labels import DATASETS
from ktb.modalities import DATASET_INPUTS, DEFAULT_ENCODINGS
from ktb.modeling.build import build_model, swin_config
from training.data.datasets import REGISTRY

pytestmark = pytest.mark.usefixtures("one_thread")

HEADS = ("decode_head", "decode_head_rgb", "decode_head_dte")
CLASSIFIERS = [f"{head}.linear_pred.{leaf}" for head in HEADS for leaf in ("weight", "bias")]
FACTS_OF_SWIN_B = (
    "nyuv2, 40 classes", "hha", "128, 256, 512, 1024", "2, 2, 18, 2", "4, 8, 16, 32", "8, 16, 32, 64",
    "16, 32, 64, 128", "2, 4, 8, 16", "1, 2, 4, 8", "512 fused, 256 rgb, 256 x", "94,433,942", "7,545,886",
)  # fmt: skip
BLOCK = "backbone.stages.3.blocks.0."
EXAMPLES = {  # section 8 of the reference, written down apart from the code: theirs, ours
    "backbone.patch_embed.projection.weight": "backbone.patch_embed.proj.weight",
    "backbone.extra_patch_embed.norm.bias": "backbone.patch_embed_x.norm.bias",
    "backbone.stages.2.blocks.17.attn.w_msa.qkv.weight": "backbone.stages.2.blocks.17.attn.qkv.weight",
    "backbone.stages.1.blocks.1.ffn.layers.0.0.weight": "backbone.stages.1.blocks.1.mlp.fc1.weight",
    "backbone.stages.1.blocks.1.ffn.layers.1.bias": "backbone.stages.1.blocks.1.mlp.fc2.bias",
    BLOCK + "MLP_RGB_Adapter.D_fc1.weight": BLOCK + "adapters.rgb.down.weight",
    BLOCK + "MLP_DTE_Adapter.D_fc2.weight": BLOCK + "adapters.x.up.weight",
    "backbone.MPGBlocks.2.P_fc2.weight": "mapa.2.fuse.weight",
    "backbone.MPGBlocks.2.tfts_gamma_dte": "mapa.2.gamma_x",
    "backbone.DeformMPGBlocks.1.D_fc2.weight": "dscf.1.down_x.weight",
    "backbone.DeformMPGBlocks.1.deform_atten.conv_offset_x.0.weight": "dscf.1.offsets_rgb.0.weight",
    "backbone.DeformMPGBlocks.1.deform_atten.conv_offset_y.3.weight": "dscf.1.offsets_x.3.weight",
    "backbone.DeformMPGBlocks.3.deform_atten.deform_weight": "dscf.3.alpha",
    "backbone.DeformMPGBlocks.3.deform_atten.identity_weight": "dscf.3.iota",
    "backbone.extra_norm2.weight": "norms.x.2.weight",
    "backbone.fuse_norm0.bias": "norms.fused.0.bias",
    "decode_head_dte.linear_c4.proj.weight": "heads.x.proj.3.weight",
    "decode_head_rgb.linear_fuse.bn.running_var": "heads.rgb.norm.running_var",
    "decode_head.linear_pred.weight": "heads.fused.classifier.weight",
}


@pytest.fixture(scope="module")
def small(shared, deterministic_state):
    """A file's tensors in widths that no released model has."""
    text = (shared / "reference" / "vectors" / "small_96x128.json").read_text()
    return deterministic_state(json.loads(text)["official_shapes"])


@pytest.fixture(scope="module")
def small_pth(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("official") / "small.pth"
    torch.save(small, path)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["import-official", *map(str, arguments)])


def with_classes(shapes: dict[str, list[int]], num_classes: int) -> dict[str, list[int]]:
    return {
        name: [num_classes, *shape[1:]] if name in CLASSIFIERS else shape for name, shape in shapes.items()
    }


def zeros(shapes: dict[str, list[int]], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    integers = ("num_batches_tracked", "relative_position_index")
    return {
        name: torch.zeros(shape, dtype=torch.int64 if name.endswith(integers) else dtype)
        for name, shape in shapes.items()
    }


@pytest.fixture
def big(tmp_path, monkeypatch):
    """A function (state dict, command-line arguments) → result and our file; big files go with the test.

    The network starts uninitialised: drawing numbers that are overwritten would take most of the time.
    """
    for draw in ("trunc_normal_", "kaiming_uniform_", "normal_", "uniform_"):
        monkeypatch.setattr(torch.nn.init, draw, lambda tensor, *args, **kwargs: tensor)
    source, target = tmp_path / "big.pth", tmp_path / "big.safetensors"

    def convert(state, *options):
        torch.save(state, source)
        return run(source, target, *options), target

    yield convert
    for path in (source, target):
        path.unlink(missing_ok=True)


def test_swin_b_with_40_classes(official_shapes, deterministic_state, big):
    reference = official_shapes("b")
    official = deterministic_state(reference["shapes"])
    result, target = big({"model_state_dict": official, "epoch": 3}, "--name", "ktb-b")
    assert result.exit_code == 0, result.output
    for fact in FACTS_OF_SWIN_B:
        assert fact in result.stdout, fact
    assert "--dataset and --modality override" in result.stdout
    config, card = read_header(target)
    expected = swin_config("b", "nyuv2", config.inputs, name="ktb-b")
    assert config == expected
    assert (config.inputs.modality, config.inputs.encoding, config.inputs.short_side) == ("hha", "hha", 480)
    assert card["source_file"] == "big.pth"
    tensors = load_file(target)
    assert len(tensors) == len(official)
    for theirs, ours in EXAMPLES.items():
        assert torch.equal(tensors[ours], official[theirs]), theirs


def test_swin_b_with_9_classes(official_shapes, big):
    state = zeros(with_classes(official_shapes("b")["shapes"], 9), torch.float16)
    assert any(name.endswith("relative_position_index") for name in state)
    result, target = big(state)
    assert result.exit_code == 0, result.output
    config, _ = read_header(target)
    assert config == swin_config("b", "mfnet", config.inputs, name="big")
    assert (config.inputs.modality, config.inputs.short_side) == ("thermal", 480)


def test_swin_l_with_5_classes_in_half_precision(official_shapes, big):
    state = zeros(with_classes(official_shapes("l")["shapes"], 5), torch.float16)
    result, target = big({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}})
    del state
    assert result.exit_code == 0, result.output
    assert "192, 384, 768, 1536" in result.stdout
    config, _ = read_header(target)
    assert config == swin_config("l", "pst900", config.inputs, name="big")
    assert (config.inputs.modality, config.inputs.short_side) == ("thermal", 720)


@pytest.mark.parametrize("size", ["b", "l"])
def test_every_official_name_is_known(official_shapes, size):
    reference = official_shapes(size)
    names = [name for name in reference["shapes"] if not name.endswith("relative_position_index")]
    assert sorted(official_names((2, 2, 18, 2))) == sorted(names)


def test_names_map_one_to_one_onto_the_network(small):
    model = build_model(infer_config(small))
    names = official_names(model.config.backbone.depths)
    assert sorted(map(our_name, names)) == sorted(model.state_dict())


def test_widths_that_no_released_model_has(small, small_pth, shared, tmp_path):
    described = json.loads((shared / "reference" / "vectors" / "small_96x128.json").read_text())
    result = run(small_pth, tmp_path / "ours.safetensors", "--name", "odd one")
    assert result.exit_code == 0, result.output
    model = load_model(tmp_path / "ours.safetensors")
    backbone = model.config.backbone
    assert backbone.embed_dim == described["embed_dim"]
    assert list(backbone.depths) == described["depths"]
    assert list(backbone.num_heads) == described["num_heads"]
    assert backbone.window_size == described["window_size"]
    assert model.config.num_classes == described["num_classes"]
    assert list(model.config.head_dims) == [described["head_dims"][0], *[described["head_dims"][1]] * 2]
    assert (model.config.name, model.card["name"]) == ("odd one", "odd one")
    direct = build_model(infer_config(small))
    direct.load_state_dict(to_ours(small))
    rgb, modal_x = pair(1)
    with torch.inference_mode():
        ours, theirs = model(rgb, modal_x), direct(rgb, modal_x)
        from_pth = load_model(small_pth)(rgb, modal_x)
    for branch in ("fused", "rgb", "x"):
        assert torch.equal(getattr(ours, branch), getattr(theirs, branch))
        assert torch.equal(getattr(from_pth, branch), getattr(theirs, branch))
        assert getattr(ours, branch).std() > 0


def test_info_reads_an_official_file(small_pth):
    result = CliRunner().invoke(app, ["info", str(small_pth)])
    assert result.exit_code == 0, result.output
    assert "name              small" in result.stdout
    assert "origin: converted from a checkpoint released by the authors" in result.stdout


def test_patch_merging_computes_what_the_official_order_means(small):
    model = build_model(infer_config(small))
    model.load_state_dict(to_ours(small))
    for level in (1, 2, 3):
        official = f"backbone.stages.{level - 1}.downsample."
        scale, shift, reduction = (
            small[official + n] for n in ("norm.weight", "norm.bias", "reduction.weight")
        )
        channels = scale.numel() // 4
        tokens = torch.randn(2, 6, 10, channels)
        unfolded = F.unfold(tokens.permute(0, 3, 1, 2), 2, stride=2).transpose(1, 2)  # (channel, dy, dx)
        merged = F.layer_norm(unfolded, scale.shape, scale, shift) @ reduction.T
        with torch.no_grad():
            ours = model.backbone.downsample(tokens, level)
        assert torch.allclose(ours.flatten(1, 2), merged, rtol=1e-4, atol=1e-4)


def test_merge_order_on_numbers():
    # theirs: channel 0 at (dy, dx) = 00, 01, 10, 11, then channel 1; timm: both channels at every (dx, dy)
    theirs = torch.tensor([0, 1, 2, 3, 10, 11, 12, 13])
    assert merge_order_to_timm(theirs).tolist() == [0, 10, 2, 12, 1, 11, 3, 13]


def wrapped(state, kind):
    prefixed = {f"module.{name}": tensor for name, tensor in state.items()}
    return {
        "flat, module.": prefixed,
        "model_state_dict": {"model_state_dict": state, "optimizer": {"lr": 0.1}, "epoch": 5},
        "state_dict": {"state_dict": state, "meta": {"classes": ["a", "b"]}},
        "model_state_dict, module.": {"model_state_dict": prefixed},
        "with recomputed buffers": state
        | {"backbone.stages.0.blocks.0.attn.w_msa.relative_position_index": torch.zeros(49, 49).long()},
        "parameters": {
            name: torch.nn.Parameter(t) if t.is_floating_point() else t for name, t in state.items()
        },
        "float64": {name: t.double() if t.is_floating_point() else t for name, t in state.items()},
        "old format": state,
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "flat, module.",
        "model_state_dict",
        "state_dict",
        "model_state_dict, module.",
        "with recomputed buffers",
        "parameters",
        "float64",
        "old format",
    ],
)
def test_every_format_gives_the_same_file(small, tmp_path, kind):
    source, target = tmp_path / "in.pth", tmp_path / "out.safetensors"
    torch.save(wrapped(small, kind), source, _use_new_zipfile_serialization=kind != "old format")
    result = run(source, target)
    assert result.exit_code == 0, result.output
    tensors = load_file(target)
    expected = to_ours(small)
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())


def test_dataset_and_modality_can_be_chosen(small, official_shapes):
    shapes = official_shapes("b")["shapes"]
    guesses = {}
    for name, labels in DATASETS.items():
        if name == "camvid":  # no published model has its classes
            continue
        state = {
            n: torch.empty(s, device="meta") for n, s in with_classes(shapes, labels.num_classes).items()
        }
        config = infer_config(state)
        assert (config.dataset, config.classes) == (name, labels.classes)
        fields = DATASET_INPUTS.get((name, config.inputs.modality), {})
        assert {field: getattr(config.inputs, field) for field in fields} == fields
        guesses[name] = (config.inputs.modality, config.inputs.short_side)
    assert guesses["sunrgbd"] == ("depth", 480)
    assert guesses["deliver"] == ("event", 1024)
    state = {n: torch.empty(s, device="meta") for n, s in shapes.items()}
    unnamed = infer_config(state, dataset="")
    assert (unnamed.dataset, unnamed.classes[0], unnamed.inputs.modality) == ("", "class 0", "other")
    assert infer_config(state, modality="depth").inputs.modality == "depth"
    state = {n: torch.empty(s, device="meta") for n, s in with_classes(shapes, 13).items()}
    assert infer_config(state).dataset == ""
    assert len(set(infer_config(state).classes)) == 13


class Code:
    """A pickle of this creates the marker file when it is loaded carelessly."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


FIRST_BLOCK = "backbone.stages.0.blocks.0."
STATE_ERRORS = {
    "missing tensor": (
        {"backbone.MPGBlocks.0.U_fc1.weight": None},
        "1 missing: backbone.MPGBlocks.0.U_fc1.weight",
    ),
    "missing block": (
        {FIRST_BLOCK + "norm1.weight": None, FIRST_BLOCK + "norm1.bias": None},
        "2 missing: backbone.stages.0.blocks.0.norm1.weight",
    ),
    "extra tensor": ({"backbone.surprise.weight": (3,)}, "1 unexpected: backbone.surprise.weight"),
    "tensor in our names": ({"mapa.0.up.weight": (3,)}, "1 unexpected: mapa.0.up.weight"),
    "shape mismatch": (
        {"decode_head_rgb.linear_c2.proj.weight": (3, 5)},
        "decode_head_rgb.linear_c2.proj.weight is (3, 5), expected",
    ),
    "wrong number of axes": (
        {"backbone.DeformMPGBlocks.1.deform_atten.rpe_table": (119, 159)},
        "backbone.DeformMPGBlocks.1.deform_atten.rpe_table has shape (119, 159); expected 3 axes",
    ),
    "empty tensor": ({"decode_head.linear_pred.weight": (0, 8, 1, 1)}, "linear_pred.weight has shape (0,"),
    "heads that do not divide": (
        {FIRST_BLOCK + "attn.w_msa.relative_position_bias_table": (169, 5)},
        "describe no possible network: Swin stage 0",
    ),
    "no groups": (
        {"backbone.DeformMPGBlocks.0.deform_atten.conv_offset_x.0.weight": (999, 1, 9, 9)},
        "describe no possible network: groups is (0,",
    ),
    "fusion heads that do not divide": (
        {"backbone.DeformMPGBlocks.0.deform_atten.rpe_table": (7, 119, 159)},
        "describe no possible network: DSCF level 0",
    ),
    "many classes": ({"decode_head.linear_pred.weight": (300, 8, 1, 1)}, "num_classes = 300: choose 1..255"),
    "wide patch embedding": (
        {"backbone.patch_embed.projection.weight": (300_000, 1, 1, 1)},
        "do not fit the network: it has more than",
    ),
    "merging that does not divide": (
        {"backbone.stages.0.downsample.norm.weight": (5,)},
        "backbone.stages.0.downsample.norm.weight is (5,), expected",
    ),
}  # fmt: skip


def refused(result, message, target):
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.output
    assert not target.exists()
    assert not list(target.parent.glob("*.tmp"))


@pytest.mark.parametrize(("change", "message"), STATE_ERRORS.values(), ids=STATE_ERRORS)
def test_state_dicts_that_do_not_fit_are_refused_by_name(small, tmp_path, change, message):
    state = dict(small)
    for name, shape in change.items():
        if shape is None:
            del state[name]
        else:
            state[name] = torch.zeros(shape)
    torch.save(state, tmp_path / "in.pth")
    refused(run(tmp_path / "in.pth", tmp_path / "out.safetensors"), message, tmp_path / "out.safetensors")


NAME = "decode_head.linear_pred.bias"
FILE_ERRORS = {
    "a backbone alone": (
        lambda s: {"layers.0.weight": torch.zeros(3)},
        "not those of a released KTB checkpoint",
    ),
    "no tensors": (lambda s: {"epoch": 3}, "holds no state dict"),
    "nothing": (lambda s: {}, "holds no state dict"),
    "a list": (lambda s: [torch.zeros(3)], "holds no state dict"),
    "numbered tensors": (lambda s: {0: torch.zeros(3)}, "holds no state dict"),
    "both with and without module.": (lambda s: s | {f"module.{NAME}": s[NAME]}, "keep one of them"),
    "not a number": (lambda s: s | {NAME: s[NAME] * float("nan")}, "not all finite numbers: heads.fused"),
    "integers": (lambda s: s | {NAME: s[NAME].long()}, "heads.fused.classifier.bias is torch.int64"),
    "complex": (lambda s: s | {NAME: s[NAME] + 0j}, "heads.fused.classifier.bias is torch.complex64"),
    "sparse": (lambda s: s | {NAME: s[NAME].to_sparse()}, f"{NAME} is not a plain tensor"),
    "no memory": (lambda s: s | {NAME: s[NAME].to("meta")}, f"{NAME} is not a plain tensor"),
    "repeated values": (
        lambda s: s | {NAME: torch.zeros(1).expand(10**6, 10**6)},
        "bytes, but its tensors claim",
    ),
}


@pytest.mark.parametrize(("make", "message"), FILE_ERRORS.values(), ids=FILE_ERRORS)
def test_contents_that_are_no_plain_state_dict_are_refused(small, tmp_path, make, message):
    torch.save(make(dict(small)), tmp_path / "in.pth")
    refused(run(tmp_path / "in.pth", tmp_path / "out.safetensors"), message, tmp_path / "out.safetensors")


@pytest.mark.parametrize("protocol", ["torch", "old torch", "pickle 2", "pickle 4", "beside the tensors"])
def test_code_in_a_pickle_is_refused_and_not_run(small, tmp_path, protocol):
    marker, path = tmp_path / "marker", tmp_path / "in.pth"
    hostile = {"decode_head.linear_pred.bias": Code(marker)}
    if protocol == "torch":
        torch.save(hostile, path)
    elif protocol == "old torch":
        torch.save(hostile, path, _use_new_zipfile_serialization=False)
    elif protocol == "beside the tensors":
        torch.save({"state_dict": small, "hook": Code(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(hostile, protocol=int(protocol[-1])))
    message = "cannot be read" if protocol == "pickle 4" else "was refused, because loading it could run code"
    refused(run(path, tmp_path / "out.safetensors"), message, tmp_path / "out.safetensors")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Code(marker)))  # it would have
    assert marker.exists()


def test_files_that_cannot_be_read(small_pth, tmp_path):
    data = small_pth.read_bytes()
    old = io.BytesIO()
    torch.save({"a": torch.zeros(9999)}, old, _use_new_zipfile_serialization=False)
    cases = {
        "empty": (b"", "cannot be read as a PyTorch checkpoint"),
        "cut": (data[: len(data) // 2], "cannot be read as a PyTorch checkpoint"),
        "cut at the end": (data[:-50], "cannot be read as a PyTorch checkpoint"),
        "cut old": (old.getvalue()[:-500], "cannot be read as a PyTorch checkpoint"),
        "text": (b"not a checkpoint", "cannot be read as a PyTorch checkpoint"),
        "page": (b"  <!DOCTYPE html><title>Quota exceeded", "is a web page"),
    }
    target = tmp_path / "out.safetensors"
    for kind, (contents, message) in cases.items():
        (tmp_path / f"{kind}.pth").write_bytes(contents)
        refused(run(tmp_path / f"{kind}.pth", target), message, target)
    refused(run(tmp_path / "absent.pth", target), "absent.pth does not exist", target)
    refused(run(tmp_path, target), "is a folder", target)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dataset", "mfnet"), "dataset 'mfnet' has 9 classes, but the file's heads predict"),
        (("--dataset", "cityscapes"), "dataset 'cityscapes' is not known; choose one of nyuv2"),
        (("--modality", "smell"), "modality is 'smell'; allowed: depth, hha"),
    ],
)
def test_options_that_do_not_fit(small, tmp_path, options, message):
    state = {name: t[:7].clone() if name in CLASSIFIERS else t for name, t in small.items()}
    torch.save(state, tmp_path / "in.pth")
    target = tmp_path / "out.safetensors"
    refused(run(tmp_path / "in.pth", target, *options), message, target)


def test_targets_that_do_not_fit(small_pth, tmp_path):
    for target, message in (
        (tmp_path / "absent" / "out.safetensors", "absent does not exist; create it first"),
        (tmp_path / "out.pth", "must end in .safetensors"),
    ):
        refused(run(small_pth, target), message, target)
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"mine")
    result = run(small_pth, target)
    assert (result.exit_code, target.read_bytes()) == (2, b"mine")
    assert "add --force to overwrite it" in result.stderr
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"no checkpoint")
    assert run(broken, target, "--force").exit_code == 2
    assert target.read_bytes() == b"mine"
    assert run(small_pth, target, "--force").exit_code == 0
    assert load_model(target).config.name == "small"
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    assert "choose another name" in run(small_pth, folder, "--force").stderr


def test_recomputed_buffers_are_never_expected():
    assert not any(name.endswith(RECOMPUTED) for name in official_names((1, 1, 1, 1)))


@pytest.mark.parametrize(
    ("modality", "encoding"),
    [("depth", "image"), ("hha", "hha"), ("thermal", "thermal"), ("event", "event_frame"), ("aolp", "aolp")],
)
def test_the_encoder_follows_from_the_modality(small, modality, encoding):
    assert infer_config(small, modality=modality).inputs.encoding == encoding


def test_inputs_of_released_models_are_those_of_their_training():
    """Also of a file that was imported before these fields were known."""
    for (dataset, modality), fields in DATASET_INPUTS.items():
        inputs = InputConfig(modality=modality, encoding=DEFAULT_ENCODINGS[modality], short_side=480)
        old = swin_config("b", dataset, inputs).to_dict()
        del old["inputs"]["picture_metres"]
        found = ModelConfig.from_dict(old).inputs
        assert found == dataclasses.replace(inputs, **fields)
        assert ModelConfig.from_dict(swin_config("b", dataset, found).to_dict()).inputs == found
        assert REGISTRY[dataset].inputs_of(modality).items() >= fields.items()
