"""Fixtures shared by all tests."""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.page.browsing import CHROMIUM, CHROMIUM_ARGS, watched_tab

if "PYTEST_XDIST_WORKER" in os.environ:  # a thread each, in processes that tests start too
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # a test of two threads must not spin on a busy core

import torch

os.environ.setdefault("KTB_RUNTIME", "eager")  # the runtimes' own tests choose others
SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with reference vectors and data beside the checkout; skips where it is absent."""
    if not (SHARED / "reference").is_dir():
        pytest.skip(f"reference vectors and data are not beside this checkout ({SHARED.name}/ is absent)")
    return SHARED


@pytest.fixture(scope="session")
def deterministic_state(shared):
    """A function (shapes by official name) → state dict filled with the reference's deterministic values."""
    spec = importlib.util.spec_from_file_location("deterministic", shared / "reference" / "deterministic.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def fill(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
        names = (n for n in shapes if not n.endswith("relative_position_index"))
        return {n: torch.as_tensor(module.fill(n, tuple(shapes[n]))) for n in names}

    return fill


@pytest.fixture(scope="session")
def official_shapes(shared):
    """A function: variant "b" or "l" → the reference's description of that official checkpoint."""

    def read(size: str) -> dict:
        return json.loads((shared / "reference" / f"official_swin_{size}_40.json").read_text())

    return read


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    """A function (name, fill) → a folder that `fill` has filled, once for all processes of this run."""
    from ktb.utils.lock import locked

    place = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = place.parent

    def make(name, fill):
        folder = place / name
        with locked(place / f"{name}.lock"):
            if not folder.exists():
                making = Path(tempfile.mkdtemp(dir=place))
                fill(making)
                making.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def small():
    """The fewest blocks, one of them shifted: exporting takes a while for each."""
    from helpers.models import stirred, tiny_swin_config

    from ktb.config import InputConfig
    from ktb.modeling.build import build_model

    config = tiny_swin_config()
    backbone = dataclasses.replace(config.backbone, depths=(2, 1, 1, 1))
    inputs = InputConfig(modality="depth", encoding="depth")
    torch.manual_seed(0)
    return stirred(build_model(dataclasses.replace(config, backbone=backbone, inputs=inputs))).eval()


@pytest.fixture(scope="session")
def exported(small, made_once):
    """A folder with small.safetensors, and in graph/ what `python -m ktb export` makes of it for ONNX."""
    pytest.importorskip("onnxscript")
    from ktb import save_model

    def export(folder):
        save_model(folder / "small.safetensors", small, {})
        command = [sys.executable, "-m", "ktb", "export", "--model", str(folder / "small.safetensors")]
        command += ["--format", "onnx", "--size", "128x160", "--out", str(folder / "graph")]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
        assert ended.returncode == 0, ended.stderr

    return made_once("exported", export)


@pytest.fixture(scope="session")
def browser():
    """Chromium, one for all tests of a process."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail("the browser tests must not skip in CI: install Debian's chromium")
        pytest.skip(f"needs Debian's chromium at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def context(browser):
    """Pages opened in it share what the browser keeps of scripts, and nothing else that the page uses."""
    shared = browser.new_context()
    yield shared
    shared.close()


@pytest.fixture(scope="session")
def uploads(tmp_path_factory):
    """Where the server at `address` keeps files."""
    return tmp_path_factory.mktemp("server_uploads")


@pytest.fixture(scope="session")
def address(uploads):
    """A server of the page with the embedded models, one for all tests of a process; it opens empty."""
    from helpers.embedded import small_service

    from app.page import build_page, launch_options

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("GRADIO_TEMP_DIR", str(uploads))
        page = build_page(small_service(), opens_on_example=False, ablates=False)
        _, url, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
        yield url  # Gradio looks at the variable at every upload
        page.close()


@pytest.fixture
def page(context, address):
    """A fresh page; what it asks of other servers is in `foreign_requests`."""
    with watched_tab(context, address) as tab:
        yield tab


@pytest.fixture(scope="module")
def one_thread():
    """Small tensors are slower on several threads, much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_collection_modifyitems(items):
    """Mark what compares bits, so that `-m bits` runs it alone."""
    for item in items:
        if "kernels" in item.fixturenames:
            item.add_marker("bits")


@pytest.fixture(
    params=itertools.product((1, 2), (True, False)),
    ids=lambda choice: f"{choice[0]} threads {'with' if choice[1] else 'without'} oneDNN",
)
def kernels(request):
    """1 and 2 threads, with and without oneDNN, for tests that compare results to the last bit.

    PyTorch chooses its kernels by processor: what holds with each of these choices depends on none. These
    tests bear the mark "bits".
    """
    threads, is_enabled = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(request.param[0])
    torch.backends.mkldnn.enabled = request.param[1]
    yield
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = is_enabled
