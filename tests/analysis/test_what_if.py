"""Changed pairs and what they change: the numbers first, then the tab in a real browser."""

from __future__ import annotations

import dataclasses
import re

import cv2
import numpy as np
import pytest
from helpers.counterfactuals import labelled, set_number, toast
from helpers.embedded import small_predictor, small_service
from helpers.models import MM
from helpers.page.browsing import below, run, shown_array, upload
from helpers.pairs import synthetic_pair, write_pair

from app.panels.what_if import describe, what_if_layers, what_if_panel
from ktb import XOptions
from ktb.analysis.comparison import VERDICTS, ChangedClass, difference, sensor_need
from ktb.analysis.counterfactual import Perturbation, perturb, predict_perturbed, shifted
from ktb.config import BRANCHES
from ktb.inputs.perturb import blurred, darkened
from ktb.outputs.files import result_files
from ktb.outputs.layers import NOT_DRAWN, RESTS_ON, rests_on_layer

MODEL = "ktb-lite-nyuv2-depth"
pytestmark = pytest.mark.usefixtures("one_thread")


def equal(a, b) -> bool:
    """Confidences too: a random network may see one class everywhere."""
    pairs = [(a.labels[branch], b.labels[branch]) for branch in BRANCHES]
    pairs += [(a.confidences[branch], b.confidences[branch]) for branch in BRANCHES]
    return all(np.array_equal(*pair) for pair in pairs)


def test_without_x_is_as_if_there_were_none(predictor, pair, reading, prediction):
    dropped = predictor(pair[0], reading, drop="x")
    assert equal(dropped, predictor(pair[0], None))
    assert not equal(dropped, prediction)
    assert dropped.x.origin == "missing"
    assert "X was ablated" in dropped.x.warnings[-1]


def test_without_the_rgb_image_its_pixels_do_not_matter(predictor, pair, reading, prediction):
    dropped = predictor(pair[0], reading, drop="rgb")
    assert equal(dropped, predictor(255 - pair[0], reading, drop="rgb"))
    assert not equal(dropped, prediction)
    assert dropped.x.origin == "measured"
    assert "The RGB image was ablated" in dropped.x.warnings[-1]
    assert b"The RGB image was ablated" in result_files(pair[0], dropped)["prediction.json"]


def test_something_must_be_left_to_see(predictor, pair, reading):
    with pytest.raises(ValueError, match="there is no X; with the RGB image ablated, no input"):
        predictor(pair[0], None, drop="rgb")
    assert equal(predictor(pair[0], None, drop="x"), predictor(pair[0], None))
    with pytest.raises(ValueError, match="drop 'thermal': choose one of rgb, x"):
        predictor(pair[0], reading, drop="thermal")


def test_no_change_changes_nothing(predictor, pair, reading, prediction):
    rgb, same = perturb(Perturbation(), pair[0], reading)
    assert rgb is pair[0]
    assert same is reading
    assert np.array_equal(shifted(reading, (0, 0)).image, reading.image)
    assert Perturbation().words == ()
    assert equal(predict_perturbed(predictor, Perturbation(), pair[0], reading), prediction)


@pytest.mark.parametrize("shift", [(5, 0), (-7, 3), (0, -4), (126, 94)])
def test_x_moves_and_what_comes_in_is_said(reading, shift):
    moved = shifted(reading, shift)
    height, width = reading.image.shape[:2]
    rows = np.arange(height)[:, None] - shift[1]
    columns = np.arange(width) - shift[0]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    source = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    assert np.array_equal(moved.image[inside], reading.image[source][inside])
    assert np.array_equal(moved.preview[inside], reading.preview[source][inside])
    assert (moved.preview[~inside] == 128).all()
    assert moved.holes[~inside].all()
    assert np.isnan(moved.depth.metres[~inside]).all()
    assert np.array_equal(moved.holes[inside], reading.holes[source][inside])
    if 0 in shift:  # straight: the nearest is the edge
        assert np.array_equal(moved.image, reading.image[source])
    assert np.isfinite(moved.image).all()


def test_pictures_have_nothing_where_nothing_came_in(predictor, pair):
    picture = np.full((*pair[0].shape[:2], 3), 200, np.uint8)
    x = predictor.read(picture, picture.shape[:2], XOptions(modality="thermal"))
    moved = shifted(x, (10, 0))
    assert (moved.image[:, :10] == 0).all()
    assert np.array_equal(moved.image[:, 10:], x.image[:, :-10])
    assert moved.holes[:, :10].all()
    assert not moved.holes[:, 10:].any()


def test_what_cannot_move_is_refused(predictor, pair, reading):
    with pytest.raises(ValueError, match=re.escape("moved by 127 px right, nothing of X would stay")):
        shifted(reading, (127, 0))
    missing = predictor.read(None, pair[0].shape[:2])
    with pytest.raises(ValueError, match="there is no X that could be moved"):
        perturb(Perturbation(shift_xy=(1, 0)), pair[0], missing)
    other = predictor.read(pair[1][:64, :64], (64, 64), MM)
    with pytest.raises(ValueError, match="read it for this RGB image"):
        perturb(Perturbation(swap=other), pair[0], reading)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"drop": "depth"}, "drop 'depth'"),
        ({"shift_xy": (0.5, 0)}, "whole pixels"),
        ({"darken": 1.5}, "share of light"),
        ({"darken": float("nan")}, "share of light"),
        ({"blur_sigma": -1}, "blur_sigma -1"),
    ],
)
def test_wrong_changes_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        Perturbation(**wrong)


def test_darkening_takes_light_away(pair):
    assert darkened(pair[0], 0) is pair[0]
    assert (darkened(pair[0], 1) == 0).all()
    grey = np.full((1, 1, 3), 188, np.uint8)  # half of white's light
    assert darkened(np.full((1, 1, 3), 255, np.uint8), 0.5).tolist() == grey.tolist()
    assert (darkened(pair[0], 0.3) <= pair[0]).all()


def test_blur_spreads_and_keeps_the_mean():
    dot = np.zeros((41, 41, 3), np.uint8)
    dot[20, 20] = 255
    soft = blurred(dot, 2.0)
    assert soft[20, 20, 0] == pytest.approx(255 / (2 * np.pi * 4), abs=1)
    assert soft[20, 23, 0] == pytest.approx(255 / (2 * np.pi * 4) * np.exp(-9 / 8), abs=1)
    assert blurred(dot, 0) is dot


def test_a_changed_run_says_what_was_changed(predictor, pair, reading):
    change = Perturbation(drop="x", shift_xy=(3, -2), darken=0.25, blur_sigma=1.5)
    assert change.words == (
        "X ablated",
        "RGB image darkened by 25 % of its light",
        "RGB image blurred with a sigma of 1.5 px",
    )
    said = predict_perturbed(predictor, change, pair[0], reading).x.warnings
    assert said[0].startswith("What if: RGB image darkened by 25 %")
    assert "X was ablated" in said[-1]
    moved = predict_perturbed(predictor, Perturbation(shift_xy=(3, -2)), pair[0], reading)
    assert moved.x.warnings[0] == "What if: X moved by 3 px right and 2 px up."
    assert moved.x.summary.endswith("moved by 3 px right and 2 px up")
    assert moved.trace is None


def test_another_x_is_what_the_network_gets(predictor, pair, reading, prediction):
    other = predictor.read(pair[1][::-1].copy(), pair[0].shape[:2], MM)
    swapped = predict_perturbed(predictor, Perturbation(swap=other), pair[0], reading)
    assert equal(swapped, predictor(pair[0], other))
    assert not equal(swapped, prediction)
    assert "another X in its place" in swapped.x.warnings[0]


def test_equal_predictions_do_not_differ(prediction):
    found = difference(prediction, prediction)
    assert found.changed_share == 0
    assert not found.changed.any()
    assert found.changes == ()
    assert found.confidence_change == 0
    assert set(found.agreement.values()) == {1.0}
    assert {row.iou for row in found.classes} == {1.0}
    assert sum(row.share_a for row in found.classes) == pytest.approx(1)


def test_a_difference_by_hand(prediction):
    names = prediction.classes
    a = labelled(prediction, [[0, 0, 0, 1]], confidence=0.5)
    b = labelled(prediction, [[0, 1, 1, 2]], confidence=0.75, x=[[0, 0, 0, 2]])
    found = difference(a, b)
    assert found.changed.tolist() == [[False, True, True, True]]
    assert found.changed_share == 0.75
    assert found.changes == (ChangedClass(names[0], names[1], 0.5), ChangedClass(names[1], names[2], 0.25))
    assert found.confidence_change == pytest.approx(0.25)
    assert found.agreement == {"fused": 0.25, "rgb": 0.25, "x": 0.75}
    rows = {row.name: (row.share_a, row.share_b, row.iou) for row in found.classes}
    assert rows == {
        names[0]: (0.75, 0.25, pytest.approx(1 / 3)),
        names[1]: (0.25, 0.5, 0),
        names[2]: (0, 0.25, 0),
    }
    with pytest.raises(ValueError, match="same RGB image"):
        difference(a, prediction)


def test_which_sensor_decided_by_hand(prediction):
    full = labelled(prediction, [[0, 0, 0, 0, 0]])
    without_x = labelled(prediction, [[0, 0, 1, 1, 1]])
    without_rgb = labelled(prediction, [[0, 1, 0, 1, 2]])
    found = sensor_need(full, without_x, without_rgb)
    assert [VERDICTS[code] for code in found.verdict[0]] == ["either", "rgb", "x", "both", "both"]
    assert found.shares == {"either": 0.2, "rgb": 0.2, "x": 0.2, "both": 0.4}
    assert (found.stays_without_x, found.stays_without_rgb) == (0.4, 0.4)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    rgb, x = write_pair(tmp_path_factory.mktemp("pair"), 64, 96)
    return small_service().segment(str(rgb), str(x), MODEL)


def test_words_and_layers_of_a_change_name_it_and_hide_no_markup(result):
    hostile = "<script>alert(1)</script>"
    classes = (hostile, *result.prediction.classes[1:])
    change = Perturbation(drop="rgb", shift_xy=(4, 0))
    changed = predict_perturbed(small_predictor(MODEL), change, result.rgb, result.prediction.x)
    before, after = (
        dataclasses.replace(one, model=hostile, classes=classes) for one in (result.prediction, changed)
    )
    after = dataclasses.replace(after, labels={b: (before.labels[b] == 0).astype(np.uint8) for b in BRANCHES})
    found = difference(before, after)
    panel = what_if_panel(dataclasses.replace(result, prediction=before), change, after, found)
    assert "<script" not in panel
    assert "&lt;script&gt;" in panel
    assert "Changed: RGB image ablated; X moved by 4 px right" in panel
    mask, pixels = what_if_layers(change, after, found)
    assert mask.title == "Changed: RGB image ablated; X moved by 4 px right"
    assert np.array_equal(mask.values, after.labels["fused"])
    assert np.array_equal(pixels.values != NOT_DRAWN, found.changed)
    assert np.array_equal(pixels.values[found.changed], after.labels["fused"][found.changed])


def test_words_say_what_changed(prediction):
    a = labelled(prediction, [[0, 0, 0, 1]])
    assert describe(difference(a, a)) == (
        "No pixel of the fused mask changed its class. The mean confidence stayed the same."
    )
    said = describe(difference(a, labelled(prediction, [[0, 0, 2, 1]], confidence=0.25)))
    names = prediction.classes
    assert said == (
        f"25.0 % of the fused mask changed its class; most of all 25.0 % of the image turned from {names[0]} "
        f"to {names[2]}. The mean confidence fell by 0.250."
    )


def test_the_layer_of_what_a_pixel_rests_on_says_how_much_stays(prediction):
    a, wrong = labelled(prediction, [[0, 0, 0, 1]]), labelled(prediction, [[0, 0, 2, 2]])
    layer = rests_on_layer(a, {"x": wrong, "rgb": a})
    assert layer.note == "Measured: without X 50.0 % of the fused mask stays, without RGB 100.0 %."
    assert list(layer.entries) == [RESTS_ON[verdict] for verdict in VERDICTS]
    assert [VERDICTS[code] for code in layer.values[0]] == ["either", "either", "x", "x"]


STATE = "document.querySelector('.ktb-v').ktbViewer.state"


def after_change(tab, title: str) -> np.ndarray:
    """Wait until the tab tells of a change and the viewer shows it; the mask of the changed run."""
    tab.wait_for_selector(f"#ktb-what-if .ktb-shown >> text={title}")
    name = "document.querySelector('.ktb-v').ktbViewer.layers.get('layer.what_if')?.title"
    tab.wait_for_function(f"title => ({name} ?? '').includes(title)", arg=title)
    return shown_array(tab, "layer.what_if")


def test_the_tab_shows_what_changes_at_once_and_starts_anew(page, tmp_path, uploads):
    photo, depth = synthetic_pair()
    predictor = small_predictor(MODEL)
    full = predictor(photo, depth)
    page.get_by_role("tab", name="What if").click()
    assert "Change at least one control" in page.inner_text("#ktb-what-if")
    page.locator("#ktb-off label").nth(1).click()
    toast(page, "Run a pair first")
    upload(page, *write_pair(tmp_path))
    run(page)
    page.wait_for_function("document.querySelector('#ktb-off label input').checked")  # a run resets them

    page.locator("#ktb-off label").nth(1).click()
    without_x = predictor(photo, None)
    assert np.array_equal(after_change(page, "X ablated"), without_x.labels["fused"])
    assert page.evaluate(f"[{STATE}.overlay, {STATE}.compare]") == ["labels.fused", "layer.what_if"]
    assert describe(difference(full, without_x)) in page.inner_text("#ktb-what-if .ktb-words")
    assert "X was ablated" in page.inner_text("#ktb-what-if .ktb-warn")
    page.locator("#ktb-off label").nth(0).click()  # back at the start: no change
    page.wait_for_selector("#ktb-what-if >> text=Change at least one control")
    page.wait_for_function(f"{STATE}.compare === 'none'")

    set_number(page, "#ktb-move-right", "9")
    set_number(page, "#ktb-dark", "50")
    shown = after_change(page, "X moved by 9 px right; RGB image darkened")
    moved = predict_perturbed(predictor, Perturbation(shift_xy=(9, 0), darken=0.5), photo, full.x)
    assert np.array_equal(shown, moved.labels["fused"])
    page.click("#ktb-reset-change")
    page.wait_for_selector("#ktb-what-if >> text=Change at least one control")
    page.wait_for_function(f"{STATE}.compare === 'none'")
    assert page.input_value("#ktb-move-right input[type=number]") == "0"
    assert page.input_value("#ktb-dark input[type=number]") == "0"
    assert page.foreign_requests == []

    # another X takes its place, and a bad one gets a message
    bad = tmp_path / "broken.png"
    bad.write_text("<!DOCTYPE html><html><body>no picture</body></html>")
    page.click("#ktb-swap button")
    page.set_input_files("#ktb-other-x input[type=file]", str(bad))
    toast(page, "web page")
    page.click("#ktb-reset-change")
    page.wait_for_selector("#ktb-other-x >> text=broken", state="detached")
    other = tmp_path / "turned.png"
    cv2.imwrite(str(other), depth[::-1])
    page.set_input_files("#ktb-other-x input[type=file]", str(other))
    shown = after_change(page, "another X in its place (turned.png)")
    assert np.array_equal(shown, predictor(photo, depth[::-1].copy()).labels["fused"])

    # a run without X has none to move
    page.locator("#ktb-source label").nth(1).click()
    run(page)
    page.wait_for_selector("#ktb-other-x >> text=turned", state="detached")  # the run resets the controls
    set_number(page, "#ktb-move-down", "3")
    toast(page, "there is no X that could be moved")

    # what was given goes with the page
    assert below(uploads, "turned.png")
    page.goto("about:blank")
    for _ in range(100):
        if not below(uploads, "turned.png"):
            break
        page.wait_for_timeout(200)
    assert not below(uploads, "turned.png")
