"""The documents keep their word: snippets run, commands work, every modality and encoder is described."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from app.api_sequence import MAX_VIDEO_BYTES
from app.panels import maps
from app.service import Service
from app.turns import SharedPredictor
from app.ui import build_page, launch_options
from ktb.__main__ import app
from ktb.config import Encoding, Modality
from ktb.modalities import limits

ROOT = Path(__file__).resolve().parents[1]
INPUTS, API, INSPECTOR = (
    (ROOT / name).read_text(encoding="utf-8")
    for name in ("docs/inputs.md", "docs/api.md", "docs/inspector.md")
)
PYTHON, HTTP = API.split("\n# HTTP\n")
LOCAL = "http://127.0.0.1:7860"  # where the documents' server listens

pytestmark = pytest.mark.usefixtures("one_thread")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def follow(snippets: list[str], document: str) -> int:
    """Run snippets that continue each other; all arrows (`code  # → value`) must hold; gives their number."""
    names: dict[str, Any] = {}
    held = 0
    for snippet in snippets:
        exec(compile(snippet, document, "exec"), names)
        for code, said in re.findall(r"^(\S.*?) +# → (.*)$", snippet, re.MULTILINE):
            found = eval(code, names)
            assert as_said(found, said), f"{document}: {code} is {found!r}, not {said}"
            held += 1
    assert held == "".join(snippets).count("# →"), "an arrow does not follow an expression on its line"
    return held


def as_said(value: Any, said: str) -> bool:
    """Whether a value is what a document says, numbers to the digits that it gives."""
    digits = max((len(part) for part in re.findall(r"\d\.(\d+)", said)), default=0)
    expected = ast.literal_eval(said)
    if digits:
        return value == pytest.approx(expected, abs=0.75 * 10**-digits)
    return value == expected


class QuickService(Service):
    """A service whose networks see small pictures: what HTTP answers is compared in test_api.py."""

    def predictor(self, model):
        found = super().predictor(model)
        assert isinstance(found, SharedPredictor)
        found.short_side = 64
        return found


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("server_uploads")


@pytest.fixture(scope="module")
def address(uploads):
    environment = pytest.MonkeyPatch()
    environment.setenv("GRADIO_TEMP_DIR", str(uploads))
    page = build_page(QuickService())
    _, url, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield url
    page.close()
    environment.undo()


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


def test_the_python_api_does_what_the_snippets_say(fresh_folder):
    assert follow(blocks(PYTHON, "python"), "api.md") > 20


def test_the_worked_example_of_the_guide_has_these_numbers(fresh_folder):
    assert follow(blocks(INSPECTOR, "python"), "inspector.md") == 2


def test_the_http_api_does_what_the_snippets_say(fresh_folder, address, uploads):
    snippets = [snippet.replace(LOCAL, address) for snippet in blocks(HTTP, "python")]
    assert address in snippets[0]
    assert follow(snippets, "api.md over HTTP") > 8
    assert not [path for path in uploads.rglob("*") if path.is_file()], "a call left a file"


def test_every_endpoint_and_parameter_is_described(address):
    from gradio_client import Client

    table = HTTP.split("## Endpoints")[1].split("All of them")[0]
    everywhere, each = table.split("| endpoint |")
    client = Client(address, verbose=False)
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    client.close()
    common = set(re.findall(r"^\| `(\w+)`", everywhere, re.MULTILINE))
    rows = dict(re.findall(r"^\| `(/\w+)` \|(.*)$", each, re.MULTILINE))
    assert set(rows) == set(endpoints)
    for name, endpoint in endpoints.items():
        for parameter in {one["parameter_name"] for one in endpoint["parameters"]} - common:
            assert f"`{parameter}`" in rows[name], f"{name} takes {parameter}"


@pytest.mark.parametrize(
    "name",
    ["README.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md")))],
)
def test_links_lead_somewhere(name):
    file = ROOT / name
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", file.read_text(encoding="utf-8")):
        path, _, place = target.partition("#")
        linked = file.parent / path if path else file
        assert linked.exists(), f"{name} links {target}"
        if place:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in {anchor(head) for head in heads}, f"{name} links {target}"


def anchor(head: str) -> str:
    """What a heading is called in a link, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-")


def test_what_the_guide_names_is_on_the_page():
    layout = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
    tabs = re.findall(r'gr\.Tab\("([^"]+)"', layout)
    chapter = INSPECTOR.split("## The tabs")[1].split("\n## ")[0]
    assert set(re.findall(r"^### (.*)$", chapter, re.MULTILINE)) == set(tabs)
    said = " ".join(chapter.lower().split())
    for title in [kind.title for kind in maps.KINDS.values()] + ["Modality weight of points", "Offsets"]:
        assert title.lower() in said, title


def test_limits_of_the_api_are_those_of_the_code():
    section = HTTP.split("## Limits")[1].split("## Security")[0]
    assert f"{limits.MAX_FILE_BYTES >> 20} MiB" in section
    assert f"{limits.MAX_SEQUENCE_FRAMES:,} frames" in section
    assert f"{limits.MAX_SEQUENCE_PIXELS // 10**9} billion pixels" in section
    assert f"{limits.MAX_SEQUENCE_MEMBERS:,} members" in section
    assert f"up to {MAX_VIDEO_BYTES >> 20} MiB" in section
