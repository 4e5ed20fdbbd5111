"""Boundary F1 against squares counted by hand."""

import math

import numpy as np
import pytest
import torch

from training.evaluation.boundary import BoundaryCounts

SIZE = 60


def square(left=20, top=20, side=20):
    """(60, 60) int64: class 1 in a square, class 0 around it."""
    label = np.zeros((SIZE, SIZE), np.int64)
    label[top : top + side, left : left + side] = 1
    return label


def counted(pred, label, tolerance, num_classes=2):
    counts = BoundaryCounts(num_classes, tolerance)
    counts.update(pred, label)
    return counts


def test_the_boundary_of_a_square_by_hand():
    counts = counted(square(), square(), 0)
    # inside: the square's own rim; outside: its four sides, without the corners (4-neighbours)
    assert counts.counts.tolist() == [[80, 80, 80, 80], [76, 76, 76, 76]]
    assert counts.counts.dtype == torch.int64
    assert counts.f1() == (100, 100)
    assert counts.mean_f1() == 100


@pytest.mark.parametrize("tolerance", [3, 3.0, 4])
def test_a_shift_within_the_tolerance_is_no_mistake(tolerance):
    assert counted(square(left=23), square(), tolerance).f1() == (100, 100)


def test_a_shift_beyond_the_tolerance_by_hand():
    truth, met, guessed, guessed_met = counted(square(left=24), square(), 3).counts[1].tolist()
    # 4 away from the shifted rim: the left side (20 pixels), and the right side but for 4 pixels at both ends
    # that are near the shifted top and bottom (12); the same the other way round
    assert (truth, guessed) == (76, 76)
    assert met == guessed_met == 76 - 20 - 12
    assert counted(square(left=24), square(), 3).f1()[1] == pytest.approx(100 * 44 / 76)


def test_distance_is_euclidean():
    shifted = square(left=22, top=22)  # the corners are sqrt(8) = 2.83 apart
    assert counted(shifted, square(), 2.83).f1()[1] == 100
    assert counted(shifted, square(), 2.82).f1()[1] < 100


def test_precision_and_recall_are_told_apart():
    counts = counted(square(side=2), np.zeros((SIZE, SIZE), np.int64), 3)
    assert counts.counts.tolist() == [[0, 0, 8, 0], [0, 0, 4, 0]]
    assert counts.f1() == (0, 0)
    two = square()
    two[2:6, 2:6] = 1  # a second square, far off, that the prediction lacks
    truth, met, guessed, guessed_met = counted(square(), two, 2).counts[1].tolist()
    assert (truth, met, guessed, guessed_met) == (76 + 12, 76, 76, 76)
    recall = 76 / 88
    assert counted(square(), two, 2).f1()[1] == pytest.approx(100 * 2 * recall / (1 + recall))


def test_the_default_tolerance_is_a_share_of_the_diagonal():
    label = np.zeros((300, 400), np.int64)  # diagonal 500: 3.75 pixels
    label[100:200, 100:200] = 1
    assert counted(np.roll(label, 3, 1), label, None).f1() == (100, 100)
    assert counted(np.roll(label, 4, 1), label, None).f1()[1] < 90


def test_a_class_without_boundary_is_left_out():
    counts = counted(square(), square(), 2, num_classes=4)
    assert [math.isnan(value) for value in counts.f1()] == [False, False, True, True]
    assert counts.mean_f1() == 100
    assert counts.f1(absent_as_zero=True) == (100, 100, 0, 0)
    assert counts.mean_f1(absent_as_zero=True) == 50
    flat = np.zeros((SIZE, SIZE), np.int64)
    assert math.isnan(counted(flat, flat, 2).mean_f1())


def test_images_are_counted_together():
    both = BoundaryCounts(2, 3)
    both.update(square(), square())
    both.update(square(left=24), square())
    first, second = counted(square(), square(), 3), counted(square(left=24), square(), 3)
    assert torch.equal(both.counts, first.counts + second.counts)


def test_a_thin_ignored_seam_is_where_the_boundary_is():
    label = square(left=30, top=0, side=60)  # right half class 1
    seam = label.copy()
    seam[:, 27:33] = 255
    for edge in (28, 30, 32):  # anywhere in the seam
        pred = square(left=edge, top=0, side=60)
        assert counted(pred, seam, 3).f1() == (100, 100), edge
    assert counted(square(left=40, top=0, side=60), seam, 3).f1() == (0, 0)


def test_around_a_large_ignored_region_nothing_is_judged():
    label = square()
    unknown = label.copy()
    unknown[:, 15:] = 255  # the whole square
    truth_gone = counted(label, unknown, 2)
    assert truth_gone.counts.sum() == 0
    everything = np.full((SIZE, SIZE), 255)
    assert counted(label, everything, 2).counts.sum() == 0


def test_impossible_arguments():
    with pytest.raises(ValueError, match=r"tolerance is -1; give a distance of 0 or more pixels"):
        BoundaryCounts(2, -1)
    with pytest.raises(ValueError, match="tolerance is nan"):
        BoundaryCounts(2, float("nan"))
    with pytest.raises(ValueError, match="differ in shape"):
        BoundaryCounts(2).update(np.zeros((3, 4), int), np.zeros((4, 3), int))
