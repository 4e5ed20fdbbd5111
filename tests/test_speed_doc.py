"""docs/speed.md: its commands parse, its runtimes and limits are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest
import typer

from ktb.__main__ import app
from ktb.runtime import RuntimeName
from ktb.runtime.cache import MAX_BYTES

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
SHELL = "\n".join(re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)).replace("\\\n", " ")
SPANS = [span for span in re.findall(r"`([^`]+)`", TEXT) if span.startswith("python -m ktb ")]
COMMANDS = [shlex.split(line)[3:] for line in [*SHELL.splitlines(), *SPANS] if line]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_parses(arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    command, *flags = arguments
    parsers = typer.main.get_command(app).commands
    parsers[command].make_context(command, flags)  # unknown flags and values end it


def test_every_runtime_is_in_the_table():
    table = TEXT.split("| runtime |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(get_args(RuntimeName)) - {"auto"}
    assert f"{MAX_BYTES >> 30} GiB at most" in TEXT
