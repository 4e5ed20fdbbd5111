"""The page with the runtimes of graphs: the viewer shows what the trace says, as with PyTorch."""

from __future__ import annotations

import sys
from unittest.mock import MagicMock

import pytest
from helpers.inspections import assert_as_trace, click_image
from helpers.page.browsing import new_tab, run, upload
from helpers.pairs import synthetic_pair, write_pair
from helpers.runtimes import converted, copy_of

from app.page import build_page, launch_options
from app.server import start
from app.service import Service
from ktb import Predictor, load_model
from ktb.inference.runtimes.export import PACKAGES
from ktb.inference.runtimes.onnx import ONNXRuntime
from ktb.inference.runtimes.openvino import OpenVINORuntime

RUNTIMES = {"openvino": OpenVINORuntime, "onnx": ONNXRuntime}


@pytest.fixture(scope="module", params=RUNTIMES)
def served(request, exported, tmp_path_factory):
    """A page that offers a tiny network in a runtime, the runtime's name and the file of the network."""
    name = request.param
    for package in PACKAGES[name]:
        pytest.importorskip(package)
    environment = pytest.MonkeyPatch()
    environment.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
    environment.setenv("KTB_CACHE", str(tmp_path_factory.mktemp("cache")))
    path = exported / "small.safetensors"
    export = (copy_of if name == "onnx" else converted)(exported / "graph")
    RUNTIMES[name](load_model(path), "float32", "", export=export).prepare((128, 160))
    service = Service([str(path)], runtime=name)
    environment.setattr(service, "warm_up", lambda: None)  # it would export the graph of another size
    page = build_page(service, opens_on_example=False, ablates=False)
    _, url, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield url, name, path
    page.close()
    environment.undo()


def test_a_click_names_the_points_that_the_attention_gives(context, served, tmp_path):
    address, name, path = served
    tab = new_tab(context, address)
    upload(tab, *write_pair(tmp_path))
    run(tab)
    assert f"{name} float32" in tab.inner_text("#ktb-foot .ktb-footer")
    click_image(tab, 0.4, 0.7)
    assert_as_trace(tab, Predictor(load_model(path), runtime="eager")(*synthetic_pair()))
    tab.close()


@pytest.mark.parametrize(("flags", "ablates"), [([], True), (["--no-ablations"], False)])
def test_the_command_can_leave_out_the_ablations_after_a_run(monkeypatch, flags, ablates):
    built = {}

    def build(service, own, **options):
        built.update(options)
        raise ValueError("built")

    monkeypatch.setattr(sys, "argv", ["app.py", *flags])
    monkeypatch.setattr(start, "Service", MagicMock())
    monkeypatch.setattr(start, "build_page", build)
    monkeypatch.setattr(start.logs, "configure", lambda *_: None)
    with pytest.raises(SystemExit):
        start.start(None)
    assert built == {"ablates": ablates}
