"""The repository is a Space: its head, the commands that upload it, and the page that starts from them."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import timm
import yaml
from huggingface_hub import HfApi, SpaceHardware
from huggingface_hub.utils import filter_repo_objects
from packaging.requirements import Requirement

from ktb import __version__
from ktb.inputs import depth_estimation

ROOT = Path(__file__).resolve().parents[3]
HEAD = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1])
DEPLOYMENT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
CLONE, PIN, NAME_IT, UPLOAD = re.search(
    r"^(git clone .*)\n(sed .*)\n(sed .*)\n(hf upload .*)\n", DEPLOYMENT.replace("\\\n", " "), re.MULTILINE
).groups()
DOCUMENTED_HARDWARE = {"cpu-basic", "cpu-upgrade", "t4-small", "t4-medium", "l4x1", "l4x4", "a10g-small"}
"""Flavours of the hub's reference of a Space's head; ZeroGPU has none there."""
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
NO_HOME = "/proc/nowhere"
"""A home folder that cannot be made or written, not even by root."""
START_SECONDS = 180.0
FIXED = ("PATH", "LANG", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "OPENBLAS_")


def requirements(text: str) -> dict[str, Requirement]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {found.name: found for found in map(Requirement, filter(None, lines))}


OURS = requirements((ROOT / "requirements.txt").read_text())


@pytest.fixture(scope="module")
def uploads():
    """What `hf upload` is asked to upload by the documented command."""
    asked = []
    patch = pytest.MonkeyPatch()
    patch.setattr(HfApi, "create_repo", lambda self, **given: asked.append(given) or self)
    patch.setattr(HfApi, "repo_id", "my-lab/ktb", raising=False)
    patch.setattr(HfApi, "upload_folder", lambda self, **given: asked.append(given) or "address")
    from huggingface_hub.cli.hf import app

    try:
        app(shlex.split(UPLOAD)[1:], standalone_mode=False)
    finally:
        patch.undo()
    return asked


@pytest.fixture(scope="module")
def tree(tmp_path_factory, uploads) -> Path:
    """The files of the Space, made by the documented commands."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    clone = tmp_path_factory.mktemp("space")
    clone_command, _, _ = CLONE.partition(" . ")
    subprocess.run([*shlex.split(clone_command), "-q", str(ROOT), str(clone)], check=True)
    for command in (PIN, NAME_IT):
        subprocess.run(shlex.split(command), cwd=clone, check=True)
    given = uploads[1]
    files = [path.relative_to(clone).as_posix() for path in clone.rglob("*") if path.is_file()]
    kept = set(filter_repo_objects(files, ignore_patterns=[*given["ignore_patterns"], ".git/*"]))
    for name in files:
        if name not in kept:
            (clone / name).unlink()
    return clone


def test_the_head_of_the_readme_is_what_spaces_read():
    assert {"title", "emoji", "sdk", "license", "short_description", "tags"} <= set(HEAD)
    assert (HEAD["sdk"], HEAD["license"]) == ("gradio", "apache-2.0")
    assert HEAD["sdk_version"] in OURS["gradio"].specifier
    assert HEAD["python_version"] in ("3.12.12", "3.10.13")  # those of ZeroGPU
    assert (ROOT / HEAD["app_file"]).is_file()
    assert len(HEAD["short_description"]) <= 60
    assert {HEAD["colorFrom"], HEAD["colorTo"]} <= COLOURS
    assert SpaceHardware(HEAD["suggested_hardware"])
    assert HEAD["suggested_hardware"] in DOCUMENTED_HARDWARE


def test_the_card_names_the_models_of_the_code():
    assert {depth_estimation.METRIC, depth_estimation.RELATIVE} < set(HEAD["models"])
    assert timm.get_pretrained_cfg("tf_efficientnet_lite0").hf_hub_id in HEAD["models"]


def test_the_thumbnail_is_a_file_of_the_space_and_absent_before_the_space_is_named(tree):
    assert "thumbnail" not in HEAD
    head = yaml.safe_load((tree / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    name = re.search(r"hf upload (\S+)", UPLOAD)[1]
    start = f"https://huggingface.co/spaces/{name}/resolve/main/"
    assert head.pop("thumbnail").startswith(start)
    assert head == HEAD
    assert (tree / "assets/figures/page_pixel.png").is_file()


def test_the_readme_links_the_page_of_the_paper():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(
        r"\[\*Keep the Balance\*\]\(https://openaccess\.thecvf\.com/content/CVPR2025/html/Cai_", text
    )


def test_packages_are_names_that_apt_takes():
    lines = (ROOT / "packages.txt").read_text().splitlines()
    assert lines  # Spaces hand them to apt as they are: no comment may stand there
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", line) for line in lines)


def test_the_upload_makes_a_gradio_space_and_replaces_its_files(uploads):
    made, given = uploads
    assert (made["repo_type"], made["space_sdk"], made["exist_ok"]) == ("space", "gradio", True)
    assert (given["repo_type"], given["delete_patterns"]) == ("space", ["*"])
    assert given["folder_path"] == "."


def test_the_space_holds_the_page_and_neither_tests_nor_training(tree):
    top = {path.name for path in tree.iterdir() if path.is_file() or any(path.rglob("*.*"))} - {".git"}
    assert {"app.py", "README.md", "LICENSE", "requirements.txt", "packages.txt", "app", "ktb"} <= top
    assert not top & {"tests", "training", "tools", ".ci"}
    committed = subprocess.run(
        ["git", "ls-files", "app", "ktb", "assets/checkpoints"], cwd=tree, capture_output=True, text=True
    )
    assert all((tree / name).is_file() for name in committed.stdout.split())


def test_zero_gpu_gets_a_torch_that_it_knows_and_all_else_stays(tree):
    built = requirements((tree / "requirements.txt").read_text())
    assert built.keys() == OURS.keys()
    assert {name for name in OURS if built[name] != OURS[name]} == {"torch"}
    assert "2.10.0" in built["torch"].specifier
    assert "2.11.0" in built["torch"].specifier
    assert "2.12.0" not in built["torch"].specifier


def test_the_page_starts_from_it_without_a_home(tree, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name.startswith(FIXED)} | {
        "HOME": NO_HOME,
        "TMPDIR": str(tmp_path),
        "SYSTEM": "spaces",
        "SPACE_ID": "my-lab/ktb",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "GRADIO_SERVER_PORT": str(port),
        "KTB_RUNTIME": "eager",
    }
    log = tmp_path / "log.txt"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=tree, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        answer = when_it_answers(f"http://127.0.0.1:{port}/healthz", process)
    finally:
        process.terminate()
        process.wait(20)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert isinstance(found.pop("warm"), bool)
    assert set(found.pop("models").values()) <= {"loaded", "on disk"}
    assert found == {"status": "ok", "version": __version__}
    caches = tmp_path / f"ktb-{os.getuid()}"
    assert f"The home folder is read-only: caches are in {caches}." in log.read_text()
    assert not Path(NO_HOME).exists()


def when_it_answers(address: str, process: subprocess.Popen) -> httpx.Response:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            return httpx.get(address)
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail("the Space did not start")
