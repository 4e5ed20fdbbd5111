"""Fixtures of the tests of outputs: one run, and the viewer of a bundle in a browser, without a server."""

from __future__ import annotations

import base64
from contextlib import contextmanager
from functools import partial
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


@contextmanager
def opened_tab(browser, width: int = 1400, **options):
    """A tab for the viewer; `errors` are those of its scripts. `options` are those of a browser context."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)

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


def show_in(tab, bundle, actions=()):
    """Show a bundle in a tab; returns the tab, whose `add(bundle)` adds another one."""
    tab.goto(ADDRESS)
    tab.evaluate(SHOW, [_text(bundle), list(actions)])
    tab.add = lambda other: tab.evaluate(ADD, _text(other))
    return tab


@pytest.fixture(scope="module")
def viewer_tab(browser):
    """A tab for the viewer on a desktop."""
    with opened_tab(browser) as tab:
        yield tab


@pytest.fixture
def viewed(viewer_tab):
    """`show_in` the tab of a desktop, as a function (bundle, actions)."""
    yield partial(show_in, viewer_tab)
    assert viewer_tab.errors == []


@pytest.fixture
def touched(browser):
    """`show_in` a tab of a phone, as a function (bundle, actions)."""
    with opened_tab(browser, 390, has_touch=True, is_mobile=True) as tab:
        yield partial(show_in, tab)
        assert tab.errors == []


def _text(bundle) -> str:
    return base64.b64encode(bundle.to_bytes()).decode()
