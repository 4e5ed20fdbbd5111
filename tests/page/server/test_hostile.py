"""Names and texts from files, as bad as they can be, in a real browser: none becomes HTML, none runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from helpers.page.browsing import WAIT
from helpers.page.served import serving
from helpers.pairs import synthetic_pair
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app.service import Service
from app.settings import Settings
from app.widgets.examples import CustomExamples
from ktb.checkpoints.load import save_model
from ktb.modeling.build import build_model, lite_config

pytestmark = pytest.mark.usefixtures("one_thread")

BAD = '"\'><img src=x onerror="window.ktbHit=1"><ktb-evil>`${window.ktbHit=2}`{{evil}}'
"""Leaves attributes, elements and templates, loads a picture, and needs no slash: file names have none."""
LINK = "[click](javascript:window.ktbHit=3) ![seen](http://127.0.0.1:9/seen.png) <b>bold</b>"
WATCH = """
window.ktbViolations = [];
document.addEventListener('securitypolicyviolation', (event) =>
  window.ktbViolations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`));
"""
INJECTED = """() => [...document.querySelectorAll('*')]
  .filter((one) => one.localName === 'ktb-evil' || one.hasAttribute('onerror') || one.src === 'x'
    || /javascript:/i.test(one.getAttribute('href') || ''))
  .map((one) => one.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("hostile")


@pytest.fixture(scope="module")
def own(folder):
    """Own data whose name, classes and files are hostile."""
    photo, depth = synthetic_pair(96, 128)
    for name, image in (("rgb", photo[..., ::-1]), ("x", depth), ("label", depth.astype(np.uint8) % 2)):
        (folder / name).mkdir()
        cv2.imwrite(str(folder / name / f"{BAD}.png"), image)
    (folder / "test.txt").write_text(f"{BAD}\n")
    told = {
        "name": BAD,
        "root": str(folder),
        "rgb": "rgb",
        "x": "x",
        "labels": "label",
        "modality": "depth",
        "unit": "mm",
        "split": {"test": "test.txt"},
        "classes": [BAD, f"{BAD}2"],
    }
    file = folder / f"{BAD}.yaml"
    file.write_text(yaml.safe_dump(told))
    return CustomExamples(file)


@pytest.fixture(scope="module")
def model(folder):
    """A checkpoint whose file, name, classes and card are hostile."""
    config = lite_config()
    config = replace(config, name=BAD, classes=tuple(f"{BAD}{i}" for i in range(len(config.classes))))
    torch.manual_seed(0)
    path = folder / f"{BAD}.safetensors"
    save_model(path, build_model(config), {BAD: BAD, "limits": LINK, "data": BAD})
    return path


@pytest.fixture(scope="module")
def address(model, own, tmp_path_factory):
    with serving(Service([str(model)]), tmp_path_factory.mktemp("server_uploads"), own=own) as page:
        yield page.local_url


@pytest.fixture
def tab(browser, address):
    page = browser.new_page(viewport={"width": 1700, "height": 1000})
    page.set_default_timeout(WAIT)
    page.add_init_script(WATCH)
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_selector("#ktb-run")
    yield page
    page.close()


def assert_nothing_ran(tab, address: str) -> None:
    assert tab.evaluate("window.ktbHit") is None
    assert tab.evaluate(INJECTED) == []
    assert tab.evaluate("window.ktbViolations") == []
    assert [text for text in tab.said if "Content Security Policy" in text or "ktbHit" in text] == []
    local = (address, "data:", "blob:")
    assert [url for url in tab.asked if not url.startswith(local)] == []


def hostile_photo(folder: Path) -> Path:
    info = PngInfo()
    for key in ("Title", "Comment", "Software"):
        info.add_text(key, BAD)
    exif = Image.Exif()
    exif[0x010E], exif[0x013B] = BAD, BAD  # description, artist
    path = folder / f"photo{BAD}.png"
    Image.fromarray(synthetic_pair(96, 128)[0]).save(path, pnginfo=info, exif=exif)
    return path


def give(tab, place: str, path: Path) -> None:
    with tab.expect_response("**/upload*"):
        tab.set_input_files(f"{place} input[type=file]", str(path))


def test_texts_from_files_stay_texts_on_every_tab(tab, address, tmp_path):
    assert_nothing_ran(tab, address)  # the gallery's captions, the warning that the model does not fit
    tab.click("#ktb-settings button")
    tab.wait_for_selector(".ktb-card >> text=bold")
    assert "![seen](http" in tab.inner_text(".ktb-card")
    give(tab, "#ktb-rgb", hostile_photo(tmp_path))
    x = tmp_path / f"x{BAD}.npz"
    np.savez(x, **{f"depth{BAD}": synthetic_pair(96, 128)[1]})
    give(tab, "#ktb-x", x)
    tab.wait_for_selector("#ktb-x-read img")
    tab.click("#ktb-run")
    tab.wait_for_selector(".ktb-v-card .ktb-v-points tr", state="attached")  # of the pixel chosen at first
    assert BAD in tab.inner_text(".ktb-v")
    assert_nothing_ran(tab, address)
    tab.click(".ktb-v-ask button")
    tab.wait_for_selector(".ktb-v-answer")
    tab.click("#ktb-x-details > button")
    tab.wait_for_selector("#ktb-x-panel .ktb-facts")
    assert BAD in tab.inner_text("#ktb-x-panel")
    assert_nothing_ran(tab, address)
    for name in ("What if", "Evaluate", "Another checkpoint", "Video", "How it works"):
        tab.get_by_role("tab", name=name).first.click()
        if name == "What if":
            tab.locator("#ktb-off label").nth(1).click()
            tab.wait_for_selector("#ktb-what-if .ktb-shown")
        elif name == "Another checkpoint":
            tab.click("#ktb-run-compare")
            tab.wait_for_selector("#ktb-compare .ktb-words, .toast-body")
        assert_nothing_ran(tab, address)


def test_messages_about_hostile_files_stay_texts(tab, address, tmp_path):
    for place, name, text in (
        ("#ktb-x", f"x{BAD}.npy", f"<script>{BAD}</script>"),
        ("#ktb-x", f"x{BAD}.csv", f"{BAD},{BAD}\n{BAD}"),
        ("#ktb-x", f"x{BAD}.zip", BAD),
    ):
        path = tmp_path / name
        path.write_text(text)
        give(tab, place, path)
        tab.wait_for_selector("#ktb-x-read .ktb-wrong")
        tab.click(f"{place} button[aria-label=Clear]")
        tab.wait_for_selector("#ktb-x-read .ktb-wrong", state="detached")
    assert_nothing_ran(tab, address)
    settings = tmp_path / f"settings{BAD}.json"
    settings.write_text(json.dumps({**Settings(BAD).to_dict(), "model": f"{BAD}no", "tab": BAD, BAD: 1}))
    with tab.expect_file_chooser() as chooser:
        tab.click("#ktb-load-settings")
    chooser.value.set_files(str(settings))
    tab.wait_for_selector(".toast-body")
    assert_nothing_ran(tab, address)
    tab.goto(f"{address}{Settings(f'{BAD}no').to_query()}", wait_until="domcontentloaded")
    tab.wait_for_selector(".toast-body")
    assert_nothing_ran(tab, address)


def test_what_is_smuggled_into_the_page_does_not_run(tab, address):
    """The last line of defence: were something not escaped, the browser would refuse to run it."""
    tab.evaluate(
        """() => { const place = document.createElement('div'); document.body.append(place);
        place.innerHTML = '<img src="data:," onerror="window.ktbHit=9">';
        const script = document.createElement('script'); script.textContent = 'window.ktbHit=10';
        place.append(script);
        const far = document.createElement('script'); far.src = 'http://127.0.0.1:9/a.js';
        place.append(far); new Image().src = 'http://127.0.0.1:9/seen.png'; }"""
    )
    tab.wait_for_function("window.ktbViolations.length >= 4")
    assert tab.evaluate("window.ktbHit") is None


def test_the_page_may_be_shown_by_itself_and_spaces_only(browser, address):
    """Under a public name, as browsers do not let public pages show what is on this machine."""
    context = browser.new_context()
    page = context.request.get(address)
    context.route("https://page.example/**", lambda route: route.abort())
    context.route("https://page.example/", lambda route: route.fulfill(response=page))
    body = "<iframe src='https://page.example/'></iframe>"
    context.route("https://*/outer", lambda route: route.fulfill(content_type="text/html", body=body))
    shown = {}
    for host in ("huggingface.co", "name.hf.space", "page.example", "evil.example"):
        outer = context.new_page()
        outer.goto(f"https://{host}/outer")
        outer.wait_for_function("frames.length === 1")
        shown[host] = outer.frames[1].query_selector("gradio-app") is not None
        outer.close()
    context.close()
    assert shown == {host: host != "evil.example" for host in shown}
