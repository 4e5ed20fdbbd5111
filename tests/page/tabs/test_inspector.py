"""The first tab: the viewer gets a run's bundle once; only ablations and attributions ask the server."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import gradio as gr
import httpx
import numpy as np
import pytest
from helpers.embedded import small_predictor, small_service
from helpers.inspections import assert_as_trace, click_image, drag
from helpers.page.browsing import (
    MASK,
    VIEWER,
    new_tab,
    replace_files,
    run,
    show_layer,
    shown_array,
    shown_run,
    wait_for_ablations,
    wait_for_run,
    watched_tab,
)
from helpers.page.served import serving
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image

from app.context import Context
from app.tabs.inspect import Inspect, RegionQuestion
from app.viewer import ViewerFiles
from app.widgets.examples import examples
from ktb import read_x
from ktb.analysis import attribute_prediction
from ktb.analysis.comparison import region_effect
from ktb.analysis.describe import describe_attribution, describe_region
from ktb.analysis.targets import target_at
from ktb.inference.region import region_mask
from ktb.outputs.embed import viewer_files

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = "ktb-lite-nyuv2-depth"
PIXEL = f"{VIEWER}.state.pixel"
RECTANGLE = f"{VIEWER}.region.rectangle"
ANEW = f"""state => {{ const viewer = {VIEWER}; viewer.panes.reset(); viewer.highlight(null);
  viewer.region.turn(false); viewer.region.change(null); viewer.set(state); }}"""


@pytest.fixture(scope="module")
def opened(context, address):
    """One page for the tests of a run; `before` is what its first tab holds before the first one."""
    with watched_tab(context, address) as tab:
        tab.before = tab.inner_text("#ktb-slot-inspect"), tab.locator(MASK).count()
        tab.has_pair = False  # a test that leaves another run says so, too
        yield tab


@pytest.fixture
def inspected(opened, address, tmp_path):
    """The page with the pair's run and its ablations, as after its first run."""
    if not opened.has_pair:
        replace_files(opened, address, *write_pair(tmp_path))
        run(opened)
        wait_for_ablations(opened)
        opened.start = opened.evaluate(f"({{...{VIEWER}.state}})")
        opened.has_pair = True
    opened.evaluate(ANEW, opened.start)
    return opened


@pytest.fixture
def ran(opened, request):
    """The page with a run of any images."""
    has_run = opened.url != "about:blank" and shown_run(opened)
    return opened if has_run else request.getfixturevalue("inspected")


def test_the_viewer_shows_the_run_and_asks_the_server_nothing(inspected, expected):
    assert np.array_equal(shown_array(inspected), expected.labels["fused"])
    asked = []
    inspected.on("request", count := lambda request: asked.append(request.url))
    click_image(inspected, 0.403, 0.503)
    assert "x 80, y 48" in inspected.inner_text(".ktb-v-card")
    assert_as_trace(inspected, expected)
    for label, options in (("Overlay", ("map.balance", "labels.x")), ("Level", ("0", "2"))):
        for option in options:
            inspected.get_by_label(label, exact=True).select_option(option)
    inspected.mouse.wheel(0, -300)
    inspected.keyboard.press("ArrowDown")
    inspected.get_by_role("button", name="Swap", exact=True).click()
    assert inspected.inner_text("#ktb-slot-inspect figcaption >> nth=0").startswith("X:")
    inspected.locator(".ktb-v-classes button").first.hover()
    inspected.locator(".ktb-v-sensors").get_by_label("X", exact=True).uncheck()
    inspected.remove_listener("request", count)
    assert asked == []
    assert inspected.foreign_requests == []


def test_ablations_are_those_of_python_and_the_pixel_stays_for_the_same_images(inspected, expected):
    without = {
        drop: small_predictor(MODEL)(*synthetic_pair(), trace=False, drop=drop) for drop in ("x", "rgb")
    }
    changed = np.argwhere(without["x"].labels["fused"] != expected.labels["fused"])
    pixel = changed[len(changed) // 2].tolist()
    for again in (False, True):
        if again:
            show_layer(inspected, pixel=pixel, overlay="labels.without_x")
            run(inspected)
            inspected.locator(".ktb-v").get_by_role("button", name="Switch each sensor off").click()
            inspected.wait_for_function(f"{VIEWER}.header.ablated.length === 2")
            assert inspected.evaluate(PIXEL) == pixel
        for drop, other in without.items():
            assert np.array_equal(shown_array(inspected, f"labels.without_{drop}"), other.labels["fused"])
    name = expected.classes[without["x"].labels["fused"][tuple(pixel)]]
    assert f"Without depth this pixel becomes {name}." in inspected.inner_text(".ktb-v-headline")


def test_a_sensor_is_ablated_in_a_region_that_is_drawn(inspected, expected):
    page = inspected
    page.get_by_role("button", name="Region", exact=True).click()
    asked = []
    page.on("request", count := lambda request: asked.append(request.url))
    drag(page, (0.75, 0.9), (0.25, 0.4), pane="x")
    left, top, right, bottom = page.evaluate(RECTANGLE)
    np.testing.assert_allclose((left, top, right, bottom), (64, 30, 144, 90), atol=1)
    assert page.evaluate(f"{VIEWER}.panes.centre") == [0.5, 0.5]
    assert f"Region: x {left} to {right - 1}, y {top} to {bottom - 1}" in page.inner_text(".ktb-v-region")
    assert asked == []
    page.remove_listener("request", count)
    for drop, name in (("x", "X"), ("rgb", "RGB")):
        region = (left, top, right, bottom)
        page.get_by_role("button", name=f"Without {name} here").click()
        page.wait_for_function(f"{VIEWER}.header.region?.drop === '{drop}'")
        without = small_predictor(MODEL)(*synthetic_pair(), trace=False, drop=drop, region=region)
        assert np.array_equal(shown_array(page, "layer.region"), without.labels["fused"])
        found = region_effect(expected, without, region_mask(region, (120, 160)), drop)
        assert page.inner_text(".ktb-v-found") == describe_region(found)
        assert page.evaluate(f"{VIEWER}.state.overlay") == "layer.region"
    click_image(page, 0.503, 0.503)  # a click still chooses a pixel
    row, column = page.evaluate(PIXEL)
    page.keyboard.press("Enter")
    assert page.evaluate(RECTANGLE) == [column - 20, row - 15, column + 20, row + 15]
    assert page.locator(".ktb-v-found").count() == 0  # the answer was about another rectangle
    page.keyboard.press("Escape")
    assert page.evaluate(RECTANGLE) is None
    assert page.evaluate(PIXEL) == [row, column]


UNREADABLE = "the question about a region is not readable. Draw the region again."
NOT_A_REGION = "four fractions from 0 to 1, left < right and top < bottom, and the sensor rgb or x. Draw the"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", UNREADABLE),
        (None, UNREADABLE),
        ("[]", UNREADABLE),
        ('{"rectangle": [0, 0, 1], "drop": "x"}', UNREADABLE),
        ('{"rectangle": [0, 0, 1, 1]}', UNREADABLE),
        ('{"rectangle": [0, 0, NaN, 1], "drop": "x"}', NOT_A_REGION),
        ('{"rectangle": [0, 0, Infinity, 1], "drop": "x"}', NOT_A_REGION),
        ('{"rectangle": [-0.1, 0, 1, 1], "drop": "x"}', NOT_A_REGION),
        ('{"rectangle": [0, 0, 1, 2], "drop": "rgb"}', NOT_A_REGION),
        ('{"rectangle": [0.5, 0, 0.5, 1], "drop": "x"}', NOT_A_REGION),
        ('{"rectangle": [0.9, 0, 0.1, 1], "drop": "x"}', NOT_A_REGION),
        ('{"rectangle": [0, 0.9, 1, 0.1], "drop": "x"}', NOT_A_REGION),
        ('{"rectangle": [0, 0, 1, 1], "drop": "both"}', NOT_A_REGION),
        ('{"rectangle": [0, 0, 1, 1], "drop": []}', NOT_A_REGION),
    ],
)
def test_other_questions_about_a_region_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        RegionQuestion.read(text)


def handlers(result) -> Inspect:
    """The tab's handlers for a session with this result."""
    store = SimpleNamespace(result=lambda session: result)
    return Inspect(Context(small_service(), store, ViewerFiles(None), None, ()))


def test_a_question_about_a_region_needs_a_run_and_an_x(result):
    asked = '{"rectangle": [0, 0, 0.5, 0.5], "drop": "x"}'
    with pytest.raises(gr.Error, match=r"there is no result to start from\. Run a pair first"):
        handlers(None).ablate_region(gr.Request(session_hash="a"), asked, progress=print)
    without = dataclasses.replace(result.prediction.x, origin="missing")
    alone = dataclasses.replace(result, prediction=dataclasses.replace(result.prediction, x=without))
    with pytest.raises(gr.Error, match=r"nothing to ablate\. Upload an X and run the pair"):
        handlers(alone).ablate_region(gr.Request(session_hash="a"), asked, progress=print)
    with pytest.raises(gr.Error, match="Draw the region again"):
        handlers(result).ablate_region(gr.Request(session_hash="a"), "[]", progress=print)


def test_a_region_has_at_least_one_pixel():
    assert RegionQuestion((0.999, 0.999, 1.0, 1.0), "x").in_image((120, 160)) == (159, 119, 160, 120)
    assert RegionQuestion((0.25, 0.5, 0.75, 1.0), "x").in_image((120, 160)) == (40, 60, 120, 120)


@pytest.mark.parametrize("about", ["pixel", "region", "class"])
def test_an_attribution_is_as_in_python(inspected, expected, about):
    show_layer(inspected, pixel=[72, 64])
    inspected.get_by_label("Ask about").select_option(about)
    inspected.get_by_role("button", name="What did it react to?").click()
    inspected.wait_for_function(f"{VIEWER}.state.overlay === 'layer.attribution'")
    target = target_at(expected.labels["fused"], (72, 64), about)
    wanted = attribute_prediction(small_predictor(MODEL), synthetic_pair()[0], expected.x, target)
    for sensor in ("rgb", "x"):
        found = shown_array(inspected, f"layer.attribution.{sensor}")
        np.testing.assert_allclose(found, getattr(wanted, sensor), rtol=1e-3, atol=1e-4)
    answer = inspected.inner_text(".ktb-v-answer")
    assert f"What this {about} reacts to" in answer
    assert describe_attribution(wanted, "X") in answer
    if about != "pixel":
        area = target.region if about == "region" else expected.labels["fused"] == target.class_index
        assert f"{area.sum():,} pixels" in answer
    show_layer(inspected, pixel=[10, 10])
    assert inspected.locator(".ktb-v-answer").count() == 0  # it is of the other pixel


def test_a_page_opens_on_the_finished_run_of_the_first_example(context, own_uploads):
    first = examples()[0]
    with serving(small_service(), own_uploads, opens_on_example=True, ablates=True) as page:
        tab = new_tab(context, page.local_url)
        wait_for_run(tab)
        assert tab.evaluate(f"{VIEWER}.header.ablated.length") == 2
        photo = np.asarray(Image.open(first.rgb).convert("RGB"))
        wanted = small_predictor(MODEL)(photo, read_x(first.x))
        assert np.array_equal(shown_array(tab), wanted.labels["fused"])
        tab.wait_for_selector("#ktb-foot .ktb-footer")
        click_image(tab, 0.5, 0.5)
        tab.get_by_role("button", name="What did it react to?").click()  # the session has the run
        tab.wait_for_function(f"{VIEWER}.state.overlay === 'layer.attribution'")
        before = shown_run(tab)
        tab.click("#ktb-run")
        wait_for_run(tab, before)
        tab.wait_for_function(f"{VIEWER}.header.ablated.length === 2")  # they follow by themselves
        tab.close()


def test_a_page_without_an_opening_has_a_hint(opened):
    text, masks = opened.before
    assert "Nothing to inspect yet" in text
    assert masks == 0


def test_other_images_begin_with_a_pixel_of_their_own(inspected, tmp_path):
    photo, _ = synthetic_pair()
    page, inspected.has_pair = inspected, False
    show_layer(page, pixel=[3, 4])
    page.evaluate(f"{VIEWER}.region.change([1, 2, 3, 4])")
    Image.fromarray(photo[:, ::-1]).save(tmp_path / "mirrored.png")
    page.set_input_files("#ktb-rgb input[type=file]", str(tmp_path / "mirrored.png"))
    page.wait_for_selector("#ktb-rgb img[src*=mirrored]")
    said = page.locator(".ktb-v-doubts >> text=The inputs have changed: this is still the run")
    said.wait_for()
    run(page)
    assert said.count() == 0
    assert page.evaluate(PIXEL) != [3, 4]
    assert page.evaluate(RECTANGLE) is None


def test_a_bundle_is_served_to_its_session_only_while_it_lasts(ran):
    url = ran.evaluate("performance.getEntriesByType('resource').map((e) => e.name)"
                       ".find((name) => name.includes('run.safetensors.gz'))")  # fmt: skip
    assert httpx.get(url).status_code == 200  # the secret is in its address
    assert httpx.get(f"{url[: url.rindex('/')]}/other.gz").status_code in (403, 404)
    ran.has_pair = False
    ran.goto("about:blank")
    for _ in range(100):
        if httpx.get(url).status_code in (403, 404):
            break
        ran.wait_for_timeout(200)
    assert httpx.get(url).status_code in (403, 404)


def test_only_the_viewers_modules_are_served(address):
    answer = httpx.get(f"{address.rstrip('/')}/viewer/viewer.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    style = httpx.get(f"{address.rstrip('/')}/viewer/viewer.css")
    assert style.headers["content-type"].startswith("text/css")
    for name in viewer_files(".js"):
        assert httpx.get(f"{address.rstrip('/')}/viewer/{name}").status_code == 200, name
    for name in ("other.js", "viewer.py", "..%2fbundle.py", "..%2f..%2f__init__.js"):
        assert httpx.get(f"{address.rstrip('/')}/viewer/{name}").status_code == 404
