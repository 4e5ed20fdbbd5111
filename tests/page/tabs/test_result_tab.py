"""The result, branches and truth tabs: pictures that show the numbers, and a browser that uses them."""

from __future__ import annotations

import base64
import dataclasses
import io
import re

import cv2
import numpy as np
import pytest
from helpers.browsing import below, choose, run, upload
from helpers.inspections import with_maps
from helpers.pairs import synthetic_pair, write_pair
from markupsafe import escape
from PIL import Image

from app.html.legends import KINDS
from app.html.zip_links import IGNORED
from app.panels.branches import branches_panel, differences_panel
from app.panels.ground_truth import truth_panel
from app.panels.result import PICTURES, classes_panel, offered_pictures, result_panel
from ktb.analysis.agreement import class_changes, disagreement_map, kind_shares
from ktb.analysis.ground_truth import GroundTruth, fusion_effect, score, scored_shares
from ktb.analysis.metrics import class_iou, confusion_matrix
from ktb.utils.text import percent

MODEL = "ktb-lite-nyuv2-depth"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def truth(result):
    """Labels that are neither head's: a blurred fused mask with a band that is not labelled."""
    labels = cv2.medianBlur(result.prediction.labels["fused"], 7)
    labels[:20] = 255
    return GroundTruth(labels, "kitchen.png", "values as stored")


def picture(text: str, alt: str) -> Image.Image:
    source = re.search(rf'alt="{alt}"[^>]*src="data:image/\w+;base64,([^"]+)"', text)
    return Image.open(io.BytesIO(base64.b64decode(source[1])))


def words(text: str) -> str:
    """What is read of a panel, a reader's hidden words among them."""
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def colors(text: str, alt: str) -> np.ndarray:
    return np.asarray(picture(text, alt).convert("RGB"))


def test_each_picture_shows_what_it_says(result):
    prediction = result.prediction
    assert offered_pictures(result) == list(PICTURES)
    for key, branch in (("fused", "fused"), ("rgb_head", "rgb"), ("x_head", "x")):
        assert np.array_equal(colors(result_panel(result, key), f"{branch} mask"), prediction.colors(branch))
    kinds = np.array([color for color, _, _ in KINDS], np.uint8)[disagreement_map(prediction.labels)]
    assert np.array_equal(colors(result_panel(result, "differ"), "where the heads differ"), kinds)
    assert np.array_equal(colors(branches_panel(result), "where the heads differ"), kinds)
    assert np.array_equal(colors(result_panel(result, "x"), "x input: depth image"), prediction.x.preview)
    index = np.asarray(picture(result_panel(result, "confidence"), "confidence"))
    np.testing.assert_allclose(index / 254, prediction.confidences["fused"], atol=0.5 / 254 + 1e-6)
    numbers = colors(result_panel(result), "")
    assert np.array_equal(numbers[..., 0], prediction.labels["fused"])


def test_all_pairs_of_pictures_can_be_drawn_and_name_their_checkpoint(result):
    for left in PICTURES:
        for right in ("fused", "photo", "entropy"):
            text = result_panel(result, left, right)
            assert text.count('role="slider"') == 1
            name = escape("X: depth image" if left == "x" else PICTURES[left])
            assert f"Left: {name}" in words(text)
            assert f"Checkpoint {MODEL}" in text
    assert 'role="slider"' not in result_panel(result, "entropy")
    assert picture(result_panel(result, "entropy"), "entropy").text["Checkpoint"] == MODEL
    with pytest.raises(ValueError, match="picture 'rgb': choose one of fused, photo"):
        result_panel(result, "rgb")


def test_without_x_or_trace_nothing_is_offered_that_there_is_not(result):
    assert "balance" not in offered_pictures(dataclasses.replace(result, inspection=None))
    flat = tuple(dataclasses.replace(view, is_uniform=True) for view in result.inspection.all_maps())
    assert "carries no information" in result_panel(with_maps(result, flat), "balance")
    missing = dataclasses.replace(result.prediction.x, origin="missing")
    alone = dataclasses.replace(result, prediction=dataclasses.replace(result.prediction, x=missing))
    assert "x" not in offered_pictures(alone)
    assert "there was no X" in result_panel(alone, "x_head")
    assert "there was no X" in differences_panel(alone)


def test_the_table_has_shares_confidences_and_overlaps(result):
    prediction = result.prediction
    text = classes_panel(result)
    overlaps = [
        class_iou(confusion_matrix(prediction.labels[b], prediction.labels["fused"], len(prediction.classes)))
        for b in ("rgb", "x")
    ]
    for row in prediction.class_table():
        cells = re.search(rf'data-class="{row.index}".*?</tr>', text, re.S)[0]
        found = re.findall(r'<td class="num">([^<]+)</td>', cells)
        ious = [f"{iou[row.index]:.2f}" for iou in overlaps]
        assert found == [percent(row.share), f"{row.confidence:.2f}", *ious]
    for iou in overlaps:
        assert f'<td class="num">{np.nanmean(iou):.2f}</td>' in text.split("<tfoot>")[1]


def test_differences_in_words_and_shares(result):
    prediction = result.prediction
    text = differences_panel(result)
    for (_, name, _), share in zip(KINDS, kind_shares(disagreement_map(prediction.labels))):
        assert f"<b>{name}</b> <em>{percent(share)}</em>" in text
    joint = confusion_matrix(prediction.labels["x"], prediction.labels["fused"], len(prediction.classes))
    change = class_changes(joint)[0]
    before, after = prediction.classes[change.source], prediction.classes[change.target]
    said = f"{percent(change.share)} {before} → for the X head, but for the fused head {after}"
    assert said in words(text)
    assert "not causes" in text
    same = dict.fromkeys(("fused", "rgb", "x"), prediction.labels["fused"])
    agree = dataclasses.replace(result, prediction=dataclasses.replace(prediction, labels=same))
    assert differences_panel(agree).count("They differ on less than 0.1 %") == 2


def test_names_are_escaped(result, truth):
    prediction = dataclasses.replace(result.prediction, classes=(HOSTILE,) * 40, model=HOSTILE)
    hostile = dataclasses.replace(result, prediction=prediction)
    named = dataclasses.replace(truth, name=HOSTILE, summary=HOSTILE)
    for text in (
        *(result_panel(hostile, key) for key in PICTURES), classes_panel(hostile), branches_panel(hostile),
        differences_panel(hostile), truth_panel(hostile, named),
    ):  # fmt: skip
        assert "<script" not in text


def test_truth_in_numbers(result, truth):
    prediction = result.prediction
    text = " ".join(truth_panel(result, truth).split())
    scores = [score(prediction.labels[b], truth.labels, 40) for b in ("fused", "rgb", "x")]
    means = re.search(r'data-term="mean IoU".*?</tr>', text)[0]
    assert re.findall(r">([\d.]+)<", means) == [f"{100 * found.mean_iou:.1f}" for found in scores]
    for branch in ("rgb", "x"):
        effect = fusion_effect(prediction.labels["fused"], prediction.labels[branch], truth.labels)
        _, helped, hurt, _ = scored_shares(effect, 4)
        assert f"<b>{percent(helped)}</b> of the scored pixels, and wrong" in text
        assert f"right on <b>{percent(hurt)}</b>" in text
    palette = np.array([*prediction.palette, IGNORED])
    for alt, labels in (("true classes", truth.labels), ("fused mask", prediction.labels["fused"])):
        assert np.array_equal(colors(text, alt), palette[np.where(labels == 255, len(palette) - 1, labels)])
    shown = colors(text, "errors of the fused head")
    wrong = (truth.labels != 255) & (truth.labels != prediction.labels["fused"])
    assert np.array_equal((shown == (200, 60, 20)).all(axis=-1), wrong)
    assert f"{percent(float(np.mean(truth.labels != 255)))} of the image is labelled" in text


def test_a_counting_that_agrees_much_better_is_offered_with_its_figure(result, truth):
    fused = result.prediction.labels["fused"]
    wrong = GroundTruth(np.minimum(fused + 1, 39).astype(np.uint8), "nyu.png", "stored", "stored", fused)
    text = " ".join(truth_panel(result, wrong).split())
    assert "The numbers may be counted wrongly." in text
    assert "With “1 is the first class, 0 no label” the fused head has 100.0 %" in text
    right = dataclasses.replace(wrong, labels=fused, counting="from_one", other=wrong.labels)
    text = " ".join(truth_panel(result, right).split())
    assert "counted wrongly" not in text
    assert "Counted the other way (value k is class k), the fused head would have" in text
    assert "Counted the other way" not in truth_panel(result, truth)  # a file of colours


def border(tab) -> float:
    """Where the border is, in percent of the picture's width."""
    return tab.evaluate(
        """() => { const box = document.querySelector('.ktb-layers').getBoundingClientRect();
        const handle = document.querySelector('.ktb-split').getBoundingClientRect();
        return 100 * (handle.left + handle.width / 2 - box.left) / box.width; }"""
    )


def test_the_border_between_two_pictures_moves_and_stays(page, tmp_path):
    upload(page, *write_pair(tmp_path))
    run(page)
    choose(page, "#ktb-right", "X head's mask")
    page.wait_for_selector("#ktb-stage .ktb-right img[alt='x mask']")
    assert border(page) == pytest.approx(50, abs=1)
    handle, box = page.locator(".ktb-split"), page.locator("#ktb-stage .ktb-layers").bounding_box()
    middle = box["y"] + box["height"] / 2
    handle.scroll_into_view_if_needed()
    box = page.locator("#ktb-stage .ktb-layers").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, middle, steps=4)
    page.mouse.up()
    assert border(page) == pytest.approx(25, abs=1)
    clip = "el => getComputedStyle(el).clipPath"
    cut = re.search(r"inset\(0px 0px 0px ([\d.]+)%\)", page.locator(".ktb-right").evaluate(clip))
    assert float(cut[1]) == pytest.approx(25, abs=1)
    for key in ("ArrowRight", "ArrowRight", "PageUp"):
        handle.press(key)
    assert border(page) == pytest.approx(39, abs=1)
    assert handle.get_attribute("aria-valuenow") == "39"
    at = page.evaluate(
        """() => { const box = document.querySelector('.ktb-layers').getBoundingClientRect();
        const y = box.top + 10; return [0.1, 0.9].map((share) =>
          document.elementFromPoint(box.left + share * box.width, y).alt); }"""
    )
    assert at == ["fused mask", "x mask"]  # a click reaches the picture that is seen
    choose(page, "#ktb-left", "Entropy")
    page.wait_for_selector("#ktb-stage .ktb-left img[alt='entropy']")
    assert border(page) == pytest.approx(39, abs=1)
    page.wait_for_function("document.querySelector('.ktb-split').getAttribute('aria-valuenow') === '39'")
    choose(page, "#ktb-right", "nothing")
    page.wait_for_selector(".ktb-split", state="detached")


VEIL = """() => { const veil = document.querySelector('#ktb-stage canvas.ktb-veil');
  if (!veil) return null;
  const pixels = veil.getContext('2d').getImageData(0, 0, veil.width, veil.height).data;
  return Array.from({length: pixels.length / 4}, (_, i) => pixels[4 * i + 3] === 0 ? 1 : 0); }"""


def test_the_legend_marks_a_class_by_pointer_and_keyboard(page, tmp_path, expected):
    upload(page, *write_pair(tmp_path))
    run(page)
    page.wait_for_selector("#ktb-classes .ktb-class")
    labels = expected.labels["fused"]
    first, second = (row.index for row in expected.class_table()[:2])
    rows = page.locator("#ktb-classes .ktb-class")
    rows.nth(0).hover()
    page.wait_for_selector("canvas.ktb-veil", state="attached")
    assert np.array_equal(np.reshape(page.evaluate(VEIL), labels.shape) == 1, labels == first)
    page.mouse.move(2, 2)
    assert page.evaluate(VEIL) is None
    rows.nth(1).focus()
    assert np.array_equal(np.reshape(page.evaluate(VEIL), labels.shape) == 1, labels == second)
    page.keyboard.press("Enter")
    assert rows.nth(1).get_attribute("aria-pressed") == "true"
    choose(page, "#ktb-left", "RGB image")  # a marked class stays marked
    page.wait_for_selector("#ktb-stage .ktb-side", state="detached")
    page.wait_for_selector("canvas.ktb-veil", state="attached")
    assert np.array_equal(np.reshape(page.evaluate(VEIL), labels.shape) == 1, labels == second)
    rows.nth(1).click()
    page.mouse.move(2, 2)
    assert rows.nth(1).get_attribute("aria-pressed") == "false"
    assert page.evaluate(VEIL) is None


def test_a_label_picture_is_scored_refused_and_put_away(page, tmp_path, expected, uploads):
    upload(page, *write_pair(tmp_path))
    run(page)
    page.get_by_role("tab", name="Truth").click()
    page.wait_for_selector("#ktb-truth >> text=No label picture yet")
    labels = cv2.medianBlur(expected.labels["fused"], 7)
    labels[:20] = 255
    as_nyuv2_stores = np.where(labels == 255, 0, labels + 1).astype(np.uint8)
    Image.fromarray(as_nyuv2_stores).save(tmp_path / "true_classes.png")
    page.set_input_files("#ktb-truth-file input[type=file]", str(tmp_path / "true_classes.png"))
    page.wait_for_selector("#ktb-truth .ktb-scores")
    found = page.inner_text("#ktb-truth .ktb-total >> nth=0").split()
    scores = [score(expected.labels[b], labels, 40).mean_iou for b in ("fused", "rgb", "x")]
    assert found == ["mean", "IoU", *(f"{100 * value:.1f}" for value in scores)]
    stored = below(uploads, "true_classes.png")
    assert stored

    page.click("#ktb-truth-file button[aria-label='Clear']")
    page.wait_for_selector("#ktb-truth >> text=No label picture yet")
    Image.fromarray(np.full_like(labels, 77)).save(tmp_path / "wrong.png")
    page.set_input_files("#ktb-truth-file input[type=file]", str(tmp_path / "wrong.png"))
    page.wait_for_selector("#ktb-truth [role=alert] >> text=label value 77 is no class of this checkpoint")
    page.click("#ktb-truth-file button[aria-label='Clear']")
    page.wait_for_selector("#ktb-truth >> text=No label picture yet")

    page.set_input_files("#ktb-truth-file input[type=file]", str(tmp_path / "true_classes.png"))
    page.wait_for_selector("#ktb-truth .ktb-scores")
    photo, _ = synthetic_pair()
    cv2.imwrite(str(tmp_path / "mirrored.png"), photo[:, ::-1, ::-1])
    page.set_input_files("#ktb-rgb input[type=file]", str(tmp_path / "mirrored.png"))
    page.wait_for_timeout(1000)
    page.click("#ktb-run")
    page.wait_for_selector("#ktb-truth >> text=Another RGB image")
    page.goto("about:blank")
    for _ in range(100):
        if not any(path.exists() for path in stored):
            break
        page.wait_for_timeout(200)
    assert not any(path.exists() for path in stored)
