"""Models from and to a Hugging Face hub: a server here that speaks its language; no real hub is asked."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from helpers.models import stirred, tiny_model, tiny_swin_config
from huggingface_hub import constants
from typer.testing import CliRunner

from app.service import Service
from ktb import load_adapter, load_model, push_to_hub, save_adapter, save_model
from ktb.__main__ import app
from ktb.checkpoints.card import figure_tables, hub_readme
from ktb.checkpoints.registry import resolve
from ktb.checkpoints.remote import Transfer
from ktb.config import InputConfig
from ktb.modeling.build import build_model
from training.publish import card_markdown

pytestmark = pytest.mark.usefixtures("one_thread")

REPO = "someone/tiny-thermal"
CARD = {
    "name": "tiny-thermal",
    "data": "five made-up frames | <b>bold</b>",
    "limits": "Knows nothing of the world.",
    "protocol": "single scale",
    "images": 5,
    "figures": {
        branch: {"miou": 43.78, "pixel_accuracy": 70.0, "class_accuracy": None, "iou": {"floor": 90.19}}
        for branch in ("fused", "rgb", "x")
    },
    "license": "apache-2.0",
}


@pytest.fixture(scope="module")
def model():
    inputs = InputConfig(modality="thermal", encoding="thermal")
    made = stirred(build_model(dataclasses.replace(tiny_swin_config(), name="tiny-thermal", inputs=inputs)))
    made.card = CARD
    return made


@pytest.fixture(scope="module")
def tiny(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "some.safetensors"
    save_model(path, model, CARD)
    return path


def same(loaded, model) -> bool:
    theirs = loaded.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in model.state_dict().items())


def methods(hub) -> list[str]:
    return [method for method, _, _ in hub.requests]


def test_a_model_is_pushed_and_loads_back_from_the_hub(hub, tiny, model):
    upload = push_to_hub(tiny, REPO)
    assert upload.files["model.safetensors"] == (
        tiny.stat().st_size,
        hashlib.sha256(tiny.read_bytes()).hexdigest(),
    )
    commit, files = hub.repos[REPO]["commits"][-1]
    assert (upload.commit, upload.address) == (commit, f"hf://{REPO}@{commit}")
    assert upload.url == f"{hub.address}/{REPO}/commit/{commit}"
    assert files == {"model.safetensors": tiny.read_bytes(), "README.md": upload.readme.encode()}
    told: list[Transfer] = []
    loaded = load_model(f"hf://{REPO}", progress=told.append)
    assert same(loaded, model)
    assert loaded.card == CARD
    assert told[-1] == Transfer("tiny-thermal", tiny.stat().st_size, tiny.stat().st_size, is_finished=True)
    assert same(load_model(upload.address), model)


def test_what_is_cached_is_not_downloaded_again(hub, tiny):
    commit = hub.add(REPO, {"model.safetensors": tiny.read_bytes()})
    load_model(f"hf://{REPO}")
    assert methods(hub).count("GET") == 1
    load_model(f"hf://{REPO}@main")
    assert methods(hub).count("GET") == 1
    asked = len(hub.requests)
    load_model(f"hf://{REPO}@{commit}")  # a commit never changes: nobody is asked
    assert len(hub.requests) == asked


def test_files_and_revisions_are_told_apart(hub, tiny, model, tmp_path):
    torch.save({"x": torch.zeros(1)}, tmp_path / "x.pth")
    old = hub.add(REPO, {"sub/other.safetensors": tiny.read_bytes()})
    hub.add(REPO, {"sub/other.safetensors": b"newer", "x.pth": (tmp_path / "x.pth").read_bytes()})
    assert same(load_model(f"hf://{REPO}/sub/other.safetensors@{old}"), model)
    with pytest.raises(ValueError, match="cannot be read as a safetensors file"):
        load_model(f"hf://{REPO}/sub/other.safetensors@main")
    with pytest.raises(ValueError, match="the tensors are not those of a released KTB checkpoint"):
        load_model(f"hf://{REPO}/x.pth")


@pytest.mark.parametrize("variable", ["KTB_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_takes_the_cache_or_says_so(hub, tiny, monkeypatch, variable):
    hub.add(REPO, {"model.safetensors": tiny.read_bytes()})
    load_model(f"hf://{REPO}")
    asked = len(hub.requests)
    monkeypatch.setenv(variable, "1")
    load_model(f"hf://{REPO}")
    with pytest.raises(ValueError, match=r"hf://someone/else/model\.safetensors@main is not on this machine"):
        load_model("hf://someone/else")
    with pytest.raises(ValueError, match="the repository someone/else is not on this machine"):
        push_to_hub(tiny, "someone/else")
    assert len(hub.requests) == asked


def test_a_hub_that_is_down(hub, tiny, caplog):
    hub.add(REPO, {"model.safetensors": tiny.read_bytes()})
    hub.is_down = True
    with pytest.raises(
        ValueError, match=rf"the repository {REPO} on {hub.address} cannot be reached \(.*503"
    ):
        load_model(f"hf://{REPO}")
    hub.is_down = False
    load_model(f"hf://{REPO}")
    hub.is_down = True
    load_model(f"hf://{REPO}")
    assert "the hub cannot be reached" in caplog.text
    assert "the copy in the cache is used" in caplog.text


def test_nobody_listens(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        ValueError, match=r"cannot be reached \(.*\)\. Connect to the internet, or copy the file"
    ):
        load_model(f"hf://{REPO}")


def test_what_is_not_there_is_named(hub, tiny):
    hub.add(REPO, {"other.safetensors": tiny.read_bytes(), "README.md": b"text"})
    hub.add("someone/secret", {"model.safetensors": b""}, private=True)
    hub.add("someone/gated", {"model.safetensors": b""}, gated=True)
    with pytest.raises(ValueError, match=r"someone/nothing on http.* does not exist, or is private"):
        load_model("hf://someone/nothing")
    with pytest.raises(ValueError, match="for a private one, log in with `hf auth login` or set HF_TOKEN"):
        load_model("hf://someone/secret")
    with pytest.raises(ValueError, match="is gated: ask for access on its page"):
        load_model("hf://someone/gated")
    with pytest.raises(ValueError, match="has no such branch, tag or commit"):
        load_model(f"hf://{REPO}@v9")
    with pytest.raises(ValueError, match=r"has no such file\. Its weights: other\.safetensors; write hf://"):
        load_model(f"hf://{REPO}")


def test_a_damaged_copy_is_removed_unread(hub, tiny, tmp_path):
    hub.add(REPO, {"model.safetensors": tiny.read_bytes()})
    load_model(f"hf://{REPO}")
    (blob,) = (path for path in (tmp_path / "hub").rglob("blobs/*") if len(path.name) == 64)
    blob.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"was damaged in the cache: .* It was removed, unread; try again"):
        load_model(f"hf://{REPO}")
    load_model(f"hf://{REPO}")
    with pytest.raises(ValueError, match=r"has sha256 .*, expected 0000"):
        load_model(f"hf://{REPO}", sha256="0" * 64)


def test_too_large_or_no_space(hub, tiny, monkeypatch):
    hub.add(REPO, {"model.safetensors": tiny.read_bytes()})
    monkeypatch.setenv("KTB_MAX_DOWNLOAD_GB", "0.00001")
    with pytest.raises(ValueError, match="at most 10,000 are downloaded"):
        load_model(f"hf://{REPO}")
    monkeypatch.delenv("KTB_MAX_DOWNLOAD_GB")
    monkeypatch.setattr(
        "ktb.checkpoints.remote.limits.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 1)
    )
    with pytest.raises(ValueError, match="or set HF_HOME to a folder on a larger disk"):
        load_model(f"hf://{REPO}")
    assert methods(hub).count("GET") == 0


def test_a_read_only_cache_of_the_hub_gives_way_to_ours(hub, tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/proc/nowhere")
    hub.add(REPO, {"model.safetensors": tiny.read_bytes()})
    load_model(f"hf://{REPO}")
    assert list((tmp_path / "ktb" / "hub").rglob("model.safetensors"))
    monkeypatch.setenv("KTB_OFFLINE", "1")
    load_model(f"hf://{REPO}")


def test_the_page_offers_models_under_their_repositories_names(hub, tiny):
    for name in ("one", "two"):
        hub.add(f"someone/{name}", {"model.safetensors": tiny.read_bytes()})
    hub.add("someone/two", {"model.safetensors": tiny.read_bytes(), "more.safetensors": tiny.read_bytes()})
    service = Service(["hf://someone/one", "hf://someone/two", "hf://someone/two/more.safetensors"])
    assert service.models[:3] == ["one", "two", "more"]
    assert service.config("two").name == "tiny-thermal"


def test_a_dry_run_lists_everything_and_asks_nobody(hub, tiny):
    result = CliRunner().invoke(app, ["push", str(tiny), REPO, "--dry-run", "--license", "mit"])
    assert result.exit_code == 0, result.output
    digest = hashlib.sha256(tiny.read_bytes()).hexdigest()
    lines = result.stdout.splitlines()
    assert lines[0] == f"would upload model.safetensors, {tiny.stat().st_size:,} bytes, sha256 {digest}"
    assert lines[1].startswith("would upload README.md, ")
    readme = result.stdout.split("README.md:\n\n")[1].rstrip("\n") + "\n"
    assert f"{len(readme.encode()):,} bytes, sha256 {hashlib.sha256(readme.encode()).hexdigest()}" in lines[1]
    assert hub.requests == []
    assert hub.repos == {}


def test_the_command_pushes(hub, tiny):
    result = CliRunner().invoke(app, ["push", str(tiny), REPO, "--private", "--message", "First"])
    assert result.exit_code == 0, result.output
    commit = hub.repos[REPO]["commits"][-1][0]
    assert f"see {hub.address}/{REPO}/commit/{commit}; load it as hf://{REPO}@{commit}" in result.stdout
    assert hub.repos[REPO]["private"]
    assert "Warning" not in result.stderr


def test_private_is_kept(hub, tiny):
    hub.add(REPO, {})
    with pytest.raises(ValueError, match=f"{REPO} exists and is public; nothing was uploaded"):
        push_to_hub(tiny, REPO, private=True)
    assert hub.repos[REPO]["commits"][-1][1] == {}


def test_pushes_that_cannot_be(hub, tiny, tmp_path):
    for name in ("tiny", "a/b/c", "a/b@main", ""):
        with pytest.raises(ValueError, match="names no repository; write ORG/NAME"):
            push_to_hub(tiny, name)
    hub.needs_token = True
    with pytest.raises(ValueError, match="log in with `hf auth login` or set HF_TOKEN"):
        push_to_hub(tiny, REPO)
    push_to_hub(tiny, REPO, token="hf_made_up")
    with pytest.raises(ValueError, match="there is no model or file"):
        push_to_hub(tmp_path / "nothing.safetensors", REPO)


def test_models_and_adapter_files_are_pushed_too(hub, model, tmp_path):
    upload = push_to_hub(model, REPO)
    assert same(load_model(upload.address), model)
    save_adapter(tmp_path / "adapter.safetensors", model, CARD)
    upload = push_to_hub(tmp_path / "adapter.safetensors", REPO)
    assert (
        hub.repos[REPO]["commits"][-1][1]["model.safetensors"]
        == (tmp_path / "adapter.safetensors").read_bytes()
    )
    assert "without its pretrained backbone" in upload.readme
    save_model(tmp_path / "whole.safetensors", model, CARD)
    with pytest.raises(ValueError, match="is an adapter file: it needs its pretrained backbone"):
        load_model(upload.address)
    assert same(load_adapter(resolve(upload.address), tmp_path / "whole.safetensors"), model)


def front_matter(readme: str) -> dict:
    return yaml.safe_load(readme.split("---\n")[1])


def test_the_card_says_what_is_known(tiny):
    upload = push_to_hub(tiny, REPO, dry_run=True)
    readme = upload.readme
    assert front_matter(readme) == {
        "license": "apache-2.0",
        "library_name": "ktb",
        "pipeline_tag": "image-segmentation",
        "tags": ["ktb", "rgb-x", "semantic-segmentation", "multimodal", "thermal"],
    }
    assert "| fused | 43.7 | 70.0 | not scored |" in readme  # never rounded up
    assert "| floor | 90.1 | 90.1 | 90.1 |" in readme
    assert "Protocol: single scale. 5 images." in readme
    assert "## Limitations\n\nKnows nothing of the world." in readme
    assert r"five made-up frames \| \<b\>bold\</b\>" in readme
    assert f'load_model("hf://{REPO}")' in readme


def test_the_card_names_what_is_not_known():
    readme = hub_readme(REPO, tiny_swin_config(), {"figures": "not measured by us"}, "ktb-1", 12, "unknown")
    assert "None measured with this file." in readme
    assert "**Data**: not stated" in readme
    assert "Not stated by its author. The model predicts only the classes below" in readme
    assert front_matter(readme)["license"] == "unknown"
    published = {"published": {"miou": 59.0, "protocol": "on val"}, "attention": "odd", "commands": [1]}
    readme = hub_readme(REPO, tiny_swin_config(), published, "ktb-1", 12, 'a: "b\n---')
    assert "The authors publish 59.0 mIoU. on val" in readme
    assert front_matter(readme)["license"] == 'a: "b\n---'


def test_an_unknown_licence_and_the_authors_weights_are_told(hub, tmp_path):
    save_model(tmp_path / "m.safetensors", tiny_model("swin"), {"source_file": "best.pth"})
    result = CliRunner().invoke(app, ["push", str(tmp_path / "m.safetensors"), REPO, "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "Warning: the licence is unknown, which the card states; give --license." in result.stderr
    assert "these are the authors' weights; publish them only with their permission." in result.stderr
    assert "Weights: not stated by the uploader." in result.stdout


def test_cards_of_published_files_have_the_same_tables():
    assert card_markdown("x", {**CARD, "commands": ["a"]}).endswith("\n".join(figure_tables(CARD)))


def test_embedded_models_have_cards_for_the_hub():
    root = Path(__file__).resolve().parents[2]
    readme = push_to_hub("ktb-lite-nyuv2-depth", REPO, dry_run=True).readme
    beside = (root / "assets" / "checkpoints" / "ktb-lite-nyuv2-depth.md").read_text(encoding="utf-8")
    for row in [line for line in beside.splitlines() if line.startswith("| fused")]:
        assert row in readme
    assert "## Classes\n\nwall, floor, cabinet" in readme
