"""The documents keep their word: snippets run, commands work, every modality and encoder is described."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from ktb.__main__ import app
from ktb.config import Encoding, Modality
from ktb.modalities import limits

ROOT = Path(__file__).resolve().parents[1]
INPUTS = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.usefixtures("one_thread")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def fresh_folder(tmp_path, monkeypatch):
    """An empty working folder beside nothing but the project's assets."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMANDS = [
    line.split("  #")[0] for text in blocks(INPUTS, "bash") for line in text.splitlines() if line.strip()
]


def test_the_commands_are_found():
    assert len(COMMANDS) >= 4
    assert all(command.startswith("python -m ktb ") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_run_and_write(command, fresh_folder):
    words = shlex.split(command)[3:]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert (fresh_folder / words[words.index("--out") + 1]).exists()


def test_snippet_runs_and_gives_what_its_comments_say(fresh_folder):
    (snippet,) = blocks(INPUTS, "python")
    names: dict = {}
    exec(compile(snippet, "inputs.md", "exec"), names)
    said = re.search(r'facts\["range"\]\s+# "(.*)"', snippet).group(1)
    assert names["reading"].facts["range"] == said
    assert names["alone"].x.origin == "missing"


def test_every_modality_and_encoder_is_described():
    named = set(re.findall(r"`(\w+)`", INPUTS))
    assert set(get_args(Encoding)) <= named
    table = INPUTS.split("## What is made of it")[1].lower()
    words = {"hha": "hha", "event": "events", "nir": "nir", "dolp": "dolp", "aolp": "aolp", "lidar": "lidar"}
    assert all(words.get(modality, modality) in table for modality in get_args(Modality))


def test_limits_are_those_of_the_code():
    section = INPUTS.split("## Limits")[1]
    assert f"{limits.MAX_PIXELS // 10**6} million pixels" in section
    assert f"sides of {limits.MIN_SIDE} to {limits.MAX_SIDE:,}" in section
    assert f"files of {limits.MAX_FILE_BYTES >> 20} MiB" in section
    assert f"{limits.MAX_EVENTS // 10**6} million events" in section
