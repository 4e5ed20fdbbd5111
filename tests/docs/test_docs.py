"""The documents say what is there: figures, tables, limits, names, links. (Their snippets: test_snippets.)"""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest
import typer
from helpers.page.api_calls import left
from helpers.snippets import LOCAL, blocks, documents, follow, needing_the_page, read
from PIL import Image

from app.api.serialize import BRIEF_ROWS
from app.api.video import MAX_VIDEO_BYTES
from app.server.answer_files import AnswerLimits
from ktb import built_in_models
from ktb.__main__ import app
from ktb.batch import prefetch
from ktb.checkpoints.metadata import parameter_count, read_header
from ktb.checkpoints.official import our_name
from ktb.config import Encoding, Modality
from ktb.inference import preprocess
from ktb.inference.runtimes import RuntimeName
from ktb.inference.runtimes.graph_cache import MAX_BYTES
from ktb.inputs import limits
from ktb.labels import DATASETS
from ktb.modeling import tiling
from ktb.utils.distributed import Rank
from ktb.utils.text import rounded_down
from training.recipes import RECIPES

ROOT = Path(__file__).resolve().parents[2]
README, INPUTS, API, INSPECTOR, METHOD, MANY, SPEED = (
    read(name)
    for name in (
        "README.md",
        *(f"docs/{page}.md" for page in ("inputs", "api", "inspector", "method", "large_and_many", "speed")),
    )
)
HTTP = API.split("\n# HTTP\n")[1]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def fresh_folder(tmp_path, monkeypatch):
    """An empty working folder beside nothing but the project's assets."""
    (tmp_path / "assets").symlink_to(ROOT / "assets")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_modality_and_encoder_is_described():
    named = set(re.findall(r"`(\w+)`", INPUTS))
    assert set(get_args(Encoding)) <= named
    table = INPUTS.split("## Encoders")[1].lower()
    words = {"hha": "hha", "event": "events", "nir": "nir", "dolp": "dolp", "aolp": "aolp", "lidar": "lidar"}
    assert all(words.get(modality, modality) in table for modality in get_args(Modality))


def test_limits_are_those_of_the_code():
    section = INPUTS.split("## Limits")[1]
    assert f"{limits.MAX_PIXELS // 10**6} million pixels" in section
    assert f"sides of {limits.MIN_SIDE} to {limits.MAX_SIDE:,}" in section
    assert f"files of {limits.MAX_FILE_BYTES >> 20} MiB" in section
    assert f"{limits.MAX_EVENTS // 10**6} million events" in section


@pytest.mark.parametrize("document", [document for document in documents() if needing_the_page(document)])
def test_snippets_that_call_the_page_run(document, fresh_folder, address, uploads):
    texts = [snippet.text.replace(LOCAL, address) for snippet in needing_the_page(document)]
    before = set(left(uploads))
    assert follow(texts, document) > 8
    kept = {path for path in left(uploads) if "answers" not in path.parts}  # linked: for ten minutes
    assert not kept - before, "a call left a file"


def test_the_example_with_curl_runs(fresh_folder, address):
    (script,) = (text for text in blocks(HTTP, "bash") if "curl" in text)
    script = script.replace(LOCAL, address.rstrip("/"))
    ended = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert Image.open("overlay.png").size == (640, 480)


def test_the_lifetime_of_links_is_that_of_the_code():
    limits, section = AnswerLimits(), HTTP.split("## Files of an answer")[1].split("## Endpoints")[0]
    assert limits.seconds == 600
    assert "lives for ten minutes" in section
    assert f"at most {limits.address_bytes >> 20} MiB" in section
    assert f"all together {limits.total_bytes >> 30} GiB" in section
    assert f"the {BRIEF_ROWS} largest classes" in section


def test_the_chapter_on_http_begins_with_the_page():
    assert LOCAL in blocks(HTTP, "python")[0]


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


@pytest.mark.parametrize("name", documents())
def test_links_lead_somewhere(name):
    file = ROOT / name
    text = read(name)
    places = re.findall(r"\]\((?!https?://)([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for target in places:
        path, _, place = target.partition("#")
        linked = file.parent / path if path else file
        assert linked.exists(), f"{name} links {target}"
        if place:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert place in {anchor(head) for head in heads}, f"{name} links {target}"


@pytest.mark.parametrize("name", documents())
def test_files_that_a_document_names_are_there(name):
    text = read(name)
    made = set(re.findall(r"<!-- file: (\S+) -->", text))
    folders = "ktb|app|training|tools|tests|docs"
    named = set(re.findall(rf"(?<![\w/.-])((?:{folders})/[\w./-]+\.\w+)", text))
    assert not sorted(path for path in named - made if not (ROOT / path).exists())


def anchor(head: str) -> str:
    """What a heading is called in a link, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", head.lower()).strip().replace(" ", "-")


def test_what_the_guide_names_is_on_the_page():
    layout = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
    tabs = re.findall(r'gr\.Tab\("([^"]+)"', layout)
    chapter = INSPECTOR.split("## The tabs")[1].split("\n## ")[0]
    assert set(re.findall(r"^### (.*)$", chapter, re.MULTILINE)) == set(tabs)
    said = " ".join(chapter.lower().split())
    strings = (ROOT / "ktb/outputs/viewer/strings.js").read_text(encoding="utf-8")
    viewer = re.search(r"export const MAPS = \{(.*?)\n\};", strings, re.DOTALL)[1]
    titles = re.findall(r'^  \w+: \["([^"]+)"', viewer, re.MULTILINE)
    assert len(titles) == 8
    for title in titles:
        assert title.lower() in said, title


def test_limits_of_the_api_are_those_of_the_code():
    section = HTTP.split("## Limits")[1].split("## Security")[0]
    assert f"{limits.MAX_FILE_BYTES >> 20} MiB" in section
    assert f"{limits.MAX_SEQUENCE_FRAMES:,} frames" in section
    assert f"{limits.MAX_SEQUENCE_PIXELS // 10**9} billion pixels" in section
    assert f"{limits.MAX_SEQUENCE_MEMBERS:,} members" in section
    assert f"up to {MAX_VIDEO_BYTES >> 20} MiB" in section


def cells(table: str) -> list[list[str]]:
    """The rows of a table below its head, without backticks."""
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in row] for row in rows[2:]]


def test_our_figures_are_those_of_the_cards():
    section = README.split("### Measured by us")[1].split("### ")[0]
    rows = {re.search(r"\[(.*?)\]", row[0])[1]: row[2:] for row in cells(section)}
    labelled = {n: path for n, path in built_in_models().items() if "figures" in read_header(path)[1]}
    assert rows.keys() == labelled.keys()
    for name, path in labelled.items():
        figures = read_header(path)[1]["figures"]
        expected = [figures[branch]["miou"] for branch in ("fused", "rgb", "x")]
        expected.append(figures["fused"]["pixel_accuracy"])
        assert rows[name] == [rounded_down(figure) for figure in expected], name
        assert f"{parameter_count(path) / 1e6:.1f} M parameters" in section
        assert f"{path.stat().st_size / 1e6:.1f} MB" in section


def test_published_figures_are_those_of_the_recipes_and_stand_apart():
    section = README.split("### Published by the authors, not measured by us")[1].split("\n## ")[0]
    names = {
        "NYU Depth V2": "nyuv2",
        "SUN RGB-D": "sunrgbd",
        "MFNet": "mfnet",
        "PST900": "pst900",
        "MCubeS": "mcubes",
        "DELIVER (on val)": "deliver",
    }
    ends = {"near infrared": "nir", "degree of polarization": "dolp", "angle of polarization": "aolp"}
    found = {}
    for title, x, classes, base, large in cells(section):
        dataset = names[title]
        assert int(classes) == DATASETS[dataset].num_classes
        end = {"mcubes": f"-{ends.get(x)}", "deliver": "-event"}.get(dataset, "")
        for size, figure in (("b", base), ("l", large)):
            if figure != "–":
                found[f"{dataset}-swin-{size}{end}"] = float(figure)
    assert found == {name: recipe.published for name, recipe in RECIPES.items() if recipe.published}
    assert len(found) == 12


def expanded(template: str) -> list[str]:
    """All names of a template such as `a.{b,c}`."""
    parts = re.split(r"\{(.*?)\}", template)
    return ["".join(chosen) for chosen in itertools.product(*(part.split(",") for part in parts))]


def test_the_names_of_tensors_are_those_of_the_import():
    rows = cells(METHOD.split("## Names of the tensors")[1])
    assert len(rows) > 15
    for _, ours, released in rows:
        pairs = zip(expanded(ours), expanded(released), strict=True)
        for name, official in pairs:
            ends = (
                [""]
                if name.rpartition(".")[2].startswith(("gamma", "beta", "alpha", "iota", "bias_table"))
                else [".weight"]
            )
            for end in ends:
                assert our_name(official + end) == name + end


def test_every_command_is_described():
    text = " ".join(read(name) for name in documents() if name.startswith(("docs/", "README")))
    for name in typer.main.get_command(app).commands:
        assert re.search(rf"`(python -m ktb )?{name}\b|python -m ktb {name}\b", text), name


def test_figures_of_large_and_many_are_those_of_the_code():
    from helpers.models import MAX_DIFFERENT

    assert f"tiles of {tiling.DEFAULT_TILE} pixels" in MANY
    assert preprocess.MAX_NETWORK_PIXELS == 3840 * 2176
    assert "3840 × 2176" in MANY
    assert f"{MAX_DIFFERENT:.1%}".replace("%", " %") in MANY
    assert prefetch.MAX_WAITING_BYTES == 2**30
    assert Rank(1, 4).share(range(12)) == range(1, 12, 4)


def test_every_runtime_is_in_the_table():
    table = SPEED.split("| runtime |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(get_args(RuntimeName)) - {"auto"}
    assert f"{MAX_BYTES >> 30} GiB at most" in SPEED
