"""Our format: round trips, damaged and hostile files, names."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from helpers.models import pair, stirred, tiny_model, tiny_swin_config
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ktb import built_in_models, load_adapter, load_model, save_adapter, save_model
from ktb.checkpoints import files, registry
from ktb.checkpoints.files import CHECKSUM
from ktb.checkpoints.metadata import parameter_count, read_header
from ktb.config import InputConfig, ModelConfig, SwinConfig
from ktb.inference.runtimes.sessions import environment_of_library

CARD = {"name": "tiny", "figures": {"fused": {"miou": 12.5}}, "note": 'µ, "quoted"'}


@pytest.fixture(scope="module")
def model():
    return stirred(tiny_model("swin"))


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "tiny.safetensors"
    save_model(path, model, CARD)
    return path


def rewritten(saved, path, tensors=None, **metadata):
    """The saved file with other tensors or metadata."""
    given = {"format": "ktb-1", "config": json.dumps(tiny_swin_config().to_dict()), "card": "{}", **metadata}
    save_file(tensors or load_file(saved), path, metadata=given)
    return path


@pytest.mark.usefixtures("kernels")
def test_round_trip_is_bit_exact(model, saved):
    loaded = load_model(saved)
    assert loaded.config == model.config
    assert loaded.card == CARD
    assert not loaded.training
    theirs = loaded.state_dict()
    assert theirs.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert tensor.dtype == theirs[name].dtype
        assert torch.equal(tensor, theirs[name]), name
    with torch.inference_mode():
        assert torch.equal(loaded(*pair(1)).fused, model(*pair(1)).fused)
    assert {n for n, _ in loaded.trainable_parameters()} == {n for n, _ in model.trainable_parameters()}


@pytest.mark.parametrize("name", ["whole", "adapter"])
def test_a_file_copied_over_changes_no_model_in_use(model, saved, tmp_path, name):
    path, other = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    save = save_model if name == "whole" else save_adapter
    backbone = None if name == "whole" else saved
    save(path, model, CARD)
    save(other, stirred(copy.deepcopy(model)), CARD)
    loaded = load_model(path) if name == "whole" else load_adapter(path, backbone)
    before = {name: tensor.clone() for name, tensor in loaded.state_dict().items()}
    shutil.copyfile(other, path)  # as cp: the same file with other bytes
    assert all(tensor.equal(before[name]) for name, tensor in loaded.state_dict().items())


CUT_SHORT_IN_USE = """
import sys
import torch
from ktb import load_model
torch.set_num_threads(1)
model = load_model(sys.argv[1])
image = torch.zeros(1, 3, 64, 64)
with torch.inference_mode():
    before = model(image, image).fused
    open(sys.argv[1], "r+b").truncate(0)
    assert torch.equal(model(image, image).fused, before)
"""


def test_a_file_cut_short_does_not_end_the_process_that_uses_it(model, tmp_path):
    save_model(tmp_path / "model.safetensors", model, CARD)
    command = [sys.executable, "-c", CUT_SHORT_IN_USE, str(tmp_path / "model.safetensors")]
    ended = subprocess.run(command, env=environment_of_library(), capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_weights_that_are_changed_do_not_change_their_file(saved):
    before = saved.read_bytes()
    loaded = load_model(saved)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(1)
    assert saved.read_bytes() == before


@pytest.mark.parametrize("place", [0.3, 0.6, 0.999])
def test_a_changed_byte_is_found(saved, tmp_path, place):
    contents = bytearray(saved.read_bytes())
    contents[int(place * len(contents))] ^= 1
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"damaged\.safetensors is damaged: its contents have sha256"):
        load_model(path)


def test_a_changed_card_is_found_and_files_without_a_checksum_load(saved, tmp_path):
    path = rewritten(saved, tmp_path / "model.safetensors", card='{"name": "other"}')
    assert load_model(path).card == {"name": "other"}
    with safe_open(saved, "pt") as file:
        checksum = file.metadata()[CHECKSUM]
    with pytest.raises(ValueError, match="is damaged"):
        load_model(rewritten(saved, path, card='{"name": "other"}', **{CHECKSUM: checksum}))


def test_a_changed_byte_of_an_adapter_file_is_found(model, saved, tmp_path):
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, model, CARD)
    contents = bytearray(path.read_bytes())
    contents[-100] ^= 1
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="is damaged"):
        load_adapter(path, saved)


def test_float16_halves_the_file_within_rounding(model, saved, tmp_path):
    path = tmp_path / "half.safetensors"
    save_model(path, model, CARD, dtype=torch.float16)
    assert path.stat().st_size < 0.6 * saved.stat().st_size
    loaded = load_model(path).state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor.half().to(tensor.dtype)), name


def test_header_and_size_are_read_without_the_tensors(model, saved):
    config, card = read_header(saved)
    assert (config, card) == (model.config, CARD)
    assert parameter_count(saved) == sum(p.numel() for p in model.parameters())


def test_others_may_read_a_model_file(saved):
    assert saved.stat().st_mode & 0o777 == 0o644


def test_a_failed_save_leaves_no_file_and_keeps_the_old_one(model, saved, tmp_path, monkeypatch):
    old = tmp_path / "old.safetensors"
    old.write_bytes(saved.read_bytes())

    def fail(tensors, path, metadata):
        with open(path, "wb") as file:
            file.write(b"half a file")
        raise OSError("no space left")

    monkeypatch.setattr(files, "save_file", fail)
    for path in (old, tmp_path / "new.safetensors"):
        with pytest.raises(OSError, match="no space left"):
            save_model(path, model, CARD)
    assert [p.name for p in tmp_path.iterdir()] == ["old.safetensors"]
    assert old.read_bytes() == saved.read_bytes()


@pytest.mark.parametrize(("value", "dtype"), [(float("nan"), torch.float32), (1e6, torch.float16)])
def test_numbers_that_a_file_cannot_hold_are_refused_by_name(model, tmp_path, value, dtype):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.dscf[1].iota[0] = value
    with pytest.raises(ValueError, match=r"not all finite numbers: dscf\.1\.iota"):
        save_model(tmp_path / "broken.safetensors", broken, CARD, dtype=dtype)
    assert not list(tmp_path.iterdir())


def test_configuration_survives_json():
    config = tiny_swin_config()
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert isinstance(config.to_dict()["backbone"], dict)


CHANGES = [
    ({"colour": 1}, r"configuration has unknown keys \['colour'\]"),
    ({"backbone": {"windows": 7}}, r"configuration\.backbone has unknown keys \['windows'\]"),
    ({"num_classes": None}, r"configuration lacks the keys \['num_classes'\]"),
    ({"fusion": {"mapa_ranks": None}}, r"configuration\.fusion lacks the keys \['mapa_ranks'\]"),
    ({"num_classes": "5"}, r"configuration\.num_classes is '5'; expected a whole number"),
    ({"num_classes": True}, r"configuration\.num_classes is True; expected a whole number"),
    ({"backbone": {"embed_dim": 16.5}}, r"backbone\.embed_dim is 16\.5; expected a whole number"),
    ({"classes": 5}, r"configuration\.classes is 5; expected a list"),
    ({"classes": [1, 2, 3, 4, 5]}, r"configuration\.classes\[0\] is 1; expected a text"),
    ({"inputs": []}, r"configuration\.inputs is \[\]; expected an object"),
    ({"head_dims": [8, 8]}, r"configuration\.head_dims has 2 entries; expected a list of 3 values"),
    ({"backbone": {"kind": "vit"}}, r"configuration\.backbone\.kind is 'vit'; allowed: swin, lite"),
    ({"backbone": {"kind": ["swin"]}}, r"backbone\.kind is \['swin'\]"),
    ({"inputs": {"modality": "smell"}}, r"inputs\.modality is 'smell'; allowed: depth, hha"),
    ({"classes": ["a"]}, "classes has 1 entries, but num_classes is 5"),
    ({"num_classes": 10**30}, "num_classes is 10+; allowed: 1..255"),
    ({"palette": [[0, 0, 256]] * 5}, r"colour \[\(0, 0, 256\)\] is not three numbers"),
    ({"backbone": {"num_heads": [3, 2, 4, 8]}}, "stage 0: 16 channels do not divide into 3 heads"),
    ({"backbone": {"num_heads": [0, 2, 4, 8]}}, r"num_heads is \(0, 2, 4, 8\); give 4 numbers"),
    ({"fusion": {"strides": [8, 4, 2]}}, r"strides is \(8, 4, 2\); give 4 numbers"),
    ({"fusion": {"groups": [0, 1, 1, 1]}}, r"groups is \(0, 1, 1, 1\)"),
    ({"fusion": {"dscf_ranks": [5, 8, 8, 16]}}, "DSCF level 0: rank 5 must be a multiple"),
    ({"fusion": {"strides": [10**30, 4, 2, 1]}}, "64 is the widest point grid"),
    ({"backbone": {"drop_path": 1}}, r"drop_path is 1\.0; it must be in \[0, 1\)"),
    ({"inputs": {"x_std": [1, 0, 1]}}, r"x_std is \(1\.0, 0\.0, 1\.0\)"),
    ({"inputs": {"rgb_mean": [0.5, float("nan"), 0.5]}}, "rgb_mean is .*three finite"),
    ({"inputs": {"rgb_mean": [10**400, 0, 0]}}, r"rgb_mean is \(inf, .*three finite"),
    ({"inputs": {"max_metres": 0}}, "max_metres is 0"),
    ({"inputs": {"short_side": 1}}, "short_side is 1; give 32"),
    ({"head_dims": [0, 8, 8]}, r"head_dims is \(0, 8, 8\)"),
]  # fmt: skip


def changed(values: dict, change: dict) -> dict:
    """Nested keys replaced; None takes a key away."""
    result = copy.deepcopy(values)
    for key, value in change.items():
        if value is None:
            del result[key]
        elif isinstance(value, dict):
            result[key] = changed(result[key], value)
        else:
            result[key] = value
    return result


@pytest.mark.parametrize(("change", "message"), CHANGES)
def test_configurations_that_cannot_be_are_refused_by_name(change, message):
    values = tiny_swin_config().to_dict()
    assert ModelConfig.from_dict(values) == tiny_swin_config()
    with pytest.raises(ValueError, match=message):
        ModelConfig.from_dict(changed(values, change))


def test_lite_widths_are_fixed():
    with pytest.raises(ValueError, match="stage_dims of the lite backbone is"):
        ModelConfig.from_dict(
            changed(tiny_swin_config().to_dict(), {"backbone": {}})
            | {"backbone": {"kind": "lite", "stage_dims": [1, 2, 3, 4]}}
        )


@pytest.mark.parametrize("inputs", [{"modality": "smell"}, {"encoding": "video"}, {"short_side": -5}])
def test_configurations_made_in_python_are_checked_too(inputs):
    with pytest.raises(ValueError, match=next(iter(inputs))):
        InputConfig(**inputs)


def test_files_that_are_not_there_or_folders(tmp_path):
    with pytest.raises(ValueError, match=r"no model or file 'nothing'.*Built-in models"):
        load_model("nothing")
    for name in (tmp_path, "x" * 5000, "with\0zero"):
        with pytest.raises(ValueError, match="there is no model or file"):
            load_model(name)
    with pytest.raises(ValueError, match="is a folder"):
        read_header(tmp_path)
    with pytest.raises(ValueError, match="does not exist"):
        read_header(tmp_path / "nothing.safetensors")


def damaged_files(saved):
    data = saved.read_bytes()
    header_size = int.from_bytes(data[:8], "little")
    return {
        "empty": b"",
        "text": b"<html>not found</html>",
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "header cut": data[: 8 + header_size // 2],
        "tensors cut": data[:-100],
        "longer than it says": data + b"more",
        "header without an end": (2**63).to_bytes(8, "little") + data[8:],
        "header that is no JSON": data[:8] + b"\xff" * header_size + data[8 + header_size :],
        "lying shape": data.replace(b'"shape":[16]', b'"shape":[99]', 1),
    }


def test_damaged_files_are_named(saved, tmp_path):
    for kind, data in damaged_files(saved).items():
        assert data != saved.read_bytes(), kind
        path = tmp_path / f"{kind}.safetensors"
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"{kind}\.safetensors cannot be read as a safetensors file"):
            load_model(path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "pt"}, "not a KTB model: its metadata has format 'pt', expected 'ktb-1'"),
        ({"config": "{"}, "has damaged metadata"),
        ({"config": "[" * 100_000}, "has damaged metadata"),
        ({"config": "7"}, "configuration is 7; expected an object"),
        ({"config": json.dumps({"name": "x"})}, "configuration lacks the keys"),
        ({"card": "{"}, "has damaged metadata"),
        ({"card": "[]"}, "the card is no object"),
    ],
)
def test_files_with_foreign_metadata_are_refused(saved, tmp_path, metadata, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_model(rewritten(saved, tmp_path / "file.safetensors", **metadata))


def test_a_safetensors_file_without_metadata_is_refused(tmp_path):
    save_file({"a": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match=r"not a KTB model.*import-official"):
        load_model(tmp_path / "foreign.safetensors")


def test_tensors_that_do_not_fit_are_named(saved, tmp_path):
    tensors = load_file(saved)
    path = tmp_path / "file.safetensors"
    cases = {
        "missing (1): mapa.0.up.weight": {n: t for n, t in tensors.items() if n != "mapa.0.up.weight"},
        "unexpected (1): mapa.4.up.weight": tensors | {"mapa.4.up.weight": torch.zeros(2)},
        "mapa.0.up.weight is (16, 5), expected (16, 4)": tensors | {"mapa.0.up.weight": torch.zeros(16, 5)},
        "of another kind: mapa.0.up.weight is torch.int64": tensors
        | {"mapa.0.up.weight": torch.zeros(16, 4, dtype=torch.int64)},
        "not all finite numbers: mapa.0.up.weight": tensors
        | {"mapa.0.up.weight": torch.full((16, 4), float("inf"))},
    }
    for message, changed_tensors in cases.items():
        with pytest.raises(ValueError, match=re.escape(message)):
            load_model(rewritten(saved, path, changed_tensors))


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": {"embed_dim": 2**40}},
        {"backbone": {"depths": [2, 2, 10**30, 2]}},
        {"backbone": {"window_size": 10**9}},
        {"backbone": {"adapter_ranks": [10**12, 2, 2, 2]}},
        {"fusion": {"mapa_ranks": [10**12, 4, 8, 8]}},
        {"fusion": {"dscf_ranks": [2**40, 8, 8, 16]}},
        {"head_dims": [10**12, 8, 8]},
    ],
    ids=str,
)
def test_a_configuration_far_larger_than_its_file_takes_no_memory(saved, tmp_path, change, monkeypatch):
    monkeypatch.setattr(files, "build_model", lambda config: pytest.fail("built"))
    config = json.dumps(changed(tiny_swin_config().to_dict(), change))
    with pytest.raises(ValueError, match=r"do not fit the network: it has more than [\d,]+ weights"):
        load_model(rewritten(saved, tmp_path / "file.safetensors", config=config))


def test_the_lower_bound_stays_below_real_networks(model):
    for real in (model, tiny_model("lite")):
        values = sum(t.numel() for t in real.state_dict().values())
        assert values / 20 < real.config.weight_count() <= values
    wider = dataclasses.replace(model.config.backbone, embed_dim=32)
    assert isinstance(wider, SwinConfig)
    assert wider.weight_count() > model.config.backbone.weight_count()


def test_built_in_models_are_listed_and_loaded_by_name(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "BUILT_IN_FOLDER", tmp_path / "absent")
    assert built_in_models() == {}
    monkeypatch.setattr(registry, "BUILT_IN_FOLDER", tmp_path)
    for name in ("b.safetensors", "a.safetensors", "notes.txt"):
        (tmp_path / name).write_bytes(saved.read_bytes())
    assert list(built_in_models()) == ["a", "b"]
    assert load_model("a").config.name == "tiny"
    with pytest.raises(ValueError, match="Built-in models: a, b"):
        load_model("c")


def test_every_model_that_ships_loads_and_has_a_card():
    for name, path in built_in_models().items():
        config, card = read_header(path)
        assert config.name == name
        assert card
