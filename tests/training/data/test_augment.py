"""Augmentation keeps rgb, X and label on each other."""

import dataclasses

import numpy as np
import pytest

from training.data.augment import AugmentConfig, augment, disturb_x, jitter_colors, mix_classes
from training.data.datasets.sample import Sample
from training.data.faults import depth_faults, misaligned, rgb_faults

PLAIN = AugmentConfig(crop=(48, 64), scale=(0.5, 2.0), jitter=0, blur=0)


def blocks(height=96, width=128, cell=8) -> Sample:
    """Every cell has its own label, and rgb and X that tell the label."""
    rows, columns = np.indices((height, width)) // cell
    label = (1 + (rows * 5 + columns * 3) % 20).astype(np.uint8)
    return Sample("blocks", np.stack([label * 10] * 3, -1), label * 10, label)


@pytest.mark.parametrize("seed", range(20))
def test_the_three_stay_aligned(seed):
    rgb, modal_x, label = augment(blocks(), PLAIN, np.random.default_rng(seed))[1:]
    assert rgb.shape == (48, 64, 3)
    assert modal_x.shape == label.shape == (48, 64)
    assert rgb.dtype == label.dtype == np.uint8
    assert modal_x.dtype == np.float32
    inside = label != 255
    assert (rgb[~inside] == 0).all()
    assert (modal_x[~inside] == 0).all()
    # inside the cells all three tell the same; at their edges bilinear and nearest differ
    for values in (rgb[..., 1].astype(float), modal_x):
        assert (np.abs(values - label * 10.0)[inside] < 1).mean() > 0.6
    shifted = np.abs(modal_x[:, 4:] - label[:, :-4] * 10.0)[inside[:, :-4] & inside[:, 4:]] < 1
    assert shifted.mean() < 0.6  # the check above would notice a shift


def test_scale_one_is_the_whole_image_resized():
    config = AugmentConfig(crop=(48, 64), scale=(1, 1), flip=0, jitter=0, blur=0)
    label = augment(blocks(), config, np.random.default_rng(0)).label
    assert (label == blocks().label[1::2, 1::2]).all()


def test_flip_mirrors_all():
    kept, flipped = (
        augment(
            blocks(),
            AugmentConfig(crop=(48, 64), scale=(1, 1), flip=p, jitter=0, blur=0),
            np.random.default_rng(0),
        )
        for p in (0, 1)
    )
    for a, b in zip(kept[1:], flipped[1:], strict=True):
        assert (a == b[:, ::-1]).all()


def test_a_mirror_negates_the_angle_of_polarization():
    angle = np.linspace(-1.5, 1.5, 48 * 64).reshape(48, 64)  # φ in radians
    x = (255 * np.stack([np.sin(2 * angle), np.cos(2 * angle), np.sin(2 * angle)], -1)).astype(np.float32)
    sample = Sample("angles", np.zeros((48, 64, 3), np.uint8), x, np.zeros((48, 64), np.uint8))

    def flipped(encoding: str, **changes) -> np.ndarray:
        config = AugmentConfig(crop=(48, 64), scale=(1, 1), flip=1, jitter=0, blur=0, **changes)
        return augment(sample, config, np.random.default_rng(0), encoding).modal_x

    sine, cosine, again = np.moveaxis(flipped("aolp") / 255, -1, 0)
    assert np.allclose(np.arctan2(sine, cosine) / 2, -angle[:, ::-1], atol=1e-5)
    assert np.array_equal(sine, again)
    for kept in (flipped("aolp", mirror_angles=False), flipped("image")):
        assert np.array_equal(kept, x[:, ::-1])


def test_same_generator_same_sample():
    config = AugmentConfig(crop=(48, 64), jitter=1, blur=1, dequantise=True, x_scale=(0.9, 1.1), holes=2)
    first, again, other = (augment(blocks(), config, np.random.default_rng(s)) for s in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first[1:], again[1:], strict=True))
    assert (first.rgb != other.rgb).any()


def test_jitter_of_one_changes_nothing_and_saturation_zero_is_grey():
    rgb = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.abs(jitter_colors(rgb, 1, 1, 1).astype(int) - rgb).max() <= 1
    assert np.ptp(jitter_colors(rgb, 1, 1, 0), axis=-1).max() == 0
    assert jitter_colors(rgb, 0.5, 1, 1).mean() == pytest.approx(rgb.mean() / 2, rel=0.02)


def test_depth_disturbance():
    modal_x = np.full((40, 60), 100, np.float32)
    modal_x[:10] = 0
    noisy = disturb_x(modal_x.copy(), AugmentConfig(dequantise=True), np.random.default_rng(0))
    assert (noisy[:10] == 0).all()
    assert 99.5 <= noisy[10:].min() < 99.6
    assert 100.4 < noisy[10:].max() <= 100.5
    scaled = disturb_x(modal_x.copy(), AugmentConfig(x_scale=(1.1, 1.1)), np.random.default_rng(0))
    assert scaled[20, 20] == pytest.approx(110)
    holed = disturb_x(modal_x.copy(), AugmentConfig(holes=3), np.random.default_rng(0))
    assert (holed[10:] == 0).any()
    assert (holed[10:] == 100).any()


def test_three_channel_x():
    sample = blocks()
    sample = sample._replace(modal_x=np.stack([sample.modal_x] * 3, -1))
    assert augment(sample, PLAIN, np.random.default_rng(3)).modal_x.shape == (48, 64, 3)


FAULTS = AugmentConfig(
    crop=(48, 64), jitter=0, blur=0, depth_faults=1, rgb_faults=1, misalignment=8, absent=0.2
)


def room(height=60, width=80) -> tuple[np.ndarray, np.ndarray]:
    """A slope of depth with a missing corner, and an RGB image of noise."""
    depth = np.linspace(40, 160, height * width, dtype=np.float32).reshape(height, width)
    depth[:10, :10] = 0
    return depth, np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_faults_of_depth_keep_the_range_and_what_was_missing():
    depth, rgb = room()
    before, lost, changed = depth.copy(), [], []
    for seed in range(60):
        out = depth_faults(depth, rgb, np.random.default_rng(seed))
        assert out.dtype == np.float32
        assert out.shape == depth.shape
        assert out.min() >= 0
        assert out.max() <= 255
        assert (out[depth == 0] == 0).all()  # in-filling invents no depth where there was none
        lost.append(((out == 0) & (depth > 0)).mean())
        changed.append((np.abs(out - depth) > 0.5).mean())
    assert (depth == before).all()
    assert 0.2 < np.mean(np.array(lost) > 0.02) < 0.8  # raw holes; others have none or filled ones
    assert max(lost) > 0.5
    assert 0.5 < np.mean(np.array(changed) > 0.01) <= 1


def test_faults_of_rgb_darken_and_blur():
    _, rgb = room()
    before = rgb.copy()
    found = [rgb_faults(rgb, np.random.default_rng(seed)) for seed in range(40)]
    assert (rgb == before).all()
    assert all(image.dtype == np.uint8 and image.shape == rgb.shape for image in found)
    assert sum(image.mean() < 0.5 * rgb.mean() for image in found) > 5
    assert sum(image.std() < 0.7 * rgb.std() and image.mean() > 0.7 * rgb.mean() for image in found) > 3


def test_a_misaligned_x_moves_by_no_more_than_it_says():
    spot = np.zeros((61, 81), np.float32)
    spot[30, 40] = 255
    moves = []
    for seed in range(60):
        rows, columns = np.nonzero(misaligned(spot, 8, np.random.default_rng(seed)))
        moves += [np.hypot(rows.mean() - 30, columns.mean() - 40)] if len(rows) else []
    assert len(moves) > 50
    assert max(moves) <= 9
    assert np.mean(moves) > 3


def test_absent_sensors_are_zeros_and_never_both():
    found = [augment(blocks(), FAULTS, np.random.default_rng(seed)) for seed in range(60)]
    without = [(not sample.rgb.any(), not sample.modal_x.any()) for sample in found]
    assert 3 < sum(rgb for rgb, _ in without) < 25
    assert 3 < sum(x for _, x in without) < 25
    assert (True, True) not in without


def test_faults_that_are_off_draw_nothing():
    none = dataclasses.replace(FAULTS, depth_faults=0, rgb_faults=0, misalignment=0, absent=0)
    plain, off = (augment(blocks(), config, np.random.default_rng(3)) for config in (PLAIN, none))
    assert all((a == b).all() for a, b in zip(plain[1:], off[1:], strict=True))


def test_mixing_takes_pixels_of_half_of_the_other_classes_from_all_three():
    rng = np.random.default_rng(0)
    stripes = np.repeat(np.array([0, 1, 2, 255], np.uint8), 18).reshape(8, 9)
    sample, other = (
        Sample(name, np.full((8, 9, 3), value, np.uint8), np.full((8, 9), value, np.float32), label)
        for name, value, label in (("a", 10, np.full((8, 9), 7, np.uint8)), ("b", 200, stripes))
    )
    found = set()
    for _ in range(20):
        mixed = mix_classes(sample, other, rng)
        taken = mixed.label != 7
        found.add(tuple(np.unique(mixed.label[taken])))
        assert mixed.name == "a"
        assert (mixed.label[taken] == other.label[taken]).all()
        assert ((mixed.rgb == 200) == taken[..., None]).all()
        assert ((mixed.modal_x == 200) == taken).all()
    assert found == {(0, 1), (0, 2), (1, 2)}
