"""The command line: what it prints, what it writes, and how it refuses. (import-official: test_official.)"""

from __future__ import annotations

import dataclasses
import io
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import run
from helpers.models import stirred, tiny_model, tiny_swin_config
from helpers.pairs import write_pair
from PIL import Image

import ktb.__main__
from ktb import save_model
from ktb.checkpoints import registry
from ktb.cli.progress import Progress
from ktb.config import InputConfig
from ktb.modeling.build import build_model

pytestmark = pytest.mark.usefixtures("one_thread")

CARD = {
    "data": "five made-up frames",
    "commands": ["train it", "score it"],
    "figures": {"fused": {"miou": 43.78, "iou": {"background": 90.123456789, "survivor": None}}},
    "attention": [{"level": 0, "entropy": 0.5}],
    "recipe": {"model": {}, "lr": 0.001},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two saved models, the first with a measured card."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    inputs = InputConfig(modality="depth", encoding="depth", short_side=64)
    depth = build_model(dataclasses.replace(tiny_swin_config(), name="tiny-depth", inputs=inputs))
    save_model(folder / "tiny-depth.safetensors", stirred(depth), CARD)
    save_model(folder / "plain.safetensors", tiny_model("swin"), {"figures": "not measured by us"})
    return folder


@pytest.fixture
def built_in(folder, monkeypatch):
    monkeypatch.setattr(registry, "BUILT_IN_FOLDER", folder)
    monkeypatch.setattr(registry, "DEFAULT_MODEL", "tiny-depth")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("pair"), 60, 90)


def test_help_names_the_commands_without_importing_torch():
    """Run apart from the package, whose own import is not this file's to decide."""
    code = f"""
import runpy, sys
sys.argv = ["ktb", "--help"]
try:
    runpy.run_path({str(Path(ktb.__main__.__file__))!r}, run_name="__main__")
finally:
    heavy = {{"torch", "timm", "cv2", "numpy"}} & set(sys.modules)
    assert not heavy, heavy
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    for command in ("predict", "encode", "models", "info", "extract", "merge", "import-official"):
        assert command in result.stdout


def test_python_m_ktb_ends_with_the_exit_code(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "ktb", "info", str(tmp_path / "nothing.pth")],
        cwd=Path(ktb.__main__.__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("Error: there is no model or file")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


@pytest.mark.usefixtures("built_in")
def test_predict_prints_the_classes_and_writes_the_files(files, tmp_path):
    rgb, x = files
    result = run("predict", "--rgb", rgb, "--x", x, "--out", tmp_path / "out", "--unit", "mm")
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert summary["model"] == "tiny-depth"
    assert summary["network_size"] == {"height": 64, "width": 96}
    said = result.stdout.splitlines()
    lines = [line for line in said if not line.startswith("chosen automatically: ")]
    assert len(said) == len(lines) + 1
    assert lines[0].startswith("tiny-depth, ")
    assert lines[1].startswith("computed by eager in float32")
    assert "millimetres (certain)" in lines[2]
    table = [line for line in lines[4:] if not line.startswith("wrote ")]
    rows = summary["branches"]["fused"]
    assert len(table) == len(rows)
    for line, row in zip(table, rows):
        assert line.startswith(row["name"])
        assert f"{row['share']:.1%}" in line
        assert line.endswith(f"{row['confidence']:.2f}")
    written = [Path(line.removeprefix("wrote ")) for line in lines if line.startswith("wrote ")]
    assert sorted(written) == sorted((tmp_path / "out").iterdir())
    assert len(written) == 9
    labels = Image.open(tmp_path / "out" / "labels_fused.png")
    assert labels.size == (90, 60)
    assert {row["index"] for row in rows} == set(np.unique(np.asarray(labels)).tolist())


def test_predict_writes_points_in_space(built_in, files, tmp_path):
    rgb, x = files
    words = ("predict", "--rgb", rgb, "--x", x, "--model", "tiny-depth", "--ply")
    result = run(*words, "--out", tmp_path / "out", "--unit", "mm", "--intrinsics", 80, 81, 40, 30)
    assert result.exit_code == 0, result.output
    assert "points.ply" in result.output
    data = (tmp_path / "out" / "points.ply").read_bytes()
    assert b"comment camera fx 80 fy 81 cx 40 cy 30 width 90 height 60\ncomment camera given\n" in data
    result = run(
        "predict", "--rgb", rgb, "--no-x", "--model", "tiny-depth", "--ply", "--out", tmp_path / "no"
    )
    assert result.exit_code == 2
    assert "points in space need depth" in result.stderr
    assert not (tmp_path / "no").exists()  # refused before anything is written


def test_predict_takes_a_file_and_a_short_side(folder, files, tmp_path):
    rgb, x = files
    model = folder / "tiny-depth.safetensors"
    result = run("predict", "--rgb", rgb, "--x", x, "--out", tmp_path, "--model", model, "--short-side", 96)
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "prediction.json").read_text())
    assert summary["network_size"] == {"height": 96, "width": 160}


@pytest.mark.usefixtures("built_in")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--rgb": "absent.png"}, "absent.png: there is no such file"),
        ({"--x": "absent.png"}, "absent.png: there is no such file"),
        ({"--x": __file__}, "test_cli.py: this is "),
        ({"--model": "nothing"}, "no model or file 'nothing'. Built-in models: plain, tiny-depth"),
        ({"--unit": "yards"}, "depth unit 'yards': choose auto or one of"),
        ({"--short-side": "8"}, "short_side is 8; the network needs at least 32"),
        ({"--device": "abacus"}, "device 'abacus' cannot be used here"),
        ({"--device": "cuda:77"}, "device 'cuda:77' cannot be used here"),
        ({"--out": __file__}, "is a file; give a folder"),
    ],
)
def test_predict_refuses_with_one_message(files, tmp_path, changes, message):
    rgb, x = files
    options = {"--rgb": rgb, "--x": x, "--out": tmp_path / "out", **changes}
    result = run("predict", *(part for option in options.items() for part in option))
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--x", "b.png"), "the RGB images: give one of --rgb, --rgb-dir, --pairs; found none of them"),
        (("--rgb", "a", "--rgb-dir", "b"), "found --rgb and --rgb-dir"),
        (("--rgb", "a.png"), "X: give one of --x, --no-x, --estimate-depth; found none of them"),
        (("--rgb", "a.png", "--x", "b.png", "--no-x"), "found --x and --no-x"),
        (("--rgb", "a.png", "--no-x", "--estimate-depth"), "found --no-x and --estimate-depth"),
        (("--rgb", "a.png", "--x-dir", "b"), "--x-dir: these RGB images need --x"),
        (("--rgb-dir", "a", "--x", "b"), "--x: these RGB images need --x-dir"),
        (("--rgb-dir", "a"), "X: give one of --x-dir, --no-x, --estimate-depth; found none"),
        (("--rgb", "a.png", "--no-x", "--depth-model", "m"), "--depth-model: needs --estimate-depth"),
        (("--rgb-dir", "nowhere", "--no-x"), "the folder nowhere does not exist"),
        (("--rgb", "a.png", "--x", "b.png", "--range", 3, 2), "value_range (3.0, 2.0): give the lower"),
    ],
)
def test_predict_says_which_flags_belong_together(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run("predict", "--out", "out", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("built_in")
def test_warnings_go_to_stderr_and_several_files_make_one_x(files, tmp_path):
    rgb, x = files
    command = ("predict", "--rgb", rgb, "--model", "tiny-depth", "--out", tmp_path / "out")
    result = run(*command, "--x", x, "--modality", "thermal")
    assert result.exit_code == 0, result.output
    warnings = [line for line in result.stderr.splitlines() if line.startswith("Warning: ")]
    summary = json.loads((tmp_path / "out" / "prediction.json").read_text())
    assert warnings == [f"Warning: {text}" for text in summary["warnings"]]
    assert "thermal" in warnings[0]
    assert "Warning" not in result.stdout
    result = run(*command, *(part for _ in range(3) for part in ("--x", x)))
    assert result.exit_code == 2
    assert "3 files as X" in result.stderr


def test_progress_has_a_line_that_is_written_over_on_a_terminal_only():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal, file = Terminal(), io.StringIO()
    for stream in (terminal, file):
        progress = Progress(stream, "" if stream is terminal else "process 1 of 2: ")
        progress.start(20)
        for number in range(1, 21):
            failed = {"status": "failed", "name": "seven", "error": "is cut off"}
            progress.count(failed if number == 7 else {"status": "done"})
        progress.close()
    assert terminal.getvalue().count("\n") == 2
    assert "\rfailed: seven: is cut off\n" in terminal.getvalue()
    assert re.search(r"100%\|.*20/20 .*1 failed\]\n$", terminal.getvalue())
    first, failure, last = file.getvalue().splitlines()
    assert re.match(r"process 1 of 2: +0%\|", first)
    assert failure == "process 1 of 2: failed: seven: is cut off"
    assert re.match(r"process 1 of 2: 100%\|.*20/20 .*1 failed\]", last)


def test_progress_without_a_terminal_has_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr("ktb.cli.progress.EVERY_SECONDS", 0.05)
    file = io.StringIO()
    progress = Progress(file, unit="frame")
    progress.start(None)
    for _ in range(3):
        time.sleep(0.06)
        progress.count({"status": "done"})
    progress.close()
    counted = [line.split("frame")[0] for line in file.getvalue().splitlines()]
    assert counted == ["0", "1", "2", "3", "3"]


@pytest.mark.usefixtures("built_in")
def test_models_has_a_line_for_each(folder):
    result = run("models")
    assert result.exit_code == 0, result.output
    plain, tiny = result.stdout.splitlines()
    parameters = sum(p.numel() for p in tiny_model("swin").parameters())
    for part in (
        "tiny-depth  pst900  depth  5 classes",
        f"{parameters:,} parameters",
        "mIoU 43.7",
        "(default)",
    ):
        assert part in tiny
    assert "mIoU not measured" in plain
    assert "(default)" not in plain


def test_models_without_any(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "BUILT_IN_FOLDER", tmp_path)
    result = run("models")
    assert result.exit_code == 0
    assert "No model is built in" in result.stdout


@pytest.mark.usefixtures("built_in")
@pytest.mark.parametrize("by", ["name", "file"])
def test_info_shows_configuration_and_card(folder, by):
    result = run("info", "tiny-depth" if by == "name" else folder / "tiny-depth.safetensors")
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    parameters = sum(p.numel() for p in tiny_model("swin").parameters())
    trainable = sum(p.numel() for _, p in tiny_model("swin").trainable_parameters())
    for line in (
        "name tiny-depth",
        "dataset pst900, 5 classes",
        "feature widths 16, 32, 64, 128",
        "depths 2, 2, 2, 2",
        "window 4",
        "DSCF groups G 1, 2, 2, 4",
        "head widths 16 fused, 8 rgb, 8 x",
        f"parameters {parameters:,}, of which {trainable:,} trainable",
        "encoding: depth",
        "short_side: 64",
        "class names background, fire extinguisher, backpack, hand drill, survivor",
        "data: five made-up frames",
        "commands: train it, score it",
        "miou: 43.78",
        "background: 90.1235",
        "survivor: none",
        "attention: level 0 entropy 0.5",
        "model: none",
    ):
        assert line in lines, line


def test_info_of_the_lite_backbone_and_of_damaged_files(tmp_path):
    save_model(tmp_path / "lite.safetensors", tiny_model("lite"), {})
    result = run("info", tmp_path / "lite.safetensors")
    assert "tf_efficientnet_lite0" in result.stdout
    assert "card              none" in result.stdout
    data = (tmp_path / "lite.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:-1000])
    result = run("info", tmp_path / "cut.safetensors")
    assert result.exit_code == 2
    assert "cut.safetensors cannot be read as a safetensors file" in result.stderr
    assert result.stdout == ""


def test_errors_that_are_not_the_users_are_not_hidden(monkeypatch):
    monkeypatch.setattr(registry, "resolve", lambda name, **_: 1 / 0)
    result = run("info", "anything")
    assert isinstance(result.exception, ZeroDivisionError)
