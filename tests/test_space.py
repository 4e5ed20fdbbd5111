"""The repository is a Space: its head, what is uploaded, and the page that starts from just that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from unittest.mock import create_autospec

import httpx
import pytest
import yaml
from browsing import MASK, WAIT
from huggingface_hub import HfApi, SpaceHardware
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled
from packaging.requirements import Requirement
from space_server import NO_HOME, Server, running, space_variables
from typer.testing import CliRunner

from app import space
from ktb import __version__

ROOT = Path(__file__).resolve().parents[1]
HEAD = yaml.safe_load((ROOT / "README.md").read_text(encoding="utf-8").split("---\n")[1])
HUB = "https://huggingface.co/spaces/my-lab/ktb"
NO_RELOADING = re.compile(r"Exception in thread .*? required to run hot-reloading in Spaces\n", re.DOTALL)
"""What Gradio prints in a Space without the package `spaces`, which is in every real one."""
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def requirements(text: str) -> dict[str, Requirement]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {found.name: found for found in map(Requirement, filter(None, lines))}


OURS = requirements((ROOT / "requirements.txt").read_text())


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """What is uploaded."""
    folder = tmp_path_factory.mktemp("space") / "tree"
    space.build(folder)
    return folder


def paths(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_head_of_the_readme_is_what_spaces_read():
    assert {"title", "emoji", "sdk", "license", "short_description", "tags"} <= set(HEAD)
    assert (HEAD["sdk"], HEAD["license"]) == ("gradio", "apache-2.0")
    assert HEAD["sdk_version"] in OURS["gradio"].specifier
    assert HEAD["python_version"] in ("3.12.12", "3.10.13")  # those of ZeroGPU
    assert (ROOT / HEAD["app_file"]).is_file()
    assert len(HEAD["short_description"]) <= 60
    assert {HEAD["colorFrom"], HEAD["colorTo"]} <= COLOURS
    assert SpaceHardware(HEAD["suggested_hardware"])


def test_packages_are_names_that_apt_takes():
    lines = (ROOT / "packages.txt").read_text().splitlines()
    assert lines  # Spaces hand them to apt as they are: no comment may stand there
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", line) for line in lines)


def test_the_tree_holds_the_page_and_nothing_else(tree):
    found = paths(tree)
    assert {"app.py", "README.md", "LICENSE", "requirements.txt", "packages.txt", "app/save.js"} <= found
    assert {path.split("/")[0] for path in found} == {
        "app.py", "README.md", "LICENSE", "requirements.txt", "packages.txt", "app", "ktb", "assets", "docs",
    }  # fmt: skip
    assert {path.split("/")[1] for path in found if path.startswith("assets/")} <= {
        "checkpoints", "examples", "figures",
    }  # fmt: skip
    assert not [path for path in found if "__pycache__" in path or path.endswith((".pyc", ".pyi"))]


def test_the_tree_holds_all_code_that_is_committed(tree):
    listed = subprocess.run(["git", "ls-files", *space.CODE], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("this is no git checkout")
    committed = {name for name in listed.stdout.split() if (ROOT / name).is_file()}
    assert committed
    assert committed <= paths(tree)


def test_nothing_that_git_ignores_is_in_the_tree(tree):
    names = "\n".join(sorted(paths(tree)))
    ignored = subprocess.run(
        ["git", "check-ignore", "--stdin"], cwd=ROOT, input=names, capture_output=True, text=True
    )
    if ignored.returncode > 1:
        pytest.skip("this is no git checkout")
    assert not ignored.stdout


def test_zero_gpu_gets_a_torch_that_it_knows_and_all_else_stays(tree):
    built = requirements((tree / "requirements.txt").read_text())
    assert built.keys() == OURS.keys()
    assert {name for name in OURS if built[name] != OURS[name]} == {"torch"}
    assert "2.8.0" in built["torch"].specifier
    assert "2.11.0" in built["torch"].specifier
    assert "2.12.0" not in built["torch"].specifier
    assert space._for_zero_gpu("torch>=2.8  # why\n") == "torch>=2.8,<2.12  # why\n"


def test_links_and_pictures_of_the_documents_are_in_the_tree(tree):
    documents = list(tree.rglob("*.md"))
    assert len(documents) > 5
    for document in documents:
        text = document.read_text(encoding="utf-8")
        targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)[^)]*\)", text)
        for target in targets + re.findall(r'src="([^":]+)"', text):
            assert (document.parent / target).is_file(), f"{document.name}: {target}"
    assert (tree / "README.md").read_text().startswith("---\ntitle:")


def test_a_dry_run_lists_every_file_and_uploads_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(space, "upload", lambda *_: pytest.fail("it was uploaded"))
    out = tmp_path / "out"
    result = CliRunner().invoke(space.cli, ["push", "my-lab/ktb", "--dry-run", "--out", str(out)])
    assert result.exit_code == 0, result.output
    rows = re.findall(r"^ *([\d,]+)  (\S+)(  \(through Xet\))?$", result.output, re.MULTILINE)
    sizes = {name: int(size.replace(",", "")) for size, name, _ in rows}
    assert sizes == {name: (out / name).stat().st_size for name in paths(out)}
    assert {name for _, name, large in rows if large} == {name for name in sizes if sizes[name] > 10_000_000}
    assert f"{sum(sizes.values()):,}  bytes in {len(sizes)} files" in result.output
    assert "Nothing was uploaded" in result.output


@pytest.mark.parametrize("name", ["ktb", "a/b/c", "my lab/ktb", "../ktb", ""])
def test_a_name_that_is_none_is_refused(name):
    result = CliRunner().invoke(space.cli, ["push", name, "--dry-run"])
    assert result.exit_code == 2
    assert "is no name of a Space; give ORG/NAME" in result.output


def test_a_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(ValueError, match="is not empty"):
        space.build(tmp_path)


def test_more_than_the_hub_keeps_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(space, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"would hold [\d,]+ bytes; the hub takes 1,000"):
        space.build(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def hub(monkeypatch):
    """The hub's client with its signatures, which sends nothing."""
    client = create_autospec(HfApi, instance=True)
    client.create_repo.return_value = "https://huggingface.co/spaces/my-lab/ktb"
    monkeypatch.setattr("huggingface_hub.HfApi", lambda token: client)
    return client


def test_a_push_makes_a_gradio_space_and_replaces_its_files(hub):
    sent = []
    hub.upload_folder.side_effect = lambda **given: sent.append((paths(given["folder_path"]), given))
    result = CliRunner().invoke(space.cli, ["push", "my-lab/ktb", "--private", "--hardware", "zero-a10g"])
    assert result.exit_code == 0, result.output
    assert "Uploaded: https://huggingface.co/spaces/my-lab/ktb" in result.output
    made = hub.create_repo.call_args
    assert made.args == ("my-lab/ktb",)
    assert made.kwargs == {
        "repo_type": "space", "space_sdk": "gradio", "space_hardware": "zero-a10g", "exist_ok": True,
        "private": True,
    }  # fmt: skip
    ((files, given),) = sent
    assert {"app.py", "README.md", "ktb/model.py"} <= files
    assert (given["repo_id"], given["repo_type"], given["delete_patterns"]) == ("my-lab/ktb", "space", "*")


def answered(status: int) -> HfHubHTTPError:
    request = httpx.Request("POST", "https://huggingface.co/api/repos/create")
    return HfHubHTTPError("what the hub said", response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (LocalTokenNotFoundError("none"), "there is no token. Make one with write access"),
        (answered(401), "the token is not valid .* what the hub said"),
        (answered(402), "needs a paid plan"),
        (answered(403), "may not write to my-lab/ktb"),
        (answered(404), "there is no my-lab, or the token does not see it"),
        (answered(500), "the hub refuses it. The hub says: what the hub said"),
        (httpx.ConnectError("no route"), "cannot be reached .no route."),
        (OfflineModeIsEnabled("off"), "cannot be reached .off.. Look at the network and HF_HUB_OFFLINE"),
    ],
)
def test_what_the_hub_refuses_is_told_with_its_remedy(hub, tmp_path, error, message):
    hub.create_repo.side_effect = error
    with pytest.raises(ValueError, match=message):
        space.upload(tmp_path, "my-lab/ktb")
    hub.upload_folder.assert_not_called()


@pytest.fixture(scope="module")
def server(tree, tmp_path_factory):
    """The tree's page in a process that finds nothing of this checkout, with a Space's variables."""
    with running(tree, tmp_path_factory.mktemp("server"), sys.executable, KTB_RUNTIME="eager") as server:
        yield server


def test_the_process_finds_the_tree_and_nothing_of_the_checkout(tree, tmp_path):
    code = (
        "import app, ktb; from importlib.util import find_spec as find; "
        "print(app.__file__, ktb.__file__, *map(find, ('training', 'conftest', 'test_page')))"
    )
    command = [sys.executable, "-c", code]
    environment = space_variables(tmp_path, 0)
    said = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
    assert said.stdout.split() == [f"{tree}/app/__init__.py", f"{tree}/ktb/__init__.py", *["None"] * 3]


def test_the_space_runs_an_example_within_the_hub_s_page(server: Server, browser):
    context = browser.new_context(
        viewport={"width": 1400, "height": 1000},
        permissions=["local-network-access"],  # of the hub's page, because this Space runs here
    )
    tab = context.new_page()
    tab.set_default_timeout(WAIT)
    foreign = []
    local = (server.address, HUB, "data:", "blob:")
    tab.on("request", lambda request: request.url.startswith(local) or foreign.append(request.url))
    shown = f'<iframe src="{server.address}" width="1380" height="980"></iframe>'  # as the hub shows a Space
    tab.route(HUB, lambda route: route.fulfill(content_type="text/html", body=shown))
    tab.goto(HUB)
    page = tab.frame_locator("iframe")
    page.locator("#ktb-examples button.thumbnail-item").first.click()
    page.locator(MASK).wait_for()
    assert "ktb-lite-nyuv2-depth" in page.locator("#ktb-foot").inner_text()
    assert "on cpu, eager float32" in page.locator("#ktb-foot").inner_text()
    context.close()
    assert foreign == []


def test_it_says_that_it_is_well(server: Server):
    answer = httpx.get(f"{server.address}/healthz")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert isinstance(found.pop("warm"), bool)
    assert set(found.pop("models").values()) <= {"loaded", "on disk"}
    assert found == {"status": "ok", "version": __version__}
    assert httpx.head(f"{server.address}/healthz").status_code == httpx.codes.OK
    assert httpx.get(server.address).status_code == httpx.codes.OK  # the page is where it was


def test_without_a_home_caches_lie_in_the_temporary_folder_and_nobody_warns(server: Server, tree):
    from gradio_client import Client, handle_file

    examples = tree / "assets" / "examples"
    client = Client(server.address, verbose=False)
    figure = client.predict(
        handle_file(str(examples / "office_rgb.png")),
        [handle_file(str(examples / "office_depth.png"))],
        "ktb-lite-nyuv2-depth",
        "png",  # drawn by matplotlib, which caches fonts
        api_name="/export",
    )
    client.close()
    assert figure["mime"] == "image/png"
    log = NO_RELOADING.sub("", server.log.read_text())
    caches = server.temporary / f"ktb-{os.getuid()}"
    assert f"cannot be written: caches lie in {caches}." in log
    assert not re.findall(r"(?i)^.*\b(?:warning|traceback|error)\b.*$", log, re.MULTILINE)
    assert list(caches.glob("fontlist-*.json"))
    assert not Path(NO_HOME).exists()
    assert not [path for path in tree.rglob("*") if "__pycache__" in path.parts or ".gradio" in path.parts]
