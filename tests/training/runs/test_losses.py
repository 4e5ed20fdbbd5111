"""Masks and the self-teaching loss."""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from training import losses
from training.losses import PixelLoss, class_weights, draw_masks, hard_pixels, mmst_loss, teach_labels


@pytest.mark.parametrize("batch", range(2, 10))
@pytest.mark.parametrize("fraction", [0.125, 0.25, 0.5])
def test_masks_are_disjoint_and_never_empty(batch, fraction):
    mask_rgb, mask_x = draw_masks(batch, fraction, fraction, torch.Generator().manual_seed(batch))
    expected = max(1, min(batch // 2, int(fraction * batch + 0.5)))
    assert mask_rgb.dtype == torch.bool
    assert mask_rgb.shape == (batch,)
    assert mask_rgb.sum() == mask_x.sum() == expected
    assert not (mask_rgb & mask_x).any()


def test_released_recipe_and_every_sample_gets_its_turn():
    generator = torch.Generator().manual_seed(0)
    drawn = [draw_masks(4, 0.25, 0.25, generator) for _ in range(60)]
    assert all(rgb.sum() == 1 and x.sum() == 1 for rgb, x in drawn)
    assert torch.stack([rgb for rgb, _ in drawn]).any(0).all()
    assert torch.stack([x for _, x in drawn]).any(0).all()


def test_zero_fraction_masks_nothing():
    mask_rgb, mask_x = draw_masks(8, 0.0, 0.25, torch.Generator())
    assert mask_rgb.sum() == 0
    assert mask_x.sum() == 2


@pytest.mark.parametrize(("batch", "fraction", "message"), [(1, 0.25, "batch_size"), (4, 0.6, "mask_rgb")])
def test_impossible_masks(batch, fraction, message):
    with pytest.raises(ValueError, match=message):
        draw_masks(batch, fraction, 0.25, torch.Generator())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows_at_once", [7, 10_000])
def test_cross_entropy_is_torchs(smoothing, rows_at_once, monkeypatch):
    monkeypatch.setattr(losses, "ROWS_AT_ONCE", rows_at_once)
    torch.manual_seed(0)
    ours = torch.randn(2, 5, 4, 6, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    label = torch.randint(0, 5, (2, 4, 6))
    label[:, 0] = 255
    loss = PixelLoss(label_smoothing=smoothing)(ours, label)
    expected = F.cross_entropy(theirs, label, ignore_index=255, label_smoothing=smoothing)
    (3 * loss).backward()
    (3 * expected).backward()
    assert torch.allclose(loss, expected, atol=1e-6)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-7)


def test_branches_learn_only_where_the_fused_head_is_right():
    label = torch.tensor([[[0, 1, 255, 2]]])
    fused = F.one_hot(torch.tensor([[[0, 2, 0, 2]]]), 3).permute(0, 3, 1, 2).float() * 5
    assert teach_labels(fused, label).tolist() == [[[0, 255, 255, 2]]]
    rgb, x = (torch.randn(1, 3, 1, 4, requires_grad=True) for _ in range(2))
    output = SimpleNamespace(fused=fused, rgb=rgb, x=x)
    parts = mmst_loss(output, label, 0.3)
    assert parts.total.item() == pytest.approx((parts.fused + 0.3 * (parts.rgb + parts.x)).item())
    parts.total.backward()
    assert (rgb.grad.abs().sum(1)[0, 0] > 0).tolist() == [True, False, False, True]
    rgb.grad = None
    mmst_loss(output, label, 0.3, mask_labels=False).total.backward()
    assert (rgb.grad.abs().sum(1)[0, 0] > 0).tolist() == [True, True, False, True]


def test_all_ignored_is_zero_and_finite():
    logits = torch.randn(2, 3, 2, 2, requires_grad=True)
    output = SimpleNamespace(fused=logits, rgb=logits, x=logits)
    parts = mmst_loss(output, torch.full((2, 2, 2), 255), 0.3)
    parts.total.backward()
    assert parts.total.item() == 0
    assert logits.grad.abs().max() == 0


def test_bfloat16_logits_are_scored_in_float32():
    logits = torch.randn(1, 40, 8, 8).bfloat16()
    loss = PixelLoss()(logits, torch.randint(0, 40, (1, 8, 8)))
    assert loss.dtype == torch.float32


def test_weighted_cross_entropy_is_torchs():
    torch.manual_seed(0)
    ours = torch.randn(2, 5, 4, 6, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    label = torch.randint(0, 5, (2, 4, 6))
    label[:, 0] = 255
    weights = torch.tensor([0.2, 1.0, 3.0, 0.0, 1.5])
    loss = PixelLoss(class_weights=weights)(ours, label)
    expected = F.cross_entropy(theirs, label, weights, ignore_index=255)
    loss.backward()
    expected.backward()
    assert torch.allclose(loss, expected, atol=1e-6)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-7)


def test_class_weights_favour_the_rare_and_average_one():
    counts = torch.tensor([900, 90, 10, 0])
    weights = class_weights(counts, 0.5)
    assert weights[3] == 0
    assert weights[2] / weights[0] == pytest.approx(90**0.5)
    assert (weights * counts / counts.sum()).sum().item() == pytest.approx(1)
    assert class_weights(counts, 0.0)[:3].tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(ValueError, match="every pixel is ignored"):
        class_weights(torch.zeros(3), 0.5)


def probabilities(*values: float) -> torch.Tensor:
    """Two-class logits (N, 2) that give class 0 these probabilities."""
    p = torch.tensor(values)
    return torch.stack([p.log(), (1 - p).log()], dim=1)


def test_hard_pixels_are_those_below_the_threshold():
    rows = probabilities(0.95, 0.6, 0.2, 0.1, 0.69, 0.71)
    valid = torch.tensor([True, True, True, False, True, True])
    found = hard_pixels(rows, torch.zeros(6, dtype=torch.int64), valid, 0.7, 1 / 16)
    assert found.tolist() == [False, True, True, False, True, False]


def test_enough_pixels_are_kept_when_all_are_easy():
    rows = probabilities(0.99, 0.98, 0.97, 0.96)
    label, valid = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.bool)
    assert hard_pixels(rows, label, valid, 0.7, 0.5).tolist() == [False, False, True, True]
    assert hard_pixels(rows, label, valid, 0.7, 1 / 16).tolist() == [False, False, False, True]
    nothing = torch.zeros(4, dtype=torch.bool)
    assert not hard_pixels(rows, label, nothing, 0.7, 0.5).any()


def test_ohem_is_the_mean_over_hard_pixels():
    rows = probabilities(0.95, 0.6, 0.2, 0.9)
    logits = rows.T.reshape(1, 2, 2, 2)
    loss = PixelLoss("ohem")(logits, torch.zeros(1, 2, 2, dtype=torch.int64))
    assert loss.item() == pytest.approx(-(math.log(0.6) + math.log(0.2)) / 2, rel=1e-5)
