"""Where heads differ, counted by hand on small maps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from helpers.pairs import synthetic_pair

from ktb import Predictor, load_model
from ktb.analysis.agreement import (
    AGAINST_FUSED,
    ALL_AGREE,
    ALL_DIFFER,
    ONLY_RGB,
    ONLY_X,
    ClassChange,
    class_changes,
    disagreement_map,
    entropy_map,
    kind_shares,
)
from ktb.analysis.metrics import class_iou, confusion_matrix

FUSED = np.array([[0, 1, 2, 2, 1]], np.uint8)
RGB = np.array([[0, 1, 1, 0, 0]], np.uint8)
X = np.array([[0, 0, 2, 0, 2]], np.uint8)


@pytest.fixture(scope="module")
def prediction():
    return Predictor(load_model("ktb-lite-nyuv2-depth"))(*synthetic_pair(96, 128))


def test_every_kind_of_disagreement():
    kinds = disagreement_map({"fused": FUSED, "rgb": RGB, "x": X})
    assert kinds.tolist() == [[ALL_AGREE, ONLY_RGB, ONLY_X, AGAINST_FUSED, ALL_DIFFER]]
    assert kinds.dtype == np.uint8
    assert kind_shares(kinds).tolist() == [0.2] * 5
    assert kind_shares(np.full((2, 2), ONLY_X)).tolist() == [0, 0, 1, 0, 0]


def test_overlap_of_two_maps_and_classes_that_neither_has():
    joint = confusion_matrix(RGB, FUSED, 4)
    assert joint.dtype == np.int64
    assert joint.tolist() == [[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    iou = class_iou(joint)
    assert iou[:3].tolist() == [1 / 3, 1 / 3, 0]
    assert np.isnan(iou[3])
    assert np.nanmean(iou) == pytest.approx(2 / 9)
    assert np.array_equal(class_iou(joint.T), iou, equal_nan=True)


def test_changes_go_from_the_first_map_to_the_second_and_the_largest_comes_first():
    first = np.repeat(np.array([0, 1, 1, 2], np.uint8), [60, 30, 9, 1])
    second = np.repeat(np.array([0, 2, 0, 0], np.uint8), [60, 30, 9, 1])
    joint = confusion_matrix(first, second, 3)
    assert class_changes(joint) == [ClassChange(0.3, 1, 2), ClassChange(0.09, 1, 0), ClassChange(0.01, 2, 0)]
    assert class_changes(joint, least=0.05, most=5) == [ClassChange(0.3, 1, 2), ClassChange(0.09, 1, 0)]
    assert len(class_changes(joint, most=1)) == 1
    assert class_changes(confusion_matrix(first, first, 3)) == []


def test_bad_maps_are_refused():
    with pytest.raises(ValueError, match="bring them to one size"):
        confusion_matrix(FUSED, FUSED[:, :3], 3)
    with pytest.raises(ValueError, match=r"classes 0\.\.2; it must be 0\.\.1"):
        confusion_matrix(FUSED, RGB, 2)


def test_entropy_is_that_of_the_softmax(prediction):
    found = entropy_map(prediction)
    assert found.shape == prediction.labels["fused"].shape
    assert found.dtype == np.float32
    probability = (prediction.logits["fused"] / prediction.temperatures["fused"]).softmax(dim=1)[0]
    expected = torch.special.entr(probability).sum(dim=0) / np.log(len(probability))
    expected = torch.nn.functional.interpolate(expected[None, None], found.shape, mode="bilinear")[0, 0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert 0.02 < found.mean() < 0.9


def test_entropy_of_certain_and_of_undecided_heads(prediction):
    flat = torch.zeros(1, 40, 3, 4)
    sure = flat.clone()
    sure[:, 7] = 200
    logits = {"fused": flat, "rgb": sure, "x": sure}
    made = dataclasses.replace(prediction, logits=logits)
    np.testing.assert_allclose(entropy_map(made, "fused"), 1, atol=1e-6)
    np.testing.assert_allclose(entropy_map(made, "rgb"), 0, atol=1e-6)
    single = dataclasses.replace(prediction, logits={"fused": flat[:, :1]})
    assert not entropy_map(single, "fused").any()
