"""What `pip install .` gives: one version, the requirements of the lists, a wheel that works by itself."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import ktb
from ktb.utils import files
from tools.figures.make_method_figures import FIGURES, drawings

ROOT = Path(__file__).resolve().parents[2]
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def table(name: str) -> dict[str, list[str]]:
    """The lists of texts of a table of pyproject.toml (tomllib is not in Python 3.10)."""
    section = re.search(rf"^\[{re.escape(name)}\]\n(.*?)(?=^\[|\Z)", PROJECT, re.MULTILINE | re.DOTALL)[1]
    lists = re.findall(r"^([\w-]+) = \[(.*?)\]$", section, re.MULTILINE | re.DOTALL)
    return {key: re.findall(r'"([^"]+)"', values) for key, values in lists}


def listed(name: str) -> set[str]:
    """The lines of a file of requirements, comments and other files left out."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line and not line.startswith(("#", "-r"))}


def test_requirements_are_those_of_the_lists():
    needed, extras = set(table("project")["dependencies"]), table("project.optional-dependencies")
    assert needed | set(extras["page"]) == listed("requirements.txt")
    assert set(extras["train"]) == listed("training/requirements.txt")
    dev = {line for line in extras["dev"] if not line.startswith("ktb[")}
    (own,) = set(extras["dev"]) - dev
    assert Requirement(own).extras == set(extras) - {"dev"}
    optional = {line for name in ("openvino", "onnx", "readers", "estimate", "mcp") for line in extras[name]}
    assert dev | optional == listed("tests/requirements.txt")


def test_there_is_one_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+(?:\.?(?:dev|a|b|rc)\d+)?", ktb.__version__)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ktb.__version__
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == ktb.__version__
    assert 'dynamic = ["version"]' in PROJECT


def test_the_citation_has_the_fields_of_its_format():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors"} <= set(paper)
    assert (paper["year"], paper["start"], paper["end"]) == (2025, 10587, 10598)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert paper["title"] in re.sub(r"[{}]", "", readme)


def test_files_are_found_in_a_checkout_and_in_a_package(tmp_path, monkeypatch):
    assert files.shipped("examples") == ROOT / "assets" / "examples"
    (tmp_path / "shipped").mkdir()
    monkeypatch.setattr(files, "SHIPPED_FOLDERS", (tmp_path / "shipped", ROOT / "assets"))
    assert files.shipped("checkpoints") == tmp_path / "shipped" / "checkpoints"
    monkeypatch.setattr(files, "SHIPPED_FOLDERS", (tmp_path / "absent", tmp_path / "gone"))
    assert not files.shipped("checkpoints").exists()


def test_the_drawings_are_what_the_script_draws():
    for name, svg in drawings().items():
        assert (FIGURES / name).read_text(encoding="utf-8") == svg, (
            f"run tools/figures/make_method_figures.py: {name}"
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    out = tmp_path_factory.mktemp("wheel")
    code = f"import hatchling.build; print(hatchling.build.build_wheel({str(out)!r}))"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return out / result.stdout.split()[-1]


def test_the_wheel_holds_the_library_and_what_it_ships(wheel):
    assert wheel.name == f"ktb-{ktb.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (metadata,) = (file.read(name).decode() for name in names if name.endswith("METADATA"))
    tops = {name.split("/")[0] for name in names}
    assert tops == {"ktb", f"ktb-{ktb.__version__}.dist-info"}, "app, training and tests stay in the checkout"
    modules = {
        path.relative_to(ROOT).as_posix()
        for suffix in ("py", "pyi", "js", "css")
        for path in (ROOT / "ktb").rglob(f"*.{suffix}")
    }
    shipped = {
        f"ktb/shipped/{path.relative_to(ROOT / 'assets').as_posix()}"
        for folder in ("checkpoints", "examples")
        for path in (ROOT / "assets" / folder).rglob("*")
        if path.is_file()
    }
    inside = {name for name in names if name.startswith("ktb/")}
    assert inside == modules | shipped | {"ktb/py.typed"}
    assert "License-Expression: Apache-2.0" in metadata


def test_the_installed_command_predicts_outside_of_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    install = (
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--target",
        site,
        wheel,
    )
    subprocess.run(install, check=True)
    examples = site / "ktb" / "shipped" / "examples"
    pair = ("--rgb", examples / "office_rgb.png", "--x", examples / "office_depth.png")
    work = tmp_path / "work"
    work.mkdir()
    result = subprocess.run(
        [site / "bin" / "ktb", "predict", *pair, "--short-side", "64", "--out", "out"],
        cwd=work,
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    summary = json.loads((work / "out" / "prediction.json").read_text())
    assert summary["model"] == "ktb-lite-nyuv2-depth"
