"""Two checkpoints on one pair: the numbers first, then the tab in a real browser."""

from __future__ import annotations

import base64
import dataclasses
import io
import re

import numpy as np
import pytest
from helpers.browsing import pixels, upload
from helpers.counterfactuals import labelled, set_number, toast
from helpers.embedded import small_predictor, small_service
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image

from app.page import build_page
from app.panels.compare import DIFFERENT, NOT_COMPARABLE, compare_panel, difference_picture
from app.service import Service
from ktb.analysis.comparison import ChangedClass, difference, shared_names

DEPTH, EVENT = "ktb-lite-nyuv2-depth", "ktb-lite-nyuv2-event"


def test_other_class_sets_are_compared_by_name(prediction):
    rest = tuple(f"a{i}" for i in range(len(prediction.classes) - 3))
    a = labelled(prediction, [[0, 1, 2, 2]], ("wall", "floor", "bed", *rest))
    b = labelled(prediction, [[1, 2, 1, 0]], ("sky", "wall", "floor"))
    assert shared_names(a, b) == ("wall", "floor")
    found = difference(a, b)
    assert found.comparable.tolist() == [[True, True, False, False]]
    assert not found.changed.any()
    assert found.changed_share == 0
    rows = {row.name: (row.share_a, row.share_b, row.iou) for row in found.classes}
    assert rows == {"wall": (0.25, 0.5, 0.5), "floor": (0.25, 0.25, 1)}
    turned = labelled(prediction, [[2, 2, 1, 0]], ("sky", "wall", "floor"))
    found = difference(a, turned)
    assert found.changes == (ChangedClass("wall", "floor", 0.25),)
    assert found.changed_share == 0.5


def test_nothing_in_common_is_said(prediction):
    other = labelled(prediction, prediction.labels["fused"], tuple(f"b{i}" for i in prediction.classes))
    with pytest.raises(ValueError, match="no class name in common"):
        difference(prediction, other)


def test_nothing_comparable_has_no_share(prediction):
    rest = tuple(f"a{i}" for i in range(len(prediction.classes) - 2))
    a = labelled(prediction, [[0, 0]], ("bed", "wall", *rest))
    found = difference(a, labelled(prediction, [[0, 1]], ("sky", "wall")))
    assert np.isnan(found.changed_share)
    assert found.changes == ()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    rgb, x = write_pair(tmp_path_factory.mktemp("pair"), 64, 96)
    service = small_service()
    return [service.segment(str(rgb), str(x), model) for model in (DEPTH, EVENT)]


def test_each_picture_names_its_checkpoint(results):
    panel = compare_panel(*results)
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', panel)
    named = [Image.open(io.BytesIO(base64.b64decode(source))).text["Checkpoint"] for source in sources]
    assert named == [DEPTH, EVENT, f"{DEPTH}, {EVENT}", DEPTH, EVENT]
    assert f"B, {EVENT}: X looks like depth" in panel


def test_other_class_sets_are_said(results):
    hostile = tuple(f"<b>{name}</b>" for name in results[1].prediction.classes)
    alien = dataclasses.replace(
        results[1], prediction=dataclasses.replace(results[1].prediction, classes=hostile)
    )
    panel = compare_panel(results[0], alien)
    assert "no class name in common (40 and 40 classes)" in panel
    assert 'alt="difference map"' not in panel
    assert panel.count("ktb-mask") == 2
    one = (results[1].prediction.classes[0], *hostile[1:])
    similar = dataclasses.replace(
        results[1], prediction=dataclasses.replace(results[1].prediction, classes=one)
    )
    panel = compare_panel(results[0], similar)
    assert "Classes are compared by name: 1 are in both sets" in panel
    assert "a class that the other lacks" in panel
    assert "<b>wall" not in panel


def test_the_difference_map_shows_where(prediction):
    rest = tuple(f"a{i}" for i in range(len(prediction.classes) - 3))
    a = labelled(prediction, [[0, 1, 2]], ("wall", "floor", "bed", *rest))
    b = labelled(prediction, [[1, 2, 0]], ("sky", "wall", "wardrobe"))
    grey = np.full((1, 3, 3), 90, np.uint8)
    drawn = difference_picture(grey, difference(a, b))
    assert drawn[0].tolist() == [[200] * 3, list(NOT_COMPARABLE), list(NOT_COMPARABLE)]
    moved = labelled(prediction, [[1, 0, 0]])
    drawn = difference_picture(grey, difference(labelled(prediction, [[0, 0, 0]]), moved))
    assert drawn[0].tolist() == [list(DIFFERENT), [200] * 3, [200] * 3]


def test_with_one_checkpoint_the_tab_says_so():
    service = Service()
    service._files = {DEPTH: service._files[DEPTH]}
    assert "There is one checkpoint only" in str(build_page(service).config)
    assert "There is one checkpoint only" not in str(build_page(Service()).config)


def test_two_checkpoints_side_by_side(page, tmp_path):
    photo, depth = synthetic_pair()
    a, b = (small_predictor(model)(photo, depth) for model in (DEPTH, EVENT))
    page.get_by_role("tab", name="Compare").click()
    page.click("#ktb-run-compare")
    toast(page, "Run a pair first")
    upload(page, *write_pair(tmp_path))
    page.click("#ktb-run")
    page.wait_for_selector("#ktb-foot .ktb-footer")
    page.click("#ktb-run-compare")
    page.wait_for_selector('#ktb-compare img[alt="difference map"]')
    assert np.array_equal(pixels(page, f'#ktb-compare img[alt="A, {DEPTH} mask"]'), a.colors())
    assert np.array_equal(pixels(page, f'#ktb-compare img[alt="B, {EVENT} mask"]'), b.colors())
    found = difference(a, b)
    agree = f"The fused masks agree on {100 * (1 - found.changed_share):.1f} % of the pixels"
    assert agree in page.inner_text("#ktb-compare .ktb-words")
    drawn = pixels(page, '#ktb-compare img[alt="difference map"]')
    assert np.array_equal((drawn == DIFFERENT).all(axis=-1), found.changed)
    rows = page.locator("#ktb-compare .ktb-legend tbody tr").all_inner_texts()
    assert len(rows) == len(found.classes)
    assert f"{found.classes[0].iou:.2f}" in rows[0]
    assert f"B, {EVENT}: X looks like depth" in page.inner_text("#ktb-compare .ktb-warn")
    set_number(page, "#ktb-compare-opacity", "0.3")
    page.wait_for_function(
        "[...document.querySelectorAll('#ktb-compare img.ktb-mask')]"
        ".every(i => getComputedStyle(i).opacity === '0.3')"
    )
    page.locator("#ktb-compare img.ktb-mask").first.click(position={"x": 60, "y": 40})
    page.wait_for_function("document.querySelectorAll('#ktb-compare .ktb-mark:not([hidden])').length === 5")
    places = page.evaluate(
        """[...document.querySelectorAll('#ktb-compare img.ktb-view')].map(i => {
        const box = i.getBoundingClientRect(), m = i.parentElement.querySelector('.ktb-mark');
        const mark = m.getBoundingClientRect();
        return [mark.x + mark.width / 2 - box.x, mark.y + mark.height / 2 - box.y]; })"""
    )
    assert np.allclose(places, places[0], atol=1)  # one place in all views
    page.click("#ktb-run")
    page.wait_for_selector("#ktb-compare-stale >> text=Out of date")
    assert page.input_value("#ktb-other-model input") == EVENT
    page.locator("#ktb-source label").nth(1).click()
    page.click("#ktb-run-compare")
    toast(page, "have changed since the run")
    assert page.is_visible("#ktb-compare-stale")
    assert page.foreign_requests == []
