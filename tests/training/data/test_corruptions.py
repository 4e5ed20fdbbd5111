"""Corruptions: what they promise about shapes, strength, places and what they leave alone."""

import cv2
import numpy as np
import pytest

from training.data.datasets.sample import Sample
from training.robustness.corruptions import KINDS, Corruption, hole_mask

HEIGHT, WIDTH = 96, 128
LEVELS = [(name, level) for name, kind in KINDS.items() for level in kind.levels]


def make_sample(channels: int = 1, dtype: type = np.uint8, low: int = 1) -> Sample:
    rng = np.random.default_rng(5)
    shape = (HEIGHT, WIDTH) if channels == 1 else (HEIGHT, WIDTH, channels)
    rgb = cv2.GaussianBlur(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8), (5, 5), 1)
    modal_x = rng.integers(low, 256, shape).astype(dtype)
    return Sample("frame", rgb, modal_x, rng.integers(0, 40, (HEIGHT, WIDTH), dtype=np.uint8))


def damage(name: str, level: float, sample: Sample, seed: int = 0) -> Sample:
    return Corruption(name, level)(sample, np.random.default_rng(seed))


@pytest.mark.parametrize(("channels", "dtype", "low"), [(1, np.uint8, 1), (3, np.float32, -255)])
@pytest.mark.parametrize(("name", "level"), LEVELS)
def test_only_the_target_changes_and_nothing_is_written_into(name, level, channels, dtype, low):
    sample = make_sample(channels, dtype, low)
    for array in sample[1:]:
        array.flags.writeable = False
    changed = damage(name, level, sample)
    target, other = ("rgb", "modal_x") if KINDS[name].target == "rgb" else ("modal_x", "rgb")
    before, after = getattr(sample, target), getattr(changed, target)
    assert after.shape == before.shape
    assert after.dtype == before.dtype
    assert not np.array_equal(after, before)
    assert not np.shares_memory(after, before)
    assert after.min() >= (low if low < 0 and target == "modal_x" else 0)
    assert after.max() <= 255
    assert changed.label is sample.label
    assert getattr(changed, other) is getattr(sample, other)
    assert changed.name == "frame"
    np.testing.assert_array_equal(getattr(damage(name, level, sample), target), after)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "x-scale" and name != "blur"])
def test_images_differ_in_what_is_drawn(name):
    sample, level = make_sample(), KINDS[name].levels[-1]
    target = "rgb" if KINDS[name].target == "rgb" else "modal_x"
    drawn = {getattr(damage(name, level, sample, seed), target).tobytes() for seed in range(8)}
    assert len(drawn) > 1


@pytest.mark.parametrize("name", KINDS)
def test_the_clean_level_is_identity(name):
    sample = make_sample()
    assert damage(name, KINDS[name].clean, sample) is sample


@pytest.mark.parametrize("name", KINDS)
def test_more_damage_farther_from_the_clean_level(name):
    kind = KINDS[name]
    rng = np.random.default_rng(2)
    smooth = cv2.GaussianBlur(rng.random((HEIGHT, WIDTH, 3)), (31, 31), 8)
    smooth = (20 + 230 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    sample = Sample("frame", smooth, smooth[..., 0].copy(), np.zeros((HEIGHT, WIDTH), np.uint8))
    target = "rgb" if kind.target == "rgb" else "modal_x"

    def distance(level: float) -> float:
        changed = getattr(damage(name, level, sample, seed=3), target)
        return float(np.abs(changed.astype(float) - getattr(sample, target)).mean())

    for side in (lambda v: v < kind.clean, lambda v: v > kind.clean):
        levels = sorted(filter(side, kind.levels), key=lambda v: abs(v - kind.clean))
        distances = [distance(level) for level in levels]
        assert distances == sorted(distances)
        assert len(set(distances)) == len(distances)
        assert all(d > 0 for d in distances)


@pytest.mark.parametrize("fraction", KINDS["x-pixels"].levels)
def test_dropped_pixels_are_exactly_the_fraction_in_all_channels(fraction):
    sample = make_sample(3)
    dropped = damage("x-pixels", fraction, sample).modal_x == 0
    assert dropped.all(axis=-1).sum() == round(fraction * HEIGHT * WIDTH)
    assert np.array_equal(dropped.any(axis=-1), dropped.all(axis=-1))
    quarter = dropped.all(axis=-1)[: HEIGHT // 2, : WIDTH // 2].mean()
    assert quarter == pytest.approx(fraction, abs=0.05)  # spread evenly


@pytest.mark.parametrize("strength", KINDS["x-noise"].levels)
def test_noise_has_the_stated_statistics(strength):
    grey = np.full((400, 500), 128, np.float32)
    sample = Sample("frame", np.zeros((400, 500, 3), np.uint8), grey, np.zeros((400, 500), np.uint8))
    noisy = damage("x-noise", strength, sample).modal_x
    inner = (noisy > 0) & (noisy < 255)
    if strength < 0.2:  # at 0.2 the Gaussian noise is cut at the ends as well
        assert noisy[inner].std() == pytest.approx(strength * 255, rel=0.03)
        assert (noisy == 0).mean() == pytest.approx(strength / 2, rel=0.1)
        assert (noisy == 255).mean() == pytest.approx(strength / 2, rel=0.1)
    assert noisy[inner].mean() == pytest.approx(128, abs=1)


def test_noise_keeps_copied_channels_equal_and_uses_the_range_of_angles():
    sample = make_sample(3, np.float32, -255)
    sample = sample._replace(modal_x=sample.modal_x[..., [0, 1, 0]])
    noisy = damage("x-noise", 0.2, sample).modal_x
    np.testing.assert_array_equal(noisy[..., 0], noisy[..., 2])
    assert not np.array_equal(noisy[..., 0], noisy[..., 1])
    assert (noisy == -255).all(axis=-1).mean() == pytest.approx(0.1, rel=0.2)


@pytest.mark.parametrize("pixels", KINDS["x-shift"].levels)
def test_shift_moves_by_exactly_its_pixels_in_all_four_directions(pixels):
    sample = make_sample()
    directions = set()
    for seed in range(24):
        moved = damage("x-shift", pixels, sample, seed).modal_x
        for dy, dx in ((pixels, 0), (-pixels, 0), (0, pixels), (0, -pixels)):
            rows = slice(max(dy, 0), HEIGHT + min(dy, 0)), slice(max(dx, 0), WIDTH + min(dx, 0))
            source = slice(max(-dy, 0), HEIGHT + min(-dy, 0)), slice(max(-dx, 0), WIDTH + min(-dx, 0))
            if np.array_equal(moved[rows], sample.modal_x[source]):
                directions.add((dy, dx))
                if dx > 0:
                    np.testing.assert_array_equal(moved[:, :dx], np.repeat(sample.modal_x[:, :1], dx, axis=1))
                break
        else:
            pytest.fail(f"seed {seed}: not a shift by {pixels}")
    assert len(directions) == 4


def test_all_levels_of_one_image_share_its_direction():
    x = np.zeros((HEIGHT, WIDTH), np.uint8)
    x[40:56, 56:72] = 200
    sample = make_sample()._replace(modal_x=x)

    def centre(name: str, level: float, seed: int) -> np.ndarray:
        return np.argwhere(damage(name, level, sample, seed).modal_x).mean(axis=0) - (47.5, 63.5)

    for seed in range(6):
        moves = [centre("x-shift", level, seed) / level for level in (2, 8, 16)]
        np.testing.assert_allclose(moves, np.tile(moves[0], (3, 1)), atol=1e-9)
        assert np.abs(moves[0]).max() == 1


def test_rotation_turns_to_both_sides_about_the_centre():
    x = np.zeros((101, 101), np.uint8)
    x[50, 50:] = 200
    sample = Sample("frame", np.zeros((101, 101, 3), np.uint8), x, np.zeros((101, 101), np.uint8))
    angles = set()
    for seed in range(12):
        rows, columns = np.nonzero(damage("x-rotate", 10, sample, seed).modal_x)
        far = columns > 80
        angles.add(round(np.degrees(np.arctan2(50 - rows[far].mean(), columns[far].mean() - 50)), 0))
    assert angles == {-10, 10}


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_scale_is_about_the_centre(factor):
    x = np.zeros((101, 101), np.uint8)
    x[30:71, 30:71] = 200
    sample = Sample("frame", np.zeros((101, 101, 3), np.uint8), x, np.zeros((101, 101), np.uint8))
    points = np.argwhere(damage("x-scale", factor, sample).modal_x)
    np.testing.assert_allclose(points.mean(axis=0), (50, 50), atol=0.51)
    assert np.ptp(points[:, 0]) == pytest.approx(40 * factor, abs=1)


@pytest.mark.parametrize(("name", "level"), [("blur", 2), ("motion-blur", 15)])
def test_blur_is_normalised_and_of_the_stated_width(name, level):
    rgb = np.zeros((101, 101, 3), np.uint8)
    rgb[50, 50] = 255
    rgb[:, :10] = 90
    sample = Sample("f", rgb, rgb[..., 0].copy(), np.zeros((101, 101), np.uint8))
    flat = damage(name, level, sample).rgb
    assert set(np.unique(flat[40:60, 0])) == {90}
    # The point alone, as floats, for its moments.
    point = np.zeros((101, 101), np.float32)
    point[50, 50] = 1
    for seed in range(4):
        spread = KINDS[name].apply(point, level, np.random.default_rng(seed))
        assert spread.sum() == pytest.approx(1, abs=1e-4)
        weights = spread / spread.sum()
        y, x = np.mgrid[:101, :101] - 50
        variance = (weights * (x**2 + y**2)).sum()
        expected = 2 * level**2 if name == "blur" else (level**2 - 1) / 12
        assert variance == pytest.approx(expected, rel=0.06)
        assert (weights * x).sum() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("factor", KINDS["dark"].levels)
def test_dark_scales_linear_light_and_adds_noise(factor):
    value = 180
    rgb = np.full((300, 300, 3), value, np.uint8)
    sample = Sample("f", rgb, rgb[..., 0].copy(), np.zeros((300, 300), np.uint8))
    dark = damage("dark", factor, sample).rgb / 255
    linear = np.where(dark <= 0.04045, dark / 12.92, ((dark + 0.055) / 1.055) ** 2.4)
    bright = ((value / 255 + 0.055) / 1.055) ** 2.4
    assert linear.mean() == pytest.approx(factor * bright, rel=0.02)
    electrons = factor * bright * 2000
    assert linear.std() * 2000 == pytest.approx(np.sqrt(electrons + 25), rel=0.05)


@pytest.mark.parametrize("fraction", KINDS["holes"].levels)
def test_holes_cover_exactly_their_share_in_blobs(fraction):
    sample = make_sample(3)
    hole = (damage("holes", fraction, sample).modal_x == 0).all(axis=-1)
    assert hole.sum() == round(fraction * HEIGHT * WIDTH)
    count, _ = cv2.connectedComponents(hole.astype(np.uint8))
    assert count < 40
    np.testing.assert_array_equal(hole, hole_mask((HEIGHT, WIDTH), fraction, np.random.default_rng(0)))


@pytest.mark.parametrize("channels", [1, 3])
def test_filled_holes_take_the_nearest_measured_value(channels):
    sample = make_sample(channels)
    x = sample.modal_x.copy()
    x[:8] = 0  # not measured from the start: stays so and is not spread
    sample = sample._replace(modal_x=x)
    filled = damage("holes-filled", 0.25, sample).modal_x
    hole = hole_mask((HEIGHT, WIDTH), 0.25, np.random.default_rng(0))
    np.testing.assert_array_equal(filled[~hole], x[~hole])
    assert (filled[8:] > 0).all()
    assert not filled[:8].any()
    kept = np.argwhere(~hole & (np.arange(HEIGHT) >= 8)[:, None])
    y, x0 = np.argwhere(hole & (np.arange(HEIGHT) >= 20)[:, None])[5]
    distance = np.linalg.norm(kept - (y, x0), axis=1)
    near = kept[distance < distance.min() * 1.1 + 0.5]  # the distance transform is approximate
    assert any(np.array_equal(filled[y, x0], sample.modal_x[a, b]) for a, b in near)


def test_holes_in_what_was_never_measured_stay_empty():
    sample = make_sample()._replace(modal_x=np.zeros((HEIGHT, WIDTH), np.uint8))
    assert not damage("holes-filled", 0.25, sample).modal_x.any()


@pytest.mark.parametrize(
    ("name", "level", "message"),
    [
        ("fog", 1, r"Unknown corruption 'fog'; known: x-pixels, .*holes-filled\."),
        ("x-pixels", 1.2, r"Level 1\.2 of 'x-pixels' .*a number in 0\.\.1, or 0 for no change"),
        ("x-shift", 2.5, r"Level 2\.5 of 'x-shift' .*a whole number in 0\.\.512"),
        ("x-scale", 0, r"Level 0 of 'x-scale' .*0\.5\.\.2, or 1 for no change"),
        ("dark", float("nan"), "Level nan of 'dark'"),
        ("motion-blur", 1, r"Level 1 of 'motion-blur' .*2\.\.200"),
    ],
)
def test_bad_levels_are_refused(name, level, message):
    with pytest.raises(ValueError, match=message):
        Corruption(name, level)


def test_shift_beyond_the_image_is_refused():
    with pytest.raises(ValueError, match="shift of 96 pixels leaves nothing of an image of 128 x 96"):
        damage("x-shift", 96, make_sample())
