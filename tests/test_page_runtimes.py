"""The page on other runtimes: the same masks, points and weights as PyTorch's, in a real browser."""

from __future__ import annotations

import numpy as np
import pytest
from pairs import synthetic_pair, write_pair
from test_inspector import DETAILS, assert_as_trace, choose, inspect, shown
from test_model import stirred, tiny_model
from test_page import MASK, WAIT, browser, pixels, upload  # noqa: F401 (a fixture among them)

from app.service import Service
from app.ui import build_page, launch_options
from ktb import Predictor, load_model, save_model
from ktb.runtime.export import PACKAGES


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_model(path, stirred(tiny_model("swin")), {})
    return path


@pytest.fixture(params=["openvino", "onnx"])
def page(request, checkpoint, browser, tmp_path, monkeypatch):  # noqa: F811
    for package in PACKAGES[request.param]:
        pytest.importorskip(package)
    monkeypatch.setenv("KTB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    served = build_page(Service([str(checkpoint)], request.param))
    _, address, _ = served.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
    tab = browser.new_page(viewport={"width": 1400, "height": 1000})
    tab.set_default_timeout(2 * WAIT)  # the first run exports the graph
    tab.goto(address, wait_until="domcontentloaded")
    tab.runtime = request.param
    yield tab
    tab.close()
    served.close()


def test_the_page_shows_what_pytorch_says(page, checkpoint, tmp_path):
    upload(page, *write_pair(tmp_path))
    page.click("#ktb-run")
    page.wait_for_selector(MASK)
    assert page.runtime in page.inner_text(".ktb-footer").lower()
    expected = Predictor(load_model(checkpoint), runtime="eager")(*synthetic_pair())
    assert len(np.unique(expected.labels["fused"])) > 1
    same = (pixels(page, MASK) == expected.colors()).all(axis=-1)
    assert same.mean() > 0.999  # ties may fall to the other side
    page.get_by_role("tab", name="Fusion", exact=True).click()
    page.wait_for_selector("#ktb-pane-photo img")
    inspect(page, 0.31, 0.62)
    assert_as_trace(page, expected)
    choose(page, level=1, head="1")
    assert (shown(page)["level"], shown(page)["head"]) == ("1", "1")
    assert_as_trace(page, expected)
    assert page.locator(DETAILS).count() == 1
