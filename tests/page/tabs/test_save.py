"""Every picture of the page saved by its button: a PNG that shows what is seen and names its checkpoint."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from helpers.browsing import choose, new_tab, pixels, run, upload
from helpers.embedded import small_predictor
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image

from app.page import build_page
from app.service import Service
from ktb.analysis.comparison import difference, sensor_need
from ktb.analysis.counterfactual import Perturbation
from ktb.analysis.counterfactual import predict_perturbed as run_changed
from ktb.analysis.ground_truth import error_map

MODEL, OTHER = "ktb-lite-nyuv2-depth", "ktb-lite-nyuv2-event"
SAVE = ".ktb-save"


@pytest.fixture(scope="module")
def predictor():
    return small_predictor(MODEL)


@pytest.fixture(scope="module")
def expected(predictor):
    return predictor(*synthetic_pair())


@pytest.fixture(scope="module")
def ran(context, address, tmp_path_factory):
    """A page with the synthetic pair's run, for all tests that only look at it."""
    tab = new_tab(context, address)
    upload(tab, *write_pair(tmp_path_factory.mktemp("pair")))
    run(tab)
    yield tab
    tab.close()


def saved(tab, button) -> tuple[str, Image.Image]:
    """The name and the picture that a save button gives."""
    with tab.expect_download() as waiting:
        button.click()
    picture = Image.open(waiting.value.path())
    picture.load()
    assert picture.format == "PNG"
    return waiting.value.suggested_filename, picture


def colors(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGB"))


def bundle(tab, place: str) -> dict[str, bytes]:
    """The ZIP of a tab's link."""
    link = tab.wait_for_selector(f"{place} a.ktb-download").get_attribute("href")
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(link.split(",", 1)[1]))) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def stored(data: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(data))
    assert MODEL in picture.text["Checkpoint"]
    return np.asarray(picture)


def every_button_saves(tab, place: str) -> list[str]:
    """Names of what all visible buttons of a tab save."""
    names = []
    for button in tab.locator(f"{place} {SAVE}:visible").all():
        name, picture = saved(tab, button)
        names.append(name)
        assert picture.text["Title"]
        assert name.endswith(".png")
        assert picture.size == (160, 120)
    assert names, f"nothing can be saved in {place}"
    return names


def test_result_and_branches_as_they_are_seen(ran, expected):
    ran.fill("#ktb-opacity input[type=number]", "1")
    ran.press("#ktb-opacity input[type=number]", "Enter")
    ran.wait_for_function("getComputedStyle(document.querySelector('#ktb-stage .ktb-mask')).opacity === '1'")
    name, picture = saved(ran, ran.locator(f"#ktb-stage {SAVE}"))
    assert name == f"{MODEL}-Fused-mask.png"
    assert (picture.text["Checkpoint"], picture.text["Title"]) == (MODEL, "Fused mask")
    assert np.array_equal(colors(picture), expected.colors("fused"))

    ran.fill("#ktb-opacity input[type=number]", "0.5")
    ran.press("#ktb-opacity input[type=number]", "Enter")
    ran.wait_for_function(
        "getComputedStyle(document.querySelector('#ktb-stage .ktb-mask')).opacity === '0.5'"
    )
    half = colors(saved(ran, ran.locator(f"#ktb-stage {SAVE}"))[1]).astype(int)
    photo = pixels(ran, "#ktb-stage img.ktb-photo").astype(int)
    assert np.abs(half - (photo + expected.colors("fused")) / 2).max() <= 3  # decoders of JPEG differ

    ran.get_by_role("tab", name="Branches").click()
    ran.wait_for_selector(f"#ktb-branches {SAVE}")
    button = ran.get_by_role("button", name="Save as PNG: X head")
    button.focus()
    with ran.expect_download() as waiting:  # by the keyboard
        ran.keyboard.press("Enter")
    picture = Image.open(waiting.value.path())
    assert np.array_equal(colors(picture), expected.colors("x"))
    assert (picture.mode, picture.text["Checkpoint"]) == (
        "P",
        MODEL,
    )  # the bytes that were sent, with a title
    names = every_button_saves(ran, "#ktb-branches")
    assert len(names) == len(set(names)) == ran.locator("#ktb-branches figure").count()


def test_both_sides_of_the_border_are_saved(ran, expected):
    ran.get_by_role("tab", name="Result").click()
    choose(ran, "#ktb-right", "RGB head's mask")
    ran.wait_for_selector("#ktb-stage .ktb-right img")
    ran.evaluate("for (const one of document.querySelectorAll('#ktb-stage .ktb-mask')) one.style.opacity = 1")
    name, picture = saved(ran, ran.locator(f"#ktb-stage {SAVE}"))
    assert name == f"{MODEL}-Fused-mask-and-RGB-head-s-mask.png"
    width = picture.width
    found = colors(picture)
    assert np.array_equal(found[:, : width // 2], expected.colors("fused")[:, : width // 2])
    assert np.array_equal(found[:, width // 2 :], expected.colors("rgb")[:, width // 2 :])


def test_points_lie_over_the_saved_rgb_image(ran):
    ran.get_by_role("tab", name="Fusion").click()
    ran.wait_for_selector("#ktb-pane-photo svg.ktb-over")
    name, picture = saved(ran, ran.locator(f"#ktb-pane-photo {SAVE}"))
    photo = pixels(ran, "#ktb-pane-photo img").astype(int)
    assert (name, picture.text["Checkpoint"]) == (f"{MODEL}-RGB-image.png", MODEL)
    assert picture.size == photo.shape[1::-1]
    assert (np.abs(colors(picture).astype(int) - photo).max(axis=2) > 60).mean() > 0.01
    names = every_button_saves(ran, ".ktb-pane")
    assert any("Balance" in one for one in names)
    ran.click("#ktb-heads >> text=Every head of every level")
    small = ran.locator(f"#ktb-heads {SAVE}").first
    small.scroll_into_view_if_needed()
    assert saved(ran, small)[1].text["Checkpoint"] == MODEL


def test_what_if_and_the_sensors_as_files(ran, predictor, expected):
    photo, depth = synthetic_pair()
    ran.get_by_role("tab", name="What if").click()
    ran.locator("#ktb-off label").nth(1).click()
    ran.click("#ktb-run-change")
    ran.wait_for_selector("#ktb-what-if .ktb-shown >> text=X ablated")
    files = bundle(ran, "#ktb-what-if")
    without_x = run_changed(predictor, Perturbation(drop="x"), photo, expected.x)
    found = difference(expected, without_x)
    assert np.array_equal(stored(files["before_labels_fused.png"]), expected.labels["fused"])
    assert np.array_equal(stored(files["after_labels_x.png"]), without_x.labels["x"])
    assert np.array_equal(stored(files["difference.png"]), found.changed.astype(np.uint8))
    facts = json.loads(files["difference.json"])
    assert facts["changed"] == ["X ablated"]
    assert facts["before"]["model"] == MODEL
    assert facts["difference"]["changed_share"] == pytest.approx(found.changed_share)
    names = every_button_saves(ran, "#ktb-what-if")
    assert f"{MODEL}-Changed-pixels.png" in names

    ran.click("#ktb-run-each")
    ran.wait_for_selector("#ktb-what-if .ktb-shown >> text=both sensors")
    files = bundle(ran, "#ktb-what-if")
    verdict = sensor_need(expected, without_x, predictor(photo, depth, drop="rgb")).verdict
    assert np.array_equal(stored(files["deciding.png"]), verdict)
    assert np.array_equal(stored(files["without_x_labels_fused.png"]), without_x.labels["fused"])
    assert json.loads(files["deciding.json"])["verdicts"] == ["either", "rgb", "x", "both"]


def test_truth_as_files(ran, tmp_path, expected):
    truth = expected.labels["x"].copy()
    truth[:30] = 255
    numbers = np.where(truth == 255, 0, truth + 1)  # as NYUv2 stores labels
    cv2.imwrite(str(tmp_path / "truth.png"), numbers.astype(np.uint8))
    ran.get_by_role("tab", name="Truth").click()
    ran.set_input_files("#ktb-truth-file input[type=file]", str(tmp_path / "truth.png"))
    ran.wait_for_selector("#ktb-truth .ktb-scores")
    files = bundle(ran, "#ktb-truth")
    assert np.array_equal(stored(files["truth.png"]), truth)
    assert np.array_equal(stored(files["errors.png"]), error_map(expected.labels["fused"], truth))
    assert json.loads(files["scores.json"])["scores"]["x"]["pixel_accuracy"] == 1
    assert len(every_button_saves(ran, "#ktb-truth")) == 5


def test_compare_as_files(page, tmp_path, predictor):
    photo = synthetic_pair()[0]
    alone, other = (small_predictor(name)(photo, None) for name in (MODEL, OTHER))
    upload(page, write_pair(tmp_path)[0], None)
    page.locator("#ktb-source label").nth(1).click()
    run(page)
    page.get_by_role("tab", name="Compare").click()
    page.click("#ktb-run-compare")
    page.wait_for_selector("#ktb-compare .ktb-shown")
    files = bundle(page, "#ktb-compare")
    second = Image.open(io.BytesIO(files["after_labels_fused.png"]))
    assert second.text["Checkpoint"] == OTHER
    assert np.array_equal(np.asarray(second), other.labels["fused"])
    assert np.array_equal(stored(files["difference.png"]), difference(alone, other).changed.astype(np.uint8))
    assert json.loads(files["difference.json"])["after"]["model"] == OTHER
    names = every_button_saves(page, "#ktb-compare")
    assert f"{OTHER}-B-{OTHER}.png" in names


def test_no_two_parts_of_the_page_have_one_id():
    """Settings find their controls by them, scripts their places."""
    parts = build_page(Service()).blocks.values()
    ids = [part.elem_id for part in parts if getattr(part, "elem_id", None)]
    assert sorted(ids) == sorted(set(ids))


def test_a_strange_checkpoint_name_stays_a_name(page):
    """The script reads names from pictures: they end up in a file's name and in a text, nowhere else."""
    from app.html.images import figure_tag, image_tag

    hostile = '../ü<img src=x onerror="window.hit=1">'
    image = np.arange(40 * 50 * 3, dtype=np.uint8).reshape(40, 50, 3)
    figure = figure_tag(image_tag(image, "alt", hostile), '<b>"title"</b>', "π")
    page.evaluate(
        """(html) => { const place = document.createElement('div'); place.id = 'strange';
        place.innerHTML = html; document.body.prepend(place); }""",
        figure,
    )
    name, picture = saved(page, page.locator(f"#strange {SAVE}"))
    assert np.array_equal(colors(picture), image)
    assert picture.text["Checkpoint"] == hostile
    assert (picture.text["Title"], picture.text["Description"]) == ('<b>"title"</b>', "π")
    assert name.isascii()
    assert not set(name) & set('/<>"\\')
    assert page.evaluate("window.hit") is None
