"""Adapter files: round trips with every kind of backbone file, wrong and missing ones, the commands."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
import torch
from helpers.commands import run
from helpers.models import pair, random_swin, stirred, tiny_model, tiny_swin_config
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import ktb.checkpoints.adapters
import ktb.checkpoints.pretrained
from ktb import built_in_models, load_adapter, load_model, save_adapter, save_model
from ktb.checkpoints import files as storage
from ktb.checkpoints.adapters import frozen_sha256, read_reference
from ktb.checkpoints.metadata import parameter_count, read_header
from ktb.checkpoints.pretrained import LITE_PACKAGE, is_at_hand
from ktb.checkpoints.registry import DEFAULT_MODEL
from ktb.config import LiteConfig, SwinConfig
from ktb.modeling.model import KTB, is_pretrained

pytestmark = pytest.mark.usefixtures("one_thread")

CARD = {"name": "tiny", "figures": {"fused": {"miou": 12.5}}}


def on_a_backbone_of_its_own(kind: str) -> KTB:
    """Everything away from its start: what trains, its statistics, the pretrained tensors, the norms."""
    model = stirred(tiny_model(kind))
    if kind == "swin":
        model.backbone.load_timm(random_swin().state_dict())
    generator = torch.Generator().manual_seed(7)
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and (name.startswith("norms.") or "running_" in name):
            tensor.add_(torch.rand(tensor.shape, generator=generator))
    return stirred(model)


@pytest.fixture(scope="module", params=["swin", "lite"])
def trained(request) -> KTB:
    """Read-only."""
    return on_a_backbone_of_its_own(request.param)


@pytest.fixture(scope="module")
def swin() -> KTB:
    return on_a_backbone_of_its_own("swin")


@pytest.fixture(scope="module")
def files(swin, tmp_path_factory):
    """Folder with a whole model, its adapter file, and the pretrained backbone in timm's layout."""
    folder = tmp_path_factory.mktemp("adapters")
    save_model(folder / "whole.safetensors", swin, CARD)
    save_adapter(folder / "adapter.safetensors", swin, CARD)
    save_file({n: t.contiguous() for n, t in random_swin().state_dict().items()}, folder / "timm.safetensors")
    torch.save(random_swin().state_dict(), folder / "timm.pth")
    return folder


def rewritten(path, target, tensors=None, **metadata):
    """An adapter file with other tensors or metadata and no checksum; None takes a key away."""
    with safe_open(path, framework="pt") as file:
        given = {**file.metadata(), storage.CHECKSUM: None, **metadata}
    given = {key: value for key, value in given.items() if value is not None}
    save_file(tensors or load_file(path), target, metadata=given)
    return target


@torch.inference_mode()
def assert_equal(loaded: KTB, model: KTB) -> None:
    """Same tensors, same configuration, same logits: bit for bit."""
    assert loaded.config == model.config
    assert not loaded.training
    theirs = loaded.state_dict()
    assert theirs.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, theirs[name]), name
    ours, found = model(*pair(1)), loaded(*pair(1))
    for branch in ("fused", "rgb", "x"):
        assert torch.equal(getattr(found, branch), getattr(ours, branch)), branch


@pytest.mark.usefixtures("kernels")
def test_a_file_and_a_whole_model_on_the_same_backbone_give_the_model_again(trained, tmp_path):
    donor = tiny_model(trained.config.backbone.kind)  # trained otherwise, on the same backbone
    donor.load_state_dict(
        {
            n: t if is_pretrained(n) else d
            for (n, t), d in zip(trained.state_dict().items(), donor.state_dict().values())
        }
    )
    save_model(tmp_path / "donor.safetensors", donor, {})
    save_adapter(tmp_path / "adapter.safetensors", trained, CARD)
    loaded = load_adapter(tmp_path / "adapter.safetensors", tmp_path / "donor.safetensors")
    assert_equal(loaded, trained)
    assert loaded.card == CARD
    assert {n for n, _ in loaded.trainable_parameters()} == {n for n, _ in trained.trainable_parameters()}


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("backbone", ["whole.safetensors", "timm.safetensors", "timm.pth"])
def test_every_kind_of_backbone_file_gives_the_model_again(swin, files, backbone):
    assert_equal(load_adapter(files / "adapter.safetensors", files / backbone), swin)


def test_a_file_holds_all_that_is_not_pretrained_and_nothing_else(trained, tmp_path):
    path = tmp_path / "adapter.safetensors"
    save_adapter(path, trained, CARD)
    names = set(load_file(path))
    frozen = {n for n, p in trained.named_parameters() if not p.requires_grad and not n.startswith("norms.")}
    assert names.isdisjoint(frozen)
    assert names >= {n for n, _ in trained.trainable_parameters()}
    left_out = trained.state_dict().keys() - names - frozen
    owners = {name.rpartition(".")[0] for name in frozen}
    assert all("running_" in n or n.endswith("num_batches_tracked") for n in left_out)
    assert {name.rpartition(".")[0] for name in left_out} <= owners
    assert read_header(path) == (trained.config, CARD)
    assert parameter_count(path) == sum(p.numel() for n, p in trained.named_parameters() if n not in frozen)


def test_float16_halves_the_file_and_fits_float32_and_float16_backbones(swin, files, tmp_path):
    half, whole_half = tmp_path / "half.safetensors", tmp_path / "whole_half.safetensors"
    save_adapter(half, swin, CARD, torch.float16)
    save_model(whole_half, swin, CARD, torch.float16)
    tensors = load_file(half)
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}
    assert_equal(load_adapter(half, whole_half), load_model(whole_half))
    mixed = load_adapter(half, files / "timm.pth").state_dict()
    for name, tensor in swin.state_dict().items():
        expected = tensor if is_pretrained(name) else tensor.to(tensors[name].dtype).to(tensor.dtype)
        assert torch.equal(mixed[name], expected), name


def test_the_hash_is_the_documented_one(trained):
    digest = hashlib.sha256()
    state = trained.state_dict()
    for name in sorted(state):
        tensor = state[name]
        if not is_pretrained(name) or not tensor.is_floating_point():
            continue
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().astype("<f2").tobytes())
    assert frozen_sha256(trained) == digest.hexdigest()


def test_the_hash_is_of_the_pretrained_tensors_alone():
    model = tiny_model("lite")
    before = frozen_sha256(model)
    assert frozen_sha256(stirred(model)) == before
    model.backbone.stages[2].frozen[0].bn1.num_batches_tracked += 1
    assert frozen_sha256(model) == before
    model.backbone.stages[2].frozen[0].bn1.running_mean[3] += 0.01
    assert frozen_sha256(model) != before


def test_another_backbone_is_refused_with_both_hashes(swin, files, tmp_path):
    other = tiny_model("swin")
    save_model(tmp_path / "other.safetensors", other, {})
    expected, found = frozen_sha256(swin), frozen_sha256(other)
    message = (
        rf"adapter\.safetensors was trained on another backbone than other\.safetensors: .* sha256 "
        rf"{expected}, found {found}\. Give the weights that it was trained on .* or a whole model file"
    )
    with pytest.raises(ValueError, match=message):
        load_adapter(files / "adapter.safetensors", tmp_path / "other.safetensors")
    save_model(tmp_path / "coarse.safetensors", swin, {}, torch.bfloat16)
    with pytest.raises(ValueError, match="bfloat16 is too coarse"):
        load_adapter(files / "adapter.safetensors", tmp_path / "coarse.safetensors")


def test_backbone_files_that_cannot_serve(files, tmp_path):
    adapter = files / "adapter.safetensors"
    save_model(tmp_path / "lite.safetensors", tiny_model("lite"), {})
    save_file({"a": torch.zeros(3_000_000)}, tmp_path / "foreign.safetensors")
    cases = {
        adapter: "adapter.safetensors is an adapter file and has no backbone",
        tmp_path / "lite.safetensors": "the tensors of lite.safetensors do not fit the network. missing",
        tmp_path / "foreign.safetensors": "the pretrained Swin weights do not fit the network. missing",
        tmp_path / "absent.safetensors": "absent.safetensors does not exist",
        tmp_path / "absent.pth": "absent.pth does not exist",
    }
    for backbone, message in cases.items():
        with pytest.raises(ValueError, match=re.escape(message)):
            load_adapter(adapter, backbone)


def test_tensors_that_do_not_fit_are_named(files, tmp_path):
    tensors = load_file(files / "adapter.safetensors")
    name = "mapa.0.up.weight"
    cases = {
        f"missing (1): {name}": {n: t for n, t in tensors.items() if n != name},
        "unexpected (1): mapa.4.up.weight": tensors | {"mapa.4.up.weight": torch.zeros(2)},
        "unexpected (1): backbone.patch_embed.norm.bias": tensors
        | {"backbone.patch_embed.norm.bias": torch.zeros(16)},
        f"{name} is (16, 5), expected (16, 4)": tensors | {name: torch.zeros(16, 5)},
        f"of another kind: {name} is torch.int64": tensors | {name: torch.zeros(16, 4, dtype=torch.int64)},
        f"not all finite numbers: {name}": tensors | {name: torch.full((16, 4), float("nan"))},
    }
    for message, changed in cases.items():
        path = rewritten(files / "adapter.safetensors", tmp_path / "changed.safetensors", changed)
        with pytest.raises(ValueError, match=r"the tensors of changed\.safetensors.*" + re.escape(message)):
            load_adapter(path, files / "whole.safetensors")


SHA = "0" * 64


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "ktb-1"}, "is a whole model, not an adapter file"),
        ({"format": "pt"}, "not a KTB model: its metadata has format 'pt'"),
        ({"config": "{"}, "has damaged metadata"),
        ({"backbone": None}, "has damaged metadata (the backbone's name and sha256: "),
        ({"backbone": "{"}, "has damaged metadata (the backbone's name and sha256: "),
        ({"backbone": "7"}, "has damaged metadata (the backbone's name and sha256: "),
        ({"backbone": "[" * 100_000}, "has damaged metadata (the backbone's name and sha256: "),
        ({"backbone": json.dumps({"name": None, "sha256": "12"})}, "sha256 is '12'; expected 64 hexadecimal"),
        ({"backbone": json.dumps({"name": None, "sha256": 12})}, "sha256 is 12; expected 64 hexadecimal"),
        ({"backbone": json.dumps({"name": 1, "sha256": SHA})}, "name is 1; expected text or null"),
        (
            {"backbone": json.dumps({"name": None, "sha256": SHA, "url": ""})},
            "unexpected keyword argument 'url'",
        ),
    ],
)
def test_files_with_foreign_metadata_are_refused(files, tmp_path, metadata, message):
    path = rewritten(files / "adapter.safetensors", tmp_path / "file.safetensors", **metadata)
    with pytest.raises(ValueError, match=re.escape(message)):
        load_adapter(path, files / "whole.safetensors")


def test_damaged_adapter_files_are_named(files, tmp_path):
    data = (files / "adapter.safetensors").read_bytes()
    for number, damaged in enumerate((b"", b"text", data[:100], data[:-10])):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(damaged)
        for load in (load_model, load_adapter):
            with pytest.raises(
                ValueError, match=f"{number}.safetensors cannot be read as a safetensors file"
            ):
                load(path)


@pytest.mark.parametrize("backbone", ["whole.safetensors", "timm.pth"])
@pytest.mark.parametrize(
    "change",
    [{"depths": [2, 2, 10**30, 2]}, {"embed_dim": 2**40}, {"adapters": False, "depths": [2, 2, 10**9, 2]}],
)
def test_a_configuration_far_larger_than_its_files_takes_no_memory(
    files, tmp_path, change, backbone, monkeypatch
):
    monkeypatch.setattr(storage, "build_model", lambda config: pytest.fail("built"))
    values = tiny_swin_config().to_dict()
    values["backbone"].update(change)
    path = rewritten(files / "adapter.safetensors", tmp_path / "file.safetensors", config=json.dumps(values))
    with pytest.raises(ValueError, match=r"do not fit the network: it has more than [\d,]+ weights"):
        load_adapter(path, files / backbone)


def test_a_failed_save_leaves_no_file(swin, tmp_path, monkeypatch):
    def fail(tensors, path, metadata):
        raise OSError("no space left")

    monkeypatch.setattr(storage, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        save_adapter(tmp_path / "adapter.safetensors", swin, CARD)
    assert not list(tmp_path.iterdir())


def test_load_model_says_how_to_get_an_absent_backbone(swin, files):
    assert read_reference(files / "adapter.safetensors").name is None
    message = (
        rf"adapter\.safetensors is an adapter file: it needs its pretrained backbone \(widths that timm does "
        rf"not have, sha256 {frozen_sha256(swin)[:12]}….*python -m ktb merge adapter\.safetensors OUT.*"
        rf"--backbone FILE"
    )
    with pytest.raises(ValueError, match=message):
        load_model(files / "adapter.safetensors")


def test_load_model_completes_a_file_whose_backbone_is_at_hand(swin, files, monkeypatch):
    monkeypatch.setattr(ktb.checkpoints.adapters, "is_at_hand", lambda config: True)
    monkeypatch.setattr(type(swin.backbone), "timm_name", staticmethod(lambda config: "tiny"))
    monkeypatch.setattr(ktb.checkpoints.pretrained, "_downloaded", lambda name: random_swin().state_dict())
    assert_equal(load_model(files / "adapter.safetensors"), swin)
    monkeypatch.setattr(ktb.checkpoints.adapters, "is_at_hand", lambda config: False)
    assert_equal(load_adapter(files / "adapter.safetensors", True), swin)  # may download


def test_a_backbone_is_at_hand_if_packaged_or_cached(monkeypatch):
    asked, answers = [], []

    def cached(repository, file):
        asked.append((repository, file))
        return answers[-1]

    monkeypatch.setattr(ktb.checkpoints.pretrained, "try_to_load_from_cache", cached)
    monkeypatch.setattr(ktb.checkpoints.pretrained.importlib.util, "find_spec", lambda name: None)
    for answer, expected in (("/cache/model.safetensors", True), (None, False), (object(), False)):
        answers.append(answer)
        assert is_at_hand(SwinConfig()) is is_at_hand(LiteConfig()) is expected
    assert set(asked) == {
        ("timm/swin_base_patch4_window12_384.ms_in22k", "model.safetensors"),
        ("timm/tf_efficientnet_lite0.in1k", "model.safetensors"),
    }
    asked.clear()
    assert not is_at_hand(tiny_swin_config().backbone)
    monkeypatch.setattr(
        ktb.checkpoints.pretrained.importlib.util, "find_spec", lambda name: name == LITE_PACKAGE
    )
    assert is_at_hand(LiteConfig())
    assert not asked


@pytest.mark.skipif(
    DEFAULT_MODEL not in built_in_models(), reason="the embedded model is not in this checkout"
)
def test_the_embedded_model_stands_on_the_packaged_backbone(tmp_path):
    """It is stored in float16, the package's weights are float32: their hash must be the same."""
    pytest.importorskip(LITE_PACKAGE)
    whole, path = built_in_models()[DEFAULT_MODEL], tmp_path / "adapter.safetensors"
    embedded = load_model(whole)
    save_adapter(path, embedded, embedded.card, torch.float16)
    assert read_reference(path).name == "tf_efficientnet_lite0.in1k"
    assert_equal(load_adapter(path, whole), embedded)
    completed = load_model(path)
    assert completed.card == embedded.card
    with torch.inference_mode():
        ours, theirs = embedded(*pair(1)).fused, completed(*pair(1)).fused
    assert (ours - theirs).abs().mean() < 0.01 * ours.std()


def test_extract_and_merge_from_the_command_line(swin, files, tmp_path):
    adapter, merged = tmp_path / "adapter.safetensors", tmp_path / "merged.safetensors"
    result = run("extract", files / "whole.safetensors", adapter)
    assert result.exit_code == 0, result.output
    size = adapter.stat().st_size / 1e6
    assert result.stdout == f"wrote {adapter} ({size:,.1f} MB)\n"
    result = run("merge", adapter, merged, "--backbone", files / "timm.pth")
    assert result.exit_code == 0, result.output
    assert_equal(load_model(merged), swin)
    assert read_header(merged) == (swin.config, CARD)
    result = run("merge", adapter, merged, "--backbone", files / "whole.safetensors", "--half", "--force")
    assert result.exit_code == 0, result.output
    assert load_file(merged)["mapa.0.up.weight"].dtype == torch.float16
    result = run("extract", merged, adapter, "--half", "--force")
    assert result.exit_code == 0, result.output
    assert load_file(adapter)["mapa.0.up.weight"].dtype == torch.float16
    assert read_reference(adapter) == read_reference(files / "adapter.safetensors")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("extract", "nothing", "new.safetensors"), "there is no model or file 'nothing'"),
        (("extract", "whole.safetensors", "new.pth"), "must end in .safetensors"),
        (("extract", "whole.safetensors", "timm.safetensors"), "exists already; add --force"),
        (("merge", "whole.safetensors", "new.safetensors"), "is a whole model, not an adapter file"),
        (("merge", "timm.safetensors", "new.safetensors"), "not a KTB model"),
        (("merge", "nothing.safetensors", "new.safetensors"), "nothing.safetensors does not exist"),
        (("merge", "adapter.safetensors", "whole.safetensors"), "exists already; add --force"),
        (("merge", "adapter.safetensors", "new.safetensors"), "timm has no Swin with embed_dim 16"),
        (("info", "damaged.safetensors"), "damaged.safetensors has damaged metadata"),
    ],
    ids=str,
)
def test_the_commands_refuse_with_one_message(files, arguments, message, monkeypatch):
    monkeypatch.chdir(files)
    rewritten(files / "adapter.safetensors", files / "damaged.safetensors", backbone="7")
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.output
    assert not list(files.glob("new.*"))


def test_info_of_an_adapter_file_needs_no_backbone(swin, files):
    result = run("info", files / "adapter.safetensors")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    parameters = sum(p.numel() for n, p in swin.named_parameters() if not is_pretrained(n))
    for line in (
        "name tiny",
        "DSCF groups G 1, 2, 2, 4",
        f"parameters {parameters:,} in this adapter file, without its pretrained backbone",
        "needs backbone of widths that timm does not have, not on this machine",
        f"with sha256 {frozen_sha256(swin)}",
        "miou: 12.5",
    ):
        assert line in lines, line
