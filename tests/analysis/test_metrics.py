"""Scores against hand-made confusion matrices and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

from training.evaluation.metrics import ConfusionMatrix


def counted(pred, label, num_classes):
    matrix = ConfusionMatrix(num_classes)
    matrix.update(torch.as_tensor(pred), torch.as_tensor(label))
    return matrix


def test_hand_computed_scores():
    matrix = ConfusionMatrix(4)
    # class 0: 3 true, 2 hit; class 1: 2 true, 2 hit, 1 false alarm; class 2: absent; class 3: only predicted
    label = torch.tensor([0, 0, 0, 1, 1, 255, 1])
    pred = torch.tensor([0, 0, 1, 1, 1, 2, 3])
    matrix.update(pred[:3], label[:3])
    matrix.update(pred[3:], label[3:])
    scores = matrix.scores()
    assert matrix.counts.dtype == torch.int64
    assert matrix.counts.tolist() == [[2, 1, 0, 0], [0, 2, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert scores.iou[0] == pytest.approx(100 * 2 / 3)
    assert scores.iou[1] == pytest.approx(100 * 2 / 4)
    assert math.isnan(scores.iou[2])
    assert scores.iou[3] == 0
    assert scores.miou == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)
    assert scores.pixel_accuracy == pytest.approx(100 * 4 / 6)
    assert scores.accuracy[:2] == pytest.approx((100 * 2 / 3, 100 * 2 / 3))
    assert math.isnan(scores.accuracy[2])
    assert math.isnan(scores.accuracy[3])  # the truth lacks it: no recall
    assert scores.class_accuracy == pytest.approx(100 * (2 / 3 + 2 / 3) / 2)


def test_hand_computed_f1():
    # class 0: precision 1, recall 1/2; class 1: precision 2/3, recall 1; class 2: only predicted; 3: absent
    scores = counted([0, 1, 1, 1, 2, 0], [0, 0, 1, 1, 0, 0], 4).scores()
    precision, recall = (1, 2 / 3), (2 / 4, 1)
    expected = [2 * p * r / (p + r) for p, r in zip(precision, recall, strict=True)]
    assert scores.f1[:2] == pytest.approx([100 * value for value in expected])
    assert scores.f1[2] == 0
    assert math.isnan(scores.f1[3])
    assert scores.mean_f1 == pytest.approx(100 * sum(expected) / 3)


def test_perfect_prediction_scores_100_unless_absent_classes_count():
    label = torch.tensor([[0, 1], [3, 3]])
    matrix = counted(label, label, 5)
    scores = matrix.scores()
    assert scores.miou == scores.mean_f1 == scores.pixel_accuracy == scores.class_accuracy == 100
    reference = matrix.scores(absent_as_zero=True)
    assert reference.miou == reference.mean_f1 == reference.class_accuracy == pytest.approx(60)
    assert reference.pixel_accuracy == 100
    assert reference.iou == (100, 100, 0, 100, 0)


def test_one_class():
    assert counted([0, 0, 0], [0, 255, 0], 1).scores().miou == 100


def test_all_wrong():
    scores = counted([1, 1, 0], [0, 0, 1], 2).scores()
    assert scores.miou == scores.mean_f1 == scores.pixel_accuracy == scores.class_accuracy == 0


def test_nothing_labelled_gives_nan():
    scores = counted(torch.zeros(3, dtype=torch.int64), torch.full((3,), 255), 2).scores()
    for value in (scores.miou, scores.pixel_accuracy, scores.class_accuracy, scores.mean_f1, *scores.iou):
        assert math.isnan(value)


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_torchmetrics(seed):
    generator = torch.Generator().manual_seed(seed)
    num_classes = 7
    options = {"num_classes": num_classes, "ignore_index": 255}
    ours = ConfusionMatrix(num_classes)
    each_iou = MulticlassJaccardIndex(average=None, **options)
    each_f1 = MulticlassF1Score(average=None, **options)
    theirs = {
        "miou": MulticlassJaccardIndex(average="macro", **options),
        "mean_f1": MulticlassF1Score(average="macro", **options),
        "pixel_accuracy": MulticlassAccuracy(average="micro", **options),
        "class_accuracy": MulticlassAccuracy(average="macro", **options),
    }
    counts = MulticlassConfusionMatrix(**options)
    for _ in range(3):
        label = torch.randint(num_classes, (2, 19, 23), generator=generator)
        noise = torch.randint(num_classes, label.shape, generator=generator)
        pred = torch.where(torch.rand(label.shape, generator=generator) < 0.6, label, noise)
        label[torch.rand(label.shape, generator=generator) < 0.2] = 255
        ours.update(pred, label)
        for metric in (*theirs.values(), each_iou, each_f1, counts):
            metric.update(pred, label)
    scores = ours.scores()
    assert torch.equal(ours.counts, counts.compute())
    assert torch.tensor(scores.iou) / 100 == pytest.approx(each_iou.compute(), abs=1e-6)
    assert torch.tensor(scores.f1) / 100 == pytest.approx(each_f1.compute(), abs=1e-6)
    for name, metric in theirs.items():
        assert getattr(scores, name) / 100 == pytest.approx(metric.compute().item(), abs=1e-6), name


def test_an_absent_class_is_left_out_as_torchmetrics_leaves_it_out():
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(4, (500,), generator=generator)
    pred = torch.randint(4, (500,), generator=generator)  # class 4 of 5 occurs nowhere
    macro = MulticlassJaccardIndex(num_classes=5, average="macro", ignore_index=255)(pred, label).item()
    matrix = counted(pred, label, 5)
    assert matrix.scores().miou / 100 == pytest.approx(macro, abs=1e-6)
    assert matrix.scores(absent_as_zero=True).miou / 100 == pytest.approx(macro * 4 / 5, abs=1e-6)


@pytest.mark.parametrize(
    ("pred", "label", "message"),
    [
        ([0], [2], "label lies outside 0..1"),
        ([2], [0], "predicted class lies outside 0..1"),
        ([-1], [0], "predicted"),
        ([0], [-1], "label"),
        ([0, 0], [0], "differ in shape"),
    ],
)
def test_values_that_cannot_be(pred, label, message):
    with pytest.raises(ValueError, match=message):
        counted(pred, label, 2)
