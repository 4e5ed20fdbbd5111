"""docs/large_and_many.md keeps its word: its commands run, and its figures are those of the code."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from test_batch import run
from test_tiling import MAX_DIFFERENT

from ktb import preparing, read_ahead, tiling
from ktb.ranks import Rank
from ktb.shared_journal import RESULTS

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "large_and_many.md").read_text(encoding="utf-8")
COMMANDS = [line for part in TEXT.split("```bash\n")[1:] for line in part.split("```")[0].splitlines()]

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_commands_run_one_after_the_other(tmp_path, monkeypatch):
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) == 3
    outputs = []
    for command in COMMANDS:
        assert command.startswith("python -m ktb ")
        result = run(*shlex.split(command)[3:])
        assert result.exit_code == 0, result.output
        outputs.append(result.stdout)
    assert json.loads((tmp_path / "tiled/prediction.json").read_text())["network_size"]["height"] == 288
    assert "4 done, 0 failed" in outputs[1]
    assert "0 done, 4 were done before" in outputs[2]
    assert len((tmp_path / "many" / RESULTS).read_text().splitlines()) == 4


def test_the_figures_are_those_of_the_code():
    assert f"tiles of {tiling.DEFAULT_TILE} pixels" in TEXT
    assert preparing.MAX_NETWORK_PIXELS == 3840 * 2176
    assert "3840 × 2176" in TEXT
    assert f"{MAX_DIFFERENT:.1%}".replace("%", " %") in TEXT
    assert read_ahead.MAX_WAITING_BYTES == 2**30
    assert Rank(1, 4).share(range(12)) == range(1, 12, 4)
