"""The authors' twelve models: listed, recognised, imported; fetched with a gdown that is made up here."""

from __future__ import annotations

import re
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch
from helpers.hubs import Gdown, official
from typer.testing import CliRunner

from ktb import load_model
from ktb.__main__ import app
from ktb.checkpoints.importing.identify import identify
from ktb.checkpoints.metadata import read_header
from ktb.checkpoints.official import RELEASED
from ktb.checkpoints.registry import DRIVE_URL, PUBLISHED, WIDTHS
from ktb.modeling.build import swin_config

pytestmark = pytest.mark.usefixtures("one_thread")

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    return CliRunner().invoke(app, ["zoo", *map(str, arguments)])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Downloaded files: PST900, MCubeS with and without a hint, pretraining weights, and nonsense."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "MCubeS" / "RGB-A").mkdir(parents=True)
    torch.save(official("pst900"), folder / "best.pth")
    cubes = official("mcubes")
    torch.save(cubes, folder / "MCubeS" / "mcubes_NIR.pth")
    torch.save(cubes, folder / "MCubeS" / "RGB-A" / "model_best.pth")
    torch.save(cubes, folder / "MCubeS" / "unsaid.pth")
    (folder / "swin_base_patch4_window12_384_22k_20220317-e5c09f74.pth").write_bytes(b"not looked at")
    (folder / "broken.pth").write_bytes(b"<!doctype html>")
    (folder / "notes.txt").write_text("nothing")
    return folder


def test_the_table_is_the_papers():
    assert len(PUBLISHED) == len({model.name for model in PUBLISHED}) == 12
    figures = {(m.dataset, m.modality, m.size): m.miou for m in PUBLISHED}
    assert figures[("nyuv2", "hha", "l")] == 59.9
    assert figures[("mcubes", "dolp", "b")] == 54.5
    assert figures[("deliver", "event", "b")] == 58.4
    for model in PUBLISHED:
        dataset, modality, _ = RELEASED[model.num_classes]
        assert model.dataset == dataset
        assert model.modality == modality or dataset == "mcubes"


def test_the_table_is_that_of_the_reference(shared):
    """Parsed apart from the code: per data set, its classes and its published figures."""
    text = (shared / "reference" / "TRAINING.md").read_text(encoding="utf-8")
    rows = [
        line.split("|")[1:-1] for line in text.split("## 2")[0].splitlines() if "published mIoU" not in line
    ]
    cells = {row[0].strip(): row for row in rows if len(row) == 7 and row[2].strip().isdecimal()}
    keys = {"NYU Depth V2": "nyuv2", "SUN RGB-D": "sunrgbd", "MFNet": "mfnet", "PST900": "pst900"}
    keys |= {"MCubeS": "mcubes", "DELIVER": "deliver"}
    assert set(cells) == set(keys)
    for title, row in cells.items():
        ours = [model for model in PUBLISHED if model.dataset == keys[title]]
        assert {model.num_classes for model in ours} == {int(row[2])}
        assert sorted(model.miou for model in ours) == sorted(map(float, re.findall(r"\d+\.\d", row[6])))


def test_listing_shows_all_and_needs_no_torch(tmp_path):
    code = """
import runpy, sys
sys.argv = ["ktb", "zoo"]
try:
    runpy.run_module("ktb", run_name="__main__")
except SystemExit as end:
    assert not end.code and "torch" not in sys.modules, end.code
"""
    environment = {"KTB_CACHE": str(tmp_path), "PATH": "", "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert re.split(r"  +", lines[0]) == [
        "model",
        "dataset",
        "X",
        "backbone",
        "classes",
        "published mIoU",
        "here",
    ]
    assert re.split(r"  +", lines[1]) == ["ktb-b-nyuv2", "NYU Depth V2", "hha", "Swin-B", "40", "59.0", "no"]
    assert sum(line.startswith("ktb-") for line in lines) == 12
    assert "the authors' own, not measured by us" in result.stdout
    assert "* on val, not test" in result.stdout
    assert "0 of 12 are here." in result.stdout
    assert DRIVE_URL in result.stdout


@pytest.mark.parametrize("model", PUBLISHED, ids=lambda model: model.name)
def test_every_published_model_is_recognised(model):
    config = swin_config(model.size, model.dataset)
    assert config.backbone.embed_dim == WIDTHS[model.size]
    assert identify(config, f"x_{model.modality.upper()}_best.pth") == model
    assert identify(config, "best.pth", model.modality) == model


def test_the_name_tells_mcubes_models_apart():
    config = swin_config("b", "mcubes")
    for source, name in {
        "RGB-N/best.pth": "ktb-b-mcubes-nir",
        "mcubes_rgbd.pth": "ktb-b-mcubes-dolp",
        "AOLP/nir_or_not.pth": "ktb-b-mcubes-nir",
        "AoLP\\best.pth": "ktb-b-mcubes-aolp",
    }.items():
        assert identify(config, source).name == name
    for source in ("mcubes.pth", "nir_dolp.pth", "dolphin.pth"):
        with pytest.raises(ValueError, match=r"Import it alone with `--modality nir\|dolp\|aolp`"):
            identify(config, source)


def test_what_is_not_published_is_said():
    with pytest.raises(
        ValueError, match=r"is an official file, but none of the published models: 25 classes"
    ):
        identify(swin_config("l", "deliver"), "x.pth")
    with pytest.raises(
        ValueError, match=r"is ktb-b-nyuv2, whose X is hha, not 'depth'\. Leave --modality out"
    ):
        identify(swin_config("b", "nyuv2"), "x.pth", "depth")


def test_a_folder_is_imported_and_its_names_load(zoo, files):
    with pytest.raises(ValueError, match="is a model of the authors that is not on this machine"):
        load_model("ktb-b-pst900")
    result = run("add", files)
    assert result.exit_code == 1  # two of them cannot be imported
    lines = sorted(result.stdout.splitlines())
    assert [line.split(": ")[0] for line in lines] == ["added"] * 3 + ["skipped"]
    assert f"added: MCubeS/RGB-A/model_best.pth: ktb-b-mcubes-aolp: wrote {zoo}" in result.stdout
    assert "pretrained weights; models have them inside" in result.stdout
    assert "importing MCubeS/unsaid.pth …" in result.stderr.splitlines()
    failed = sorted(line for line in result.stderr.splitlines() if line.startswith("failed"))
    assert failed[0].startswith(
        "failed: MCubeS/unsaid.pth: MCubeS/unsaid.pth is ktb-b-mcubes-nir or ktb-b-mcubes-dolp"
    )
    assert "broken.pth is a web page, not a checkpoint" in failed[1]
    model = load_model("ktb-b-pst900")
    assert (model.config.name, model.config.dataset, model.config.inputs.modality) == (
        "ktb-b-pst900",
        "pst900",
        "thermal",
    )
    assert model.card["published"]["miou"] == 87.6
    assert model.card["source_file"] == "best.pth"
    assert "not measured by us" in model.card["figures"]
    assert load_model("ktb-b-mcubes-aolp").config.inputs.encoding == "aolp"
    direct = load_model(files / "best.pth").state_dict()
    assert all(torch.equal(tensor, direct[name]) for name, tensor in model.state_dict().items())
    assert sorted(path.name for path in zoo.iterdir()) == [
        f"ktb-b-{name}.safetensors" for name in ("mcubes-aolp", "mcubes-nir", "pst900")
    ]
    listed = run().stdout
    assert "3 of 12 are here." in listed
    size = (zoo / "ktb-b-pst900.safetensors").stat().st_size
    assert f"87.6            {size / 1e6:,.1f} MB" in listed
    models = CliRunner().invoke(app, ["models"]).stdout
    assert re.search(r"^ktb-b-pst900  pst900  thermal  5 classes  .*  fused mIoU not measured$", models, re.M)


def test_one_file_with_its_modality_said(zoo, files):
    file = files / "MCubeS" / "unsaid.pth"
    result = run("add", file, "--modality", "dolp")
    assert result.exit_code == 0, result.output
    assert read_header(zoo / "ktb-b-mcubes-dolp.safetensors")[0].inputs.modality == "dolp"
    again = run("add", file, "--modality", "dolp")
    assert again.stdout == "present: unsaid.pth: ktb-b-mcubes-dolp: is here already; --force replaces it\n"
    assert run("add", file, "--modality", "dolp", "--force").stdout.startswith("added: ")
    result = run("add", files, "--modality", "dolp")
    assert result.exit_code == 2
    assert result.stderr == f"Error: --modality is for one file; {files} has 6. Give the file itself.\n"


def test_archives_as_drive_makes_them(zoo, files, tmp_path):
    archive = tmp_path / "drive-download-001.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(files / "best.pth", "KTB/PST900/best.pth")
        packed.write(files / "notes.txt", "KTB/notes.txt")
        packed.write(files / "MCubeS" / "unsaid.pth", "../../KTB/MCubeS_DoLP/best.pth")
    (tmp_path / "half.zip").write_bytes(archive.read_bytes()[:1000])
    result = run("add", tmp_path)
    assert result.exit_code == 1
    assert "added: KTB/PST900/best.pth: ktb-b-pst900" in result.stdout
    assert "added: ../../KTB/MCubeS_DoLP/best.pth: ktb-b-mcubes-dolp" in result.stdout
    assert "failed: half.zip: cannot be read as a zip archive" in result.stderr
    assert sorted(path.suffix for path in zoo.iterdir()) == [".safetensors"] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "drive-download-001.zip", "half.zip"]


def test_nothing_to_import(zoo, tmp_path):
    (tmp_path / "empty").mkdir()
    assert (
        "no file with .pth, .pt, .bin, nor a zip archive with one, is there"
        in run("add", tmp_path / "empty").stderr
    )
    assert "there is no file or folder" in run("add", tmp_path / "nowhere").stderr


def test_a_disk_without_room_is_told(zoo, files, monkeypatch):
    monkeypatch.setattr(
        "ktb.checkpoints.remote.limits.shutil.disk_usage", lambda _: types.SimpleNamespace(free=1000)
    )
    result = run("add", files / "best.pth")
    assert result.exit_code == 1
    assert re.search(
        r"failed: best\.pth: ktb-b-pst900 needs .* MB more, but only 0\.0 MB are free", result.stderr
    )
    assert not list(zoo.glob("*.safetensors"))


@pytest.fixture
def gdown(files, monkeypatch):
    made_up = Gdown(files)
    monkeypatch.setitem(sys.modules, "gdown", made_up)
    return made_up


def test_fetch_downloads_imports_and_goes_on(zoo, gdown):
    gdown.broken = {"best.pth"}
    result = run("fetch")
    assert result.exit_code == 1
    assert "added: MCubeS/mcubes_NIR.pth: ktb-b-mcubes-nir" in result.stdout
    assert "failed: best.pth: RuntimeError: Too many users have viewed" in result.stderr
    kept = re.search(r"failed: MCubeS/unsaid\.pth: .* The file is (.*unsaid\.pth)\.", result.stderr)[1]
    assert DRIVE_URL in result.stderr
    assert "zoo add FILE_OR_FOLDER" in result.stderr
    assert not [call for call in gdown.calls if call.startswith("swin_")]
    assert run("add", kept, "--modality", "dolp").exit_code == 0
    gdown.broken, gdown.calls = set(), []
    result = run("fetch", "best", "NIR")
    assert result.exit_code == 0, result.output
    assert gdown.calls == ["best.pth"]
    assert "present: MCubeS/mcubes_NIR.pth: ktb-b-mcubes-nir" in result.stdout
    assert not list((zoo / "downloads").rglob("best.pth"))
    result = run("fetch", "deliver")
    assert result.exit_code == 2
    assert (
        "lists no model with deliver in its name. Its models: MCubeS/RGB-A/model_best.pth, " in result.stderr
    )


def test_fetch_explains_the_manual_way(zoo, gdown, monkeypatch):
    monkeypatch.setattr(gdown, "download_folder", lambda **_: (_ for _ in ()).throw(OSError("no network")))
    result = run("fetch")
    assert result.exit_code == 2
    assert "cannot be listed (OSError: no network). The manual way: open https://drive" in result.stderr
    monkeypatch.setitem(sys.modules, "gdown", None)
    result = run("fetch")
    assert (
        "gdown, which reads Drive folders, is not installed: pip install gdown. The manual way"
        in result.stderr
    )
    monkeypatch.setenv("KTB_OFFLINE", "1")
    assert "KTB_OFFLINE or HF_HUB_OFFLINE forbids to download it" in run("fetch").stderr
