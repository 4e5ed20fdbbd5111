"""What a tab shows as one ZIP: lossless masks and maps that name their checkpoint, and figures as JSON."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import cv2
import numpy as np
import pytest
from helpers.embedded import small_predictor
from helpers.page.browsing import new_tab, run, upload, wait_for_ablations
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image

from app.page import build_page
from app.service import Service
from ktb.analysis.comparison import difference
from ktb.analysis.counterfactual import Perturbation
from ktb.analysis.counterfactual import predict_perturbed as run_changed
from ktb.analysis.ground_truth import error_map

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL, OTHER = "ktb-lite-nyuv2-depth", "ktb-lite-nyuv2-event"


@pytest.fixture(scope="module")
def expected():
    return small_predictor(MODEL)(*synthetic_pair())


@pytest.fixture(scope="module")
def ran(context, address, tmp_path_factory):
    """A page with the synthetic pair's run, for all tests that only look at it."""
    tab = new_tab(context, address)
    upload(tab, *write_pair(tmp_path_factory.mktemp("pair")))
    run(tab)
    wait_for_ablations(tab)
    yield tab
    tab.close()


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


def test_a_change_as_files(ran, expected):
    ran.get_by_role("tab", name="What if", exact=True).click()
    ran.locator("#ktb-off label").nth(1).click()
    ran.wait_for_selector("#ktb-what-if .ktb-shown >> text=X ablated")
    files = bundle(ran, "#ktb-what-if")
    change = Perturbation(drop="x")
    without_x = run_changed(small_predictor(MODEL), change, synthetic_pair()[0], expected.x)
    found = difference(expected, without_x)
    assert np.array_equal(stored(files["before_labels_fused.png"]), expected.labels["fused"])
    assert np.array_equal(stored(files["after_labels_x.png"]), without_x.labels["x"])
    assert np.array_equal(stored(files["difference.png"]), found.changed.astype(np.uint8))
    facts = json.loads(files["difference.json"])
    assert facts["changed"] == ["X ablated"]
    assert facts["before"]["model"] == MODEL
    assert facts["difference"]["changed_share"] == pytest.approx(found.changed_share)


def test_truth_as_files(ran, tmp_path, expected):
    truth = expected.labels["x"].copy()
    truth[:30] = 255
    numbers = np.where(truth == 255, 0, truth + 1)  # as NYUv2 stores labels
    cv2.imwrite(str(tmp_path / "truth.png"), numbers.astype(np.uint8))
    ran.get_by_role("tab", name="Evaluate", exact=True).click()
    ran.set_input_files("#ktb-truth-file input[type=file]", str(tmp_path / "truth.png"))
    ran.wait_for_selector("#ktb-truth .ktb-scores")
    files = bundle(ran, "#ktb-truth")
    assert np.array_equal(stored(files["truth.png"]), truth)
    assert np.array_equal(stored(files["errors.png"]), error_map(expected.labels["fused"], truth))
    assert json.loads(files["scores.json"])["scores"]["x"]["pixel_accuracy"] == 1


def test_compare_as_files(page, tmp_path):
    photo = synthetic_pair()[0]
    alone, other = (small_predictor(name)(photo, None) for name in (MODEL, OTHER))
    upload(page, write_pair(tmp_path)[0], None)
    page.locator("#ktb-source label").nth(1).click()
    run(page)
    page.get_by_role("tab", name="Evaluate", exact=True).click()
    page.get_by_role("tab", name="Another checkpoint", exact=True).click()
    page.click("#ktb-run-compare")
    page.wait_for_selector("#ktb-compare .ktb-shown")
    files = bundle(page, "#ktb-compare")
    second = Image.open(io.BytesIO(files["after_labels_fused.png"]))
    assert second.text["Checkpoint"] == OTHER
    assert np.array_equal(np.asarray(second), other.labels["fused"])
    assert np.array_equal(stored(files["difference.png"]), difference(alone, other).changed.astype(np.uint8))
    assert json.loads(files["difference.json"])["after"]["model"] == OTHER


def test_no_two_parts_of_the_page_have_one_id():
    """Settings find their controls by them, scripts their places."""
    parts = build_page(Service()).blocks.values()
    ids = [part.elem_id for part in parts if getattr(part, "elem_id", None)]
    assert sorted(ids) == sorted(set(ids))
