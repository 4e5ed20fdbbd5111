"""Two checkpoints on one pair: the numbers first, then the tab in a real browser."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers.counterfactuals import labelled, toast
from helpers.embedded import small_predictor, small_service
from helpers.page.browsing import run, shown_array, shown_run, upload, wait_for_run
from helpers.pairs import synthetic_pair, write_pair

from app.page import build_page
from app.panels.compare import compare_layers, compare_panel
from app.service import Service
from ktb.analysis.comparison import ChangedClass, difference, shared_names
from ktb.outputs.layers import NOT_DRAWN

DEPTH, EVENT = "ktb-lite-nyuv2-depth", "ktb-lite-nyuv2-event"
STATE = "document.querySelector('.ktb-v').ktbViewer.state"


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


def test_both_checkpoints_are_named(results):
    found = difference(*(result.prediction for result in results))
    panel = compare_panel(*results, found)
    assert f"A: {DEPTH} and B: {EVENT}" in panel
    assert f"B, {EVENT}: X looks like depth" in panel
    assert EVENT in compare_layers(results[1].prediction, found)[0].title


def test_other_class_sets_are_said(results):
    a, b = (result.prediction for result in results)
    hostile = tuple(f"<b>{name}</b>" for name in b.classes)
    alien = dataclasses.replace(b, classes=hostile)
    panel = compare_panel(results[0], dataclasses.replace(results[1], prediction=alien), None)
    assert "no class name in common (40 and 40 classes)" in panel
    assert [layer.name for layer in compare_layers(alien, None)] == ["other"]
    similar = dataclasses.replace(b, classes=(b.classes[0], *hostile[1:]))
    second = dataclasses.replace(results[1], prediction=similar)
    panel = compare_panel(results[0], second, difference(a, similar))
    assert "Classes are compared by name: 1 are in both sets" in panel
    assert "a class that the other one lacks" in panel
    assert "<b>wall" not in panel


def test_the_difference_layer_shows_where(prediction):
    rest = tuple(f"a{i}" for i in range(len(prediction.classes) - 3))
    a = labelled(prediction, [[0, 1, 2]], ("wall", "floor", "bed", *rest))
    b = labelled(prediction, [[1, 2, 0]], ("sky", "wall", "wardrobe"))
    mask, drawn = compare_layers(b, difference(a, b))
    assert (mask.values.tolist(), mask.classes) == ([[1, 2, 0]], ("sky", "wall", "wardrobe"))
    assert drawn.values.tolist() == [[NOT_DRAWN, 1, 1]]
    assert [entry.name for entry in drawn.entries] == ["Another class", "Not comparable"]
    moved = labelled(prediction, [[1, 0, 0]])
    _, drawn = compare_layers(moved, difference(labelled(prediction, [[0, 0, 0]]), moved))
    assert drawn.values.tolist() == [[0, NOT_DRAWN, NOT_DRAWN]]


def test_with_one_checkpoint_the_tab_says_so():
    service = Service()
    service._files = {DEPTH: service._files[DEPTH]}
    assert "There is one checkpoint only" in str(build_page(service).config)
    assert "There is one checkpoint only" not in str(build_page(Service()).config)


def test_two_checkpoints_on_one_pair(page, tmp_path):
    photo, depth = synthetic_pair()
    a, b = (small_predictor(model)(photo, depth) for model in (DEPTH, EVENT))
    page.get_by_role("tab", name="Evaluate").click()
    page.get_by_role("tab", name="Another checkpoint").click()
    page.click("#ktb-run-compare")
    toast(page, "Run a pair first")
    upload(page, *write_pair(tmp_path))
    run(page)
    page.click("#ktb-run-compare")
    page.wait_for_function(f"{STATE}.compare === 'layer.other'")
    assert np.array_equal(shown_array(page, "labels.fused"), a.labels["fused"])
    assert np.array_equal(shown_array(page, "layer.other"), b.labels["fused"])
    found = difference(a, b)
    assert np.array_equal(shown_array(page, "layer.other_differs") == 0, found.changed)
    agree = f"The fused masks agree on {100 * (1 - found.changed_share):.1f} % of the pixels"
    assert agree in page.inner_text("#ktb-compare .ktb-words")
    rows = page.locator("#ktb-compare .ktb-legend").first.locator("tbody tr").all_inner_texts()
    assert len(rows) == len(found.classes)
    assert f"{found.classes[0].iou:.2f}" in rows[0]
    assert f"B, {EVENT}: X looks like depth" in page.inner_text("#ktb-compare .ktb-warn")
    before = shown_run(page)
    page.click("#ktb-run")
    wait_for_run(page, before)
    page.wait_for_selector("#ktb-compare .ktb-words", state="detached")  # it belonged to the run before
    assert page.input_value("#ktb-other-model input") == EVENT
    page.locator("#ktb-source label").nth(1).click()
    page.click("#ktb-run-compare")
    toast(page, "have changed since the run")
    assert page.foreign_requests == []
