"""Fixtures of the tests of outputs: one run, and the viewer of a bundle in a browser, without a server."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from helpers.pairs import synthetic_pair

import ktb.outputs
from ktb import Predictor, load_model

VIEWER_FOLDER = Path(ktb.outputs.__file__).parent / "viewer"
TYPES = {".js": "text/javascript", ".css": "text/css"}
ADDRESS = "http://viewer.test/"
PAGE = """<!DOCTYPE html><html><head><link rel="stylesheet" href="viewer.css"></head>
<body style="margin:8px"><div class="ktb-v"></div></body></html>"""
SHOW = """async ([data, actions]) => {
  const { show } = await import('/viewer.js'), { readBundle } = await import('/bundle.js');
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  window.asked = [];
  const root = document.querySelector('.ktb-v');
  for (const name of ['ktb-ask', 'ktb-measure']) {
    root.addEventListener(name, (event) => asked.push([name, event.detail]));
  }
  show(root, readBundle(bytes.buffer), actions);
}"""
ADD = """async (data) => {
  const { readBundle } = await import('/bundle.js');
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  document.querySelector('.ktb-v').ktbViewer.add(readBundle(bytes.buffer));
}"""


@pytest.fixture(scope="module")
def predictor():
    """The predictor of the embedded depth model, at its own size."""
    return Predictor(load_model("ktb-lite-nyuv2-depth"))


@pytest.fixture(scope="module")
def pair():
    """The synthetic pair."""
    return synthetic_pair()


@pytest.fixture(scope="module")
def prediction(predictor, pair):
    """The prediction of the pair."""
    return predictor(*pair)


@pytest.fixture(scope="module")
def ablated(predictor, pair):
    """The predictions of the pair with a sensor ablated."""
    return {drop: predictor(*pair, trace=False, drop=drop) for drop in ("x", "rgb")}


@pytest.fixture(scope="module")
def viewer_tab(browser):
    """A tab for the viewer; `errors` are those of its scripts."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})

    def answer(route):
        name = route.request.url.removeprefix(ADDRESS)
        if not name:
            return route.fulfill(body=PAGE, content_type="text/html")
        path = VIEWER_FOLDER / name
        return route.fulfill(path=path, content_type=TYPES[path.suffix])

    context.route(f"{ADDRESS}**", answer)
    tab = context.new_page()
    tab.errors = []
    tab.on("pageerror", lambda error: tab.errors.append(error))
    yield tab
    context.close()


@pytest.fixture
def viewed(viewer_tab):
    """A function (bundle, actions) → the tab, which shows the bundle; `add(bundle)` adds another one."""

    def show(bundle, actions=()):
        viewer_tab.goto(ADDRESS)
        viewer_tab.evaluate(SHOW, [_text(bundle), list(actions)])
        viewer_tab.add = lambda other: viewer_tab.evaluate(ADD, _text(other))
        return viewer_tab

    yield show
    assert viewer_tab.errors == []


def _text(bundle) -> str:
    return base64.b64encode(bundle.to_bytes()).decode()
