import cv2
import numpy as np
import pytest

from ktb.visualize import (
    IGNORE_RGB,
    NO_VALUE_RGB,
    colorize_labels,
    draw_tag,
    outline_boundaries,
    overlay,
    scalar_to_colors,
)

PALETTE = ((200, 10, 10), (10, 200, 10), (10, 10, 200))


def _picture(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb.reshape(1, -1, 3).astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_labels_get_their_colours(dtype):
    colors = colorize_labels(np.array([[0, 1], [2, 255]], dtype), PALETTE)
    assert colors.dtype == np.uint8
    assert [tuple(c) for c in colors.reshape(-1, 3).tolist()] == [*PALETTE, IGNORE_RGB]


def test_ignore_index_may_be_negative_or_a_class():
    assert tuple(colorize_labels(np.array([[-1]]), PALETTE, ignore_index=-1)[0, 0]) == IGNORE_RGB
    assert tuple(colorize_labels(np.array([[0]]), PALETTE, ignore_index=0)[0, 0]) == IGNORE_RGB


@pytest.mark.parametrize("value", [3, -1, 254])
def test_a_label_without_colour_is_named(value):
    with pytest.raises(ValueError, match=rf"label {value}: the palette has 3 colours"):
        colorize_labels(np.array([[0, value]]), PALETTE)


def test_float_labels_are_refused():
    with pytest.raises(ValueError, match="give \\(H, W\\) integers"):
        colorize_labels(np.zeros((2, 2)), PALETTE)


def test_overlay_ends_are_exact_and_the_middle_is_between():
    photo, colors = _picture(0), _picture(1)
    assert np.array_equal(overlay(photo, colors, 0), photo)
    assert np.array_equal(overlay(photo, colors, 1), colors)
    half = overlay(photo, colors, 0.5).astype(float)
    assert np.abs(half - (photo.astype(float) + colors) / 2).max() <= 0.5


def test_overlay_leaves_the_photo_where_not_valid():
    photo, colors = _picture(0), _picture(1)
    valid = np.zeros(photo.shape[:2], bool)
    valid[:, 30:] = True
    mixed = overlay(photo, colors, 1, valid)
    assert np.array_equal(mixed[:, :30], photo[:, :30])
    assert np.array_equal(mixed[:, 30:], colors[:, 30:])


def test_overlay_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"opacity = 1\.5"):
        overlay(_picture(0), _picture(1), 1.5)
    with pytest.raises(ValueError, match="one size"):
        overlay(_picture(0), _picture(1, 41), 0.5)
    with pytest.raises(ValueError, match=r"photo has shape .* float64"):
        overlay(_picture(0) / 255, _picture(1), 0.5)


def test_diverging_is_blue_white_orange_and_balanced():
    colors = scalar_to_colors(np.array([-1, -0.5, 0, 0.5, 1]), -1, 1, "diverging").astype(int)
    assert np.ptp(colors[2]) <= 6, "the centre has no hue"
    assert colors[2].min() >= 235, "the centre is nearly white"
    assert colors[0, 2] > colors[0, 0] + 60
    assert colors[1, 2] > colors[1, 0] + 60
    assert colors[3, 0] > colors[3, 2] + 60
    assert colors[4, 0] > colors[4, 2] + 60
    lightness = _lab(colors)[:, 0]
    assert abs(lightness[0] - lightness[4]) < 2
    assert abs(lightness[1] - lightness[3]) < 2


def test_sequential_lightness_rises_evenly():
    lightness = _lab(scalar_to_colors(np.linspace(0, 1, 50), 0, 1))[:, 0]
    steps = np.diff(lightness)
    assert steps.min() > 0
    assert steps.max() < 1.5 * steps.mean()


def test_both_ends_of_diverging_differ_for_red_green_blindness():
    # Viénot's dichromat model in linear RGB (deuteranopia): red and green are seen as one mixture.
    rgb = (scalar_to_colors(np.array([-0.6, 0.6]), -1, 1, "diverging") / 255) ** 2.2
    mixture = rgb @ np.array([[0.29275, 0.29275, -0.02234], [0.70725, 0.70725, 0.02234], [0, 0, 1]])
    seen = _lab(255 * np.clip(mixture, 0, 1) ** (1 / 2.2))
    assert np.linalg.norm(seen[0] - seen[1]) > 50


def test_scalar_range_nan_and_turned_range():
    values = np.array([[0.0, 1.0], [-5.0, 9.0]])
    colors = scalar_to_colors(values, 0, 1)
    assert np.array_equal(colors[0], colors[1])
    assert np.array_equal(scalar_to_colors(values, 1, 0), scalar_to_colors(1 - values, 0, 1))
    assert tuple(scalar_to_colors(np.array([np.nan]), 0, 1)[0]) == NO_VALUE_RGB
    assert np.array_equal(scalar_to_colors(np.array([3.0]), 3, 3), scalar_to_colors(np.array([0.5]), 0, 1))


def test_a_large_map_has_the_colours_of_its_parts():
    values = np.random.default_rng(0).normal(0, 1, (300, 701)).astype(np.float32)
    values[::7, ::5] = np.nan
    colors = scalar_to_colors(values, -1, 1.5)
    assert colors.shape == (300, 701, 3)
    assert np.array_equal(colors, np.stack([scalar_to_colors(row, -1, 1.5) for row in values]))


def test_scalar_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"cmap 'jet'.*sequential, diverging"):
        scalar_to_colors(np.zeros(2), 0, 1, "jet")
    with pytest.raises(ValueError, match="vmax = nan"):
        scalar_to_colors(np.zeros(2), 0, np.nan)


def test_boundaries_lie_between_labels_only():
    label = np.zeros((40, 60), np.int64)
    label[:, 30:] = 1
    drawn = outline_boundaries(label, np.zeros((40, 60, 3), np.uint8), (9, 8, 7))
    assert set(np.nonzero(drawn.any(-1))[1]) == {29}
    assert tuple(drawn[5, 29]) == (9, 8, 7)
    with pytest.raises(ValueError, match="use one size"):
        outline_boundaries(label, np.zeros((41, 60, 3), np.uint8))


@pytest.mark.parametrize("size", [(64, 96), (480, 640)])
def test_tag_covers_the_lower_left_corner_only(size):
    image = np.full((*size, 3), 200, np.uint8)
    tagged = draw_tag(image, "X: estimated")
    changed = (tagged != image).any(axis=-1)
    assert changed[-1, 0]
    assert not changed[: size[0] // 2].any()
    assert (image == 200).all()
