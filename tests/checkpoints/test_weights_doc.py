"""docs/weights.md keeps its word: its snippets run against servers here, its names are those of the code."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from helpers.hubs import Gdown, official
from helpers.snippets import blocks, follow
from typer.testing import CliRunner

from app.service import Service
from ktb.__main__ import app
from ktb.checkpoints.remote.limits import DEFAULT_GIGABYTES, SIZE_VARIABLE
from ktb.utils.cache import CACHE_VARIABLE, OFFLINE_VARIABLES

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
COMMANDS = [line.split("  #")[0].strip() for text in blocks(TEXT, "bash") for line in text.splitlines()]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """A folder as a browser leaves it, a Drive with the same files, and the project's assets beside."""
    folder = tmp_path / "work" / "Downloads"
    folder.mkdir(parents=True)
    torch.save(official("pst900"), folder / "pst900_best.pth")
    (tmp_path / "work" / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setitem(sys.modules, "gdown", Gdown(folder))


@pytest.mark.usefixtures("hub", "zoo", "downloads")
def test_the_snippets_run():
    pushes = [command for command in COMMANDS if " push " in command]
    assert len(pushes) == 2
    run_all(pushes)
    run_all([command for command in COMMANDS if " push " not in command])
    assert follow(blocks(TEXT, "python"), "weights.md") == 5


def run_all(commands: list[str]) -> None:
    for command in commands:
        words = shlex.split(command)
        if words[:2] == ["python", "app.py"]:
            assert Service([words[words.index("--model") + 1]]).models[0] == "ktb-depth"
            continue
        assert words[:3] == ["python", "-m", "ktb"]
        result = CliRunner().invoke(app, words[3:])
        assert result.exit_code == 0, f"{command}\n{result.output}"


def test_variables_and_limits_are_those_of_the_code():
    table = TEXT.split("| variable |")[1].split("\n\n")[0]
    for name in (CACHE_VARIABLE, SIZE_VARIABLE, *OFFLINE_VARIABLES):
        assert f"`{name}" in table
    assert f"downloaded, {DEFAULT_GIGABYTES} if not set" in table
    problems = TEXT.split("| problem | behaviour |")[1].split("\n\n")[0]
    assert len(re.findall(r"^\|", problems, re.MULTILINE)) == 6
