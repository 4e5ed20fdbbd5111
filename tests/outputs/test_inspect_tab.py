"""The inspect tab: the viewer gets a run's bundle once, and then asks the server nothing."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from helpers.browsing import run, upload
from helpers.embedded import small_predictor
from helpers.pairs import synthetic_pair, write_pair

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = "ktb-lite-nyuv2-depth"
VIEWER = "document.querySelector('#ktb-inspect .ktb-v').ktbViewer"


@pytest.fixture
def inspected(page, tmp_path):
    """The page with a run in its inspect tab."""
    upload(page, *write_pair(tmp_path))
    run(page)
    page.get_by_role("tab", name="Inspect").click()
    page.wait_for_function(VIEWER.replace(".ktbViewer", "?.ktbViewer"))
    return page


def test_the_viewer_shows_the_run_and_asks_the_server_nothing(inspected):
    prediction = small_predictor(MODEL)(*synthetic_pair())
    labels = inspected.evaluate(f"Array.from({VIEWER}.bundle.array('labels.fused').data)")
    assert np.array_equal(np.reshape(labels, (120, 160)), prediction.labels["fused"])
    asked = []
    inspected.on("request", lambda request: asked.append(request.url))
    picture = inspected.locator("#ktb-inspect canvas[data-pane=rgb]")
    box = picture.bounding_box()
    picture.hover(position={"x": 0.503 * box["width"], "y": 0.403 * box["height"]})
    assert "x 80, y 48" in inspected.inner_text(".ktb-v-status")
    picture.click(position={"x": 0.503 * box["width"], "y": 0.403 * box["height"]})
    name = prediction.classes[prediction.labels["fused"][48, 80]]
    assert f"predicts {name} here" in inspected.inner_text(".ktb-v-headline")
    for label, options in (("Overlay", ("map.balance", "labels.x")), ("Level", ("0", "2"))):
        for option in options:
            inspected.get_by_label(label, exact=True).select_option(option)
    inspected.mouse.wheel(0, -300)
    inspected.keyboard.press("ArrowDown")
    inspected.get_by_role("button", name="Swap images").click()
    assert inspected.inner_text("#ktb-inspect figcaption >> nth=0").startswith("X:")
    assert asked == []


def test_each_sensor_is_ablated_on_demand(inspected):
    predictor, (rgb, depth) = small_predictor(MODEL), synthetic_pair()
    picture = inspected.locator("#ktb-inspect canvas[data-pane=rgb]")
    box = picture.bounding_box()
    picture.click(position={"x": 0.503 * box["width"], "y": 0.403 * box["height"]})
    inspected.click("#ktb-inspect-ablate")
    inspected.wait_for_function(f"{VIEWER}.header.ablated.length === 2")
    headline = inspected.inner_text(".ktb-v-headline")  # the chosen pixel stays chosen
    for drop, sensor in (("x", "X"), ("rgb", "RGB")):
        ablated = predictor(rgb, depth, trace=False, drop=drop)
        name = ablated.classes[ablated.labels["fused"][48, 80]]
        assert f"Without {sensor} this pixel" in headline
        assert f"{name}." in headline
    assert not inspected.locator("#ktb-inspect-ablate").is_visible()
    inspected.get_by_label("Overlay", exact=True).select_option("labels.without_x")
    inspected.click("#ktb-run")  # the same pair again, without ablations
    inspected.wait_for_function(f"{VIEWER}.header.ablated.length === 0")
    assert inspected.evaluate(f"{VIEWER}.state.overlay") == "labels.fused"


def test_a_bundle_is_served_to_its_session_only_while_it_lasts(inspected, address):
    url = inspected.evaluate("performance.getEntriesByType('resource').map((e) => e.name)"
                             ".find((name) => name.includes('run.safetensors.gz'))")  # fmt: skip
    assert httpx.get(url).status_code == 200  # the secret is in its address
    assert httpx.get(f"{url[: url.rindex('/')]}/other.gz").status_code in (403, 404)
    inspected.goto("about:blank")
    for _ in range(100):
        if httpx.get(url).status_code in (403, 404):
            break
        inspected.wait_for_timeout(200)
    assert httpx.get(url).status_code in (403, 404)


def test_only_the_viewers_modules_are_served(address):
    answer = httpx.get(f"{address.rstrip('/')}/viewer/viewer.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    style = httpx.get(f"{address.rstrip('/')}/viewer/viewer.css")
    assert style.headers["content-type"].startswith("text/css")
    for name in ("other.js", "viewer.py", "..%2fbundle.py", "..%2f..%2f__init__.js"):
        assert httpx.get(f"{address.rstrip('/')}/viewer/{name}").status_code == 404
