"""docs/deployment.md keeps its word: its commands, its container and its figures are those of the code."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from app.service import Service
from app.spaces import zero_gpu
from app.web import own_routes
from ktb import __version__
from ktb.inputs.limits import MAX_FILE_BYTES
from ktb.video.computing import MAX_BATCH_BYTES

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines()]
(CONTAINER,) = blocks("dockerfile")
STEPS = re.findall(r"^([A-Z]+) (.*)$", CONTAINER.replace("\\\n", " "), re.MULTILINE)


@pytest.fixture(scope="module")
def flags() -> set[str]:
    """All that `app.py` takes."""
    patch = pytest.MonkeyPatch()
    said: list[str] = []
    patch.setattr(sys, "argv", ["app.py", "--help"])
    patch.setattr("argparse.ArgumentParser._print_message", lambda _, message, file: said.append(message))
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
    patch.undo()
    return set(re.findall(r"--[\w-]+", "".join(said)))


def test_the_commands_run_or_parse(flags):
    (start,) = map(shlex.split, COMMANDS)
    assert start[:2] == ["python", "app.py"]
    assert {word for word in start if word.startswith("--")} <= flags


def test_the_container_copies_what_is_there_and_starts_what_is_there(flags):
    copied = [name for step, rest in STEPS if step == "COPY" for name in rest.split()[:-1]]
    assert all((ROOT / name).exists() for name in copied)
    assert set(copied) >= {"app.py", "app", "ktb", "assets", "requirements.txt", "packages.txt"}
    assert not {"tests", "training"} & set(copied)
    said = dict(STEPS)
    command = json.loads(said["CMD"])
    assert (ROOT / command[1]).is_file()
    assert {word for word in command if word.startswith("--")} <= flags
    assert command[-1] == said["EXPOSE"]
    assert f"http://127.0.0.1:{said['EXPOSE']}{own_routes.PATH}'" in said["HEALTHCHECK"]
    assert "packages.txt" in CONTAINER


def test_the_proxy_takes_the_path_away_and_lets_uploads_through():
    (proxy,) = blocks("nginx")
    assert re.search(r"location (/\w+)/ {", proxy)[1] == re.search(r"GRADIO_ROOT_PATH=(/\w+)", TEXT)[1]
    assert re.search(r"proxy_pass http://\S+/;", proxy)
    assert f"client_max_body_size {MAX_FILE_BYTES >> 20}m;" in proxy


def test_the_answer_of_the_health_check_has_these_keys():
    (said,) = map(json.loads, blocks("json"))
    assert set(said) == {"status", "version", "models", "warm"}
    assert said["version"] == __version__
    assert set(said["models"]) <= set(Service().models)


def test_seconds_and_sizes_are_those_of_the_code():
    image = np.broadcast_to(np.float32(0), (1, 3, 384, 512))
    least = zero_gpu.seconds_of_run(image)
    assert f"asks for {least} to {zero_gpu.MAX_SECONDS} seconds" in TEXT
    assert zero_gpu.seconds_of_attribution(image) == least
    assert f"{zero_gpu.START_SECONDS} for the start" in TEXT
    assert zero_gpu.MARGIN == 2
    limits = f"as fit {zero_gpu.MAX_SECONDS_OF_FRAMES} seconds, {zero_gpu.MAX_FRAMES} at most"
    assert limits in " ".join(TEXT.split())
    assert f"at most {MAX_BATCH_BYTES >> 20} MiB of images" in TEXT
    assert zero_gpu.SECONDS_OF_A_PASS >= 0.0485
