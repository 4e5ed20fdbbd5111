"""Where the page runs: home folders that cannot be written, Spaces, and whether it is well."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.panels.footer import footer
from app.server import environment as surroundings
from app.service import Service
from app.web.own_routes import HEALTH, PATH
from app.widgets.examples import examples
from ktb.inference.runtimes import select
from ktb.modeling.device import DeviceChoice

NO_WINDOWS = {"MPLBACKEND": "agg"}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """No Space, no caches named, a temporary folder of its own."""
    for name in ("SYSTEM", "SPACES_ZERO_GPU", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_home_that_can_be_written_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    environment: dict[str, str] = {}
    assert surroundings.prepare(environment) is None
    assert environment == NO_WINDOWS


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/full", "/dev/null/home"])
def test_without_a_home_caches_lie_in_a_folder_of_this_user(home, place, monkeypatch):
    monkeypatch.setenv("HOME", home)
    environment: dict[str, str] = {}
    folder = surroundings.prepare(environment)
    assert folder is not None
    assert folder.parent == place
    assert folder.stat().st_mode & 0o777 == 0o700
    assert environment == {"XDG_CACHE_HOME": str(folder), "MPLCONFIGDIR": str(folder)} | NO_WINDOWS
    assert surroundings.prepare({}) == folder  # found again after a restart


def test_a_home_of_a_read_only_disk_counts_as_none(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda *_: False)  # what the system says of one, also to root
    assert surroundings.prepare({})


def test_gradio_s_question_for_matplotlib_s_backend_imports_nothing_for_windows():
    code = (
        "import sys\n"
        "from app.server.environment import prepare\n"
        "prepare()\n"
        "from gradio.utils import MatplotlibBackendMananger\n"
        "with MatplotlibBackendMananger(): pass\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=Path(__file__).parents[3])


def test_the_page_is_there_before_torch_is_imported():
    code = (
        "import sys\n"
        "from app.service import Service\n"
        "from app.page import build_page, launch_options\n"
        "from app.web.rate_limits import RateLimit\n"
        "page = build_page(Service())\n"
        "page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options(RateLimit(0)))\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'timm', 'cv2'}))\n"
        "page.close()\n"
    )
    root = Path(__file__).parents[3]
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[0] == "['cv2']"


def test_a_start_imports_with_the_collector_paused_and_ends_with_it():
    code = (
        "import gc, runpy, sys\n"
        "runpy.run_path('app.py')\n"
        "assert gc.isenabled() and 'gradio' not in sys.modules\n"
        "from app.server.environment import collector_paused\n"
        "with collector_paused():\n"
        "    assert not gc.isenabled()\n"
        "assert gc.isenabled() and gc.get_freeze_count()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(surroundings.__file__).parents[2], check=True)


def test_what_was_chosen_stays_if_it_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nowhere")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "chosen")}
    folder = surroundings.prepare(environment)
    caches = {"XDG_CACHE_HOME": str(tmp_path / "chosen"), "MPLCONFIGDIR": str(folder)}
    assert environment == caches | NO_WINDOWS


def test_a_folder_that_somebody_else_made_is_not_used(place, monkeypatch):
    monkeypatch.setenv("HOME", "/proc/nowhere")
    (place / "elsewhere").mkdir()
    (place / f"ktb-{os.getuid()}").symlink_to(place / "elsewhere")
    folder = surroundings.prepare({})
    assert folder is not None
    assert not folder.is_symlink()
    assert folder.is_dir()
    assert not list((place / "elsewhere").iterdir())


@pytest.mark.parametrize("said", ["", "false", "0"])
def test_no_card_is_lent_elsewhere(said, monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", said)
    assert not surroundings.is_lent()
    surroundings.prepare({})
    assert "spaces" not in sys.modules


def test_no_card_is_lent_without_the_package(monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setattr(surroundings, "find_spec", lambda name: None)
    assert not surroundings.is_lent()


def test_the_page_takes_the_device_that_is_chosen_with_its_first_model(monkeypatch, one_thread):
    asked = []

    def choose(device):
        asked.append(device)
        return DeviceChoice("cpu", "It stands in for a GPU.")

    monkeypatch.setattr(select, "choose_device", choose)
    service, (pair, *_) = Service(), examples()
    assert asked == []  # choosing imports torch
    service.predictor(service.models[0]).short_side = 64
    result = service.segment(str(pair.rgb), None, service.models[0], source="none")
    assert asked == ["auto"]
    assert f"on cpu, eager float32</span><span>{service.device().why}</span>" in footer(result)


def test_a_device_that_cannot_be_used_is_refused_at_the_start():
    with pytest.raises(ValueError, match="device 'abacus' cannot be used here"):
        Service(device="abacus")


def test_health_waits_neither_for_a_run_nor_for_a_model(one_thread):
    service = Service()
    server = Starlette(routes=[HEALTH])
    server.get_blocks = lambda: SimpleNamespace(service=service)
    first, *others = service.models
    with TestClient(server) as client:
        with service._lock, service.scheduler.single():
            found = client.get(PATH).json()
        assert found["status"] == "ok"
        assert found["warm"] is False
        assert set(found["models"].values()) == {"on disk"}
        service.predictor(first).short_side = 64
        service.warm_up()
        found = client.get(PATH).json()
    assert found["warm"] is True
    assert found["models"] == {first: "loaded"} | dict.fromkeys(others, "on disk")
