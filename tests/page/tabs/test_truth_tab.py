"""The ground truth tab: scores in numbers, and a label image that is scored, refused and put away."""

from __future__ import annotations

import dataclasses
import re

import cv2
import numpy as np
import pytest
from helpers.page.browsing import VIEWER, below, run, shown_array, shown_run, upload, wait_for_run
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image

from app.panels.ground_truth import truth_panel
from ktb.analysis.ground_truth import GroundTruth, error_map, fusion_effect, score, scored_shares
from ktb.utils.text import percent

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def truth(result):
    """Labels that are neither head's: a blurred fused mask with a band that is not labelled."""
    labels = cv2.medianBlur(result.prediction.labels["fused"], 7)
    labels[:20] = 255
    return GroundTruth(labels, "kitchen.png", "values as stored")


def test_truth_in_numbers(result, truth):
    prediction = result.prediction
    text = " ".join(truth_panel(result, truth).split())
    scores = [score(prediction.labels[b], truth.labels, 40) for b in ("fused", "rgb", "x")]
    means = re.search(r"<td>mean IoU</td>.*?</tr>", text)[0]
    assert re.findall(r">([\d.]+)<", means) == [f"{100 * found.mean_iou:.1f}" for found in scores]
    for branch in ("rgb", "x"):
        effect = fusion_effect(prediction.labels["fused"], prediction.labels[branch], truth.labels)
        _, helped, hurt, _ = scored_shares(effect, 4)
        assert f"<b>{percent(helped)}</b> of the scored pixels, and wrong" in text
        assert f"right on <b>{percent(hurt)}</b>" in text
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


def test_a_label_image_is_scored_refused_and_put_away(page, tmp_path, expected, uploads):
    upload(page, *write_pair(tmp_path))
    run(page)
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    page.wait_for_selector("#ktb-truth >> text=Upload the true classes")
    labels = cv2.medianBlur(expected.labels["fused"], 7)
    labels[:20] = 255
    as_nyuv2_stores = np.where(labels == 255, 0, labels + 1).astype(np.uint8)
    Image.fromarray(as_nyuv2_stores).save(tmp_path / "true_classes.png")
    page.set_input_files("#ktb-truth-file input[type=file]", str(tmp_path / "true_classes.png"))
    page.wait_for_selector("#ktb-truth .ktb-scores")
    found = page.inner_text("#ktb-truth .ktb-total >> nth=0").split()
    scores = [score(expected.labels[b], labels, 40).mean_iou for b in ("fused", "rgb", "x")]
    assert found == ["mean", "IoU", *(f"{100 * value:.1f}" for value in scores)]
    page.wait_for_function(f"{VIEWER}.layers.has('layer.errors')")
    assert np.array_equal(shown_array(page, "layer.truth"), labels)
    errors = error_map(expected.labels["fused"], labels)
    assert np.array_equal(shown_array(page, "layer.errors"), errors)
    stored = below(uploads, "true_classes.png")
    assert stored

    page.click("#ktb-truth-file button[aria-label='Clear']")
    page.wait_for_selector("#ktb-truth >> text=Upload the true classes")
    Image.fromarray(np.full_like(labels, 77)).save(tmp_path / "wrong.png")
    page.set_input_files("#ktb-truth-file input[type=file]", str(tmp_path / "wrong.png"))
    page.wait_for_selector("#ktb-truth [role=alert] >> text=label value 77 is no class of this checkpoint")
    page.click("#ktb-truth-file button[aria-label='Clear']")
    page.wait_for_selector("#ktb-truth >> text=Upload the true classes")

    page.set_input_files("#ktb-truth-file input[type=file]", str(tmp_path / "true_classes.png"))
    page.wait_for_selector("#ktb-truth .ktb-scores")
    photo, _ = synthetic_pair()
    cv2.imwrite(str(tmp_path / "mirrored.png"), photo[:, ::-1, ::-1])
    page.set_input_files("#ktb-rgb input[type=file]", str(tmp_path / "mirrored.png"))
    page.wait_for_selector("#ktb-rgb img[src*=mirrored]")
    before = shown_run(page)
    page.click("#ktb-run")
    wait_for_run(page, before)
    page.wait_for_selector("#ktb-truth >> text=The label image of the previous RGB image was removed")
    page.goto("about:blank")
    for _ in range(100):
        if not any(path.exists() for path in stored):
            break
        page.wait_for_timeout(200)
    assert not any(path.exists() for path in stored)
