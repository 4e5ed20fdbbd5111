"""Changed pairs and what they change: the numbers first, then the tab in a real browser."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from pairs import synthetic_pair
from test_predictor import MM, depth_model

from ktb import Predictor, XOptions
from ktb.differences import VERDICTS, ChangedClass, deciding, difference
from ktb.model import BRANCHES
from ktb.outputs import result_files
from ktb.what_if import Change, apply, blurred, darkened, run, shifted

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictor():
    return Predictor(depth_model())


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair(95, 127)


@pytest.fixture(scope="module")
def reading(predictor, pair):
    return predictor.read(pair[1], pair[0].shape[:2], MM)


@pytest.fixture(scope="module")
def prediction(predictor, pair, reading):
    return predictor(pair[0], reading)


def equal(a, b) -> bool:
    return all(np.array_equal(a.labels[branch], b.labels[branch]) for branch in BRANCHES)


def test_without_x_is_as_if_there_were_none(predictor, pair, reading, prediction):
    dropped = predictor(pair[0], reading, drop="x")
    assert equal(dropped, predictor(pair[0], None))
    assert not equal(dropped, prediction)
    assert dropped.x.origin == "missing"
    assert "X was switched off" in dropped.x.warnings[-1]


def test_without_the_photograph_its_pixels_do_not_matter(predictor, pair, reading, prediction):
    dropped = predictor(pair[0], reading, drop="rgb")
    assert equal(dropped, predictor(255 - pair[0], reading, drop="rgb"))
    assert not equal(dropped, prediction)
    assert dropped.x.origin == "measured"
    assert "The photograph was switched off" in dropped.x.warnings[-1]
    assert b"The photograph was switched off" in result_files(pair[0], dropped)["prediction.json"]


def test_something_must_be_left_to_see(predictor, pair, reading):
    with pytest.raises(ValueError, match="there is no X: without the photograph nothing"):
        predictor(pair[0], None, drop="rgb")
    assert equal(predictor(pair[0], None, drop="x"), predictor(pair[0], None))
    with pytest.raises(ValueError, match="drop 'thermal': choose one of rgb, x"):
        predictor(pair[0], reading, drop="thermal")


def test_no_change_changes_nothing(predictor, pair, reading, prediction):
    rgb, same = apply(Change(), pair[0], reading)
    assert rgb is pair[0]
    assert same is reading
    assert np.array_equal(shifted(reading, (0, 0)).image, reading.image)
    assert Change().words == ()
    assert equal(run(predictor, Change(), pair[0], reading), prediction)


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
        apply(Change(shift_xy=(1, 0)), pair[0], missing)
    other = predictor.read(pair[1][:64, :64], (64, 64), MM)
    with pytest.raises(ValueError, match="read it for this photograph"):
        apply(Change(swap=other), pair[0], reading)


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
        Change(**wrong)


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
    change = Change(drop="x", shift_xy=(3, -2), darken=0.25, blur_sigma=1.5)
    assert change.words == (
        "X switched off",
        "photograph darkened by 25 % of its light",
        "photograph blurred with a sigma of 1.5 px",
    )
    said = run(predictor, change, pair[0], reading).x.warnings
    assert said[0].startswith("What if: photograph darkened by 25 %")
    assert "X was switched off" in said[-1]
    moved = run(predictor, Change(shift_xy=(3, -2)), pair[0], reading)
    assert moved.x.warnings[0] == "What if: X moved by 3 px right and 2 px up."
    assert moved.x.summary.endswith("moved by 3 px right and 2 px up")
    assert moved.trace is None


def test_another_x_is_what_the_network_gets(predictor, pair, reading, prediction):
    other = predictor.read(pair[1][::-1].copy(), pair[0].shape[:2], MM)
    swapped = run(predictor, Change(swap=other), pair[0], reading)
    assert equal(swapped, predictor(pair[0], other))
    assert not equal(swapped, prediction)
    assert "another X in its place" in swapped.x.warnings[0]


def labelled(prediction, fused, classes=None, confidence=0.5, **others):
    """The prediction with a (H, W) fused map; the branches' maps are equal unless given."""
    labels = {branch: np.array(others.get(branch, fused), np.uint8) for branch in BRANCHES}
    confidences = {branch: np.full(labels[branch].shape, confidence, np.float32) for branch in BRANCHES}
    return dataclasses.replace(
        prediction, labels=labels, confidences=confidences, classes=classes or prediction.classes
    )


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
    with pytest.raises(ValueError, match="same photograph"):
        difference(a, prediction)


def test_which_sensor_decided_by_hand(prediction):
    full = labelled(prediction, [[0, 0, 0, 0, 0]])
    without_x = labelled(prediction, [[0, 0, 1, 1, 1]])
    without_rgb = labelled(prediction, [[0, 1, 0, 1, 2]])
    found = deciding(full, without_x, without_rgb)
    assert [VERDICTS[code] for code in found.verdict[0]] == ["either", "rgb", "x", "both", "both"]
    assert found.shares == {"either": 0.2, "rgb": 0.2, "x": 0.2, "both": 0.4}
    assert (found.stays_without_x, found.stays_without_rgb) == (0.4, 0.4)
