"""Scores against a hand-made confusion matrix."""

import math

import pytest
import torch

from training.metrics import ConfusionMatrix


def test_hand_computed_scores():
    matrix = ConfusionMatrix(4)
    # class 0: 3 true, 2 hit; class 1: 2 true, 2 hit, 1 false alarm; class 2: absent; class 3: only predicted
    label = torch.tensor([0, 0, 0, 1, 1, 255, 1])
    pred = torch.tensor([0, 0, 1, 1, 1, 2, 3])
    matrix.update(pred[:3], label[:3])
    matrix.update(pred[3:], label[3:])
    scores = matrix.scores()
    assert matrix.counts.dtype == torch.int64
    assert matrix.counts.sum() == 6
    assert scores.iou[0] == pytest.approx(100 * 2 / 3)
    assert scores.iou[1] == pytest.approx(100 * 2 / 4)
    assert math.isnan(scores.iou[2])
    assert scores.iou[3] == 0
    assert scores.miou == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
    assert scores.pixel_accuracy == pytest.approx(100 * 4 / 6)
    assert scores.class_accuracy == pytest.approx(100 * (2 / 3 + 2 / 3) / 2)


def test_perfect_prediction_scores_100_unless_absent_classes_count():
    matrix = ConfusionMatrix(5)
    label = torch.tensor([[0, 1], [3, 3]])
    matrix.update(label, label)
    assert matrix.scores().miou == 100
    assert matrix.scores(absent_as_zero=True).miou == pytest.approx(60)


def test_nothing_labelled_gives_nan():
    matrix = ConfusionMatrix(2)
    matrix.update(torch.zeros(3, dtype=torch.int64), torch.full((3,), 255))
    scores = matrix.scores()
    assert math.isnan(scores.miou)
    assert math.isnan(scores.pixel_accuracy)


@pytest.mark.parametrize(
    ("pred", "label", "message"),
    [([0], [2], "label"), ([2], [0], "predicted"), ([-1], [0], "predicted"), ([0, 0], [0], "shape")],
)
def test_values_that_cannot_be(pred, label, message):
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(2).update(torch.tensor(pred), torch.tensor(label))
