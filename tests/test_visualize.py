import cv2
import numpy as np
import pytest

from ktb.visualize import (
    IGNORE_RGB,
    NO_VALUE_RGB,
    colorbar,
    colorize_labels,
    draw_points,
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


def test_scalar_names_what_is_wrong():
    with pytest.raises(ValueError, match=r"cmap 'jet'.*sequential, diverging"):
        scalar_to_colors(np.zeros(2), 0, 1, "jet")
    with pytest.raises(ValueError, match="vmax = nan"):
        scalar_to_colors(np.zeros(2), 0, np.nan)


@pytest.mark.parametrize(("height", "width"), [(64, 480), (300, 90), (40, 40)])
def test_colorbar_has_the_colours_and_text(height, width):
    bar = colorbar("diverging", -1, 1, height, width, ticks=[-1, 0, 1], labels=["RGB", "0", "X"])
    assert bar.shape == (height, width, 3)
    pixels = {tuple(p) for p in bar.reshape(-1, 3).tolist()}
    for end in scalar_to_colors(np.array([-1, 1]), -1, 1, "diverging").tolist():
        assert tuple(end) in pixels
    assert min(sum(p) for p in pixels) < 150, "dark text"


def test_colorbar_direction():
    first, last = scalar_to_colors(np.array([0, 1]), 0, 1).tolist()
    lying, standing = colorbar("sequential", 0, 1, 60, 200), colorbar("sequential", 0, 1, 200, 60)
    assert lying[12, 12].tolist()[2] < 60
    assert np.abs(lying[12, 10] - np.array(first)).max() < 8
    assert np.abs(lying[12, 189].astype(int) - last).max() < 8
    assert np.abs(standing[10, 12].astype(int) - last).max() < 8


def test_colorbar_names_what_is_wrong():
    with pytest.raises(ValueError, match="at least 40 x 40"):
        colorbar("sequential", 0, 1, 20, 200)
    with pytest.raises(ValueError, match="2 ticks and 1 labels"):
        colorbar("sequential", 0, 1, ticks=[0, 1], labels=["a"])
    with pytest.raises(ValueError, match="tick 2 is outside"):
        colorbar("sequential", 0, 1, ticks=[2])


def test_points_are_drawn_at_their_place_with_a_dark_rim():
    image = np.full((50, 80, 3), 255, np.uint8)
    drawn = draw_points(image, np.array([[20.0, 30.0]]), 6, (250, 120, 0))
    assert tuple(drawn[30, 20]) == (250, 120, 0)
    assert drawn[30, 27].max() < 200, "rim"
    assert tuple(drawn[30, 32]) == (255, 255, 255)
    rows, columns = np.nonzero((drawn != 255).any(-1))
    assert abs(rows.mean() - 30) < 0.1
    assert abs(columns.mean() - 20) < 0.1
    assert (image == 255).all(), "the input stays"


def test_points_outside_not_finite_or_none():
    image = _picture(0)
    far = np.array([[-500.0, 3.0], [1e12, 0.0], [np.nan, 5.0], [np.inf, 5.0]])
    assert np.array_equal(draw_points(image, far, 4, (255, 0, 0)), image)
    assert np.array_equal(draw_points(image, np.zeros((0, 2)), 4, (255, 0, 0)), image)


def test_points_names_what_is_wrong():
    with pytest.raises(ValueError, match="2 points, sizes \\(3,\\)"):
        draw_points(_picture(0), np.zeros((2, 2)), [1, 2, 3], (0, 0, 0))
    with pytest.raises(ValueError, match="give \\(N, 2\\)"):
        draw_points(_picture(0), np.zeros((2, 3)), 1, (0, 0, 0))


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
