from pathlib import Path

import numpy as np
import pytest

from ktb.modalities import (
    DEPTH_UNITS,
    NEAR_BRIGHT,
    NEAR_DARK,
    DepthOptions,
    encode_depth,
    encode_image,
    fill_holes,
    match_size,
    read_depth_metres,
    read_image_rgb,
    read_modal_x,
    read_x,
)

DATA = Path(__file__).parents[2] / "shared" / "data"
RNG = np.random.default_rng(0)
NAN = float("nan")


def _real(path: str) -> Path:
    if not (DATA / path).is_file():
        pytest.skip(f"real frame {path} is not here (shared/data beside the checkout)")
    return DATA / path


def _room_mm(height: int = 60, width: int = 80, far: int = 5000) -> np.ndarray:
    """A floor that comes nearer downwards, (H, W) uint16 mm, all levels coprime to 5 and 8 somewhere."""
    rows = np.linspace(far, 700, height)[:, None]
    return (rows + np.arange(width)[None] * 1.3).astype(np.uint16)


# Depth


MM = _room_mm()
SUN = ((MM << 3) | (MM >> 13)).astype(np.uint16)


@pytest.mark.parametrize(
    ("raw", "unit", "confidence"),
    [
        (MM, "mm", "likely"),
        (MM * 10 + 3, "0.1mm", "guess"),
        (MM * 5, "1/5000m", "likely"),
        (SUN, "sun", "likely"),
        (_room_mm(60, 200) + 1, "1/256m", "guess"),
        (MM.astype(np.int32), "mm", "likely"),
        ((MM / 1000).astype(np.float32), "m", "likely"),
        (MM.astype(np.float64), "mm", "likely"),
        ((MM / MM.max()).astype(np.float32), "m", "guess"),
        ((MM / 1000 * 25.5).astype(np.uint8), NEAR_DARK, "guess"),
        ((255 - MM / 1000 * 25.5).astype(np.uint8), NEAR_BRIGHT, "guess"),
        (np.full((60, 80), 280, np.uint16), "mm", "guess"),
    ],
)
def test_unit_guess(raw, unit, confidence):
    reading = read_depth_metres(raw)
    assert (reading.unit, reading.confidence) == (unit, confidence)


@pytest.mark.parametrize(
    ("raw", "unit", "tolerance"),
    [
        (MM, "mm", 1e-6),
        (MM * 10, "0.1mm", 1e-6),
        (MM * 5, "1/5000m", 1e-6),
        ((MM / 1000 * 256).astype(np.uint16), "1/256m", 1 / 256),
        ((MM / 1000).astype(np.float32), "m", 1e-6),
        ((MM / 1000 * 25.5).astype(np.uint8), NEAR_DARK, 1 / 25.5),
        ((256 - MM / 1000 * 25.5).astype(np.uint8), NEAR_BRIGHT, 1 / 25.5),
        (SUN, "sun", 1e-6),
    ],
)
def test_every_unit_gives_metres(raw, unit, tolerance):
    reading = read_depth_metres(raw, unit)
    assert reading.confidence == "certain"
    assert reading.metres.dtype == np.float32
    assert np.abs(reading.metres - MM / 1000).max() <= tolerance + 1e-5
    assert reading.hole_share == 0
    assert reading.minimum <= reading.median <= reading.maximum
    assert unit in DEPTH_UNITS


def test_what_is_no_measurement():
    raw = MM.copy()
    raw[:2, :3] = 0
    raw[2, :4] = 65535
    reading = read_depth_metres(raw)
    assert np.isnan(reading.metres).sum() == 10
    assert reading.hole_share == pytest.approx(10 / raw.size)
    metres = (MM / 1000).astype(np.float32)
    metres[0, :4] = NAN, np.inf, -np.inf, -1
    assert np.isnan(read_depth_metres(metres).metres).sum() == 4


def test_equal_channels_count_as_one_and_colours_are_refused():
    grey = (MM / 1000 * 25.5).astype(np.uint8)
    expected = read_depth_metres(grey).metres
    assert np.array_equal(read_depth_metres(np.stack([grey] * 3, -1)).metres, expected)
    assert np.array_equal(read_depth_metres(np.stack([grey] * 3 + [grey * 0], -1)).metres, expected)
    with pytest.raises(ValueError, match=r"colourised depth map or an HHA picture.*encoding 'image'"):
        read_depth_metres(RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("raw", "unit", "message"),
    [
        (MM, "cm", "depth unit 'cm': choose auto or one of mm, 0.1mm"),
        (MM, NEAR_DARK, "for values up to 255, found 5102"),
        (MM / 1000, "sun", "for 16-bit integers, found float64"),
        (np.zeros((60, 80), np.uint16), "auto", "no measurement"),
        (np.full((60, 80), NAN), "m", "no measurement"),
        (np.zeros((60,)), "auto", "give \\(H, W\\)"),
        (np.zeros((60, 80), bool), "auto", "holds dtype bool"),
    ],
)
def test_bad_depth_is_named(raw, unit, message):
    with pytest.raises(ValueError, match=message):
        read_depth_metres(raw, unit)


def test_fill_holes_takes_the_nearest_value():
    metres = RNG.random((40, 50)).astype(np.float32) + 1
    metres[RNG.random((40, 50)) < 0.9] = NAN
    filled = fill_holes(metres)
    measured = ~np.isnan(metres)
    assert np.array_equal(filled[measured], metres[measured])
    places = np.argwhere(measured)
    for y, x in np.argwhere(~measured):
        distance = np.hypot(*(places - (y, x)).T)
        # cv2's 5x5 mask measures distances to about 2 %.
        candidates = metres[tuple(places[distance <= 1.03 * distance.min()].T)]
        assert filled[y, x] in candidates


def test_fill_holes_from_one_pixel_and_from_none():
    metres = np.full((1200, 1600), NAN, np.float32)
    metres[3, 5] = 2.5
    assert (fill_holes(metres) == 2.5).all()
    with pytest.raises(ValueError, match="only holes"):
        fill_holes(np.full((40, 40), NAN, np.float32))


def test_encode_depth_equals_8_bit_at_ten_metres():
    levels = np.arange(1, 255, dtype=np.uint8).reshape(1, -1).repeat(40, 0)
    image = encode_depth(read_depth_metres(levels, NEAR_DARK).metres)
    assert image.shape == (40, 254, 3)
    assert image.dtype == np.float32
    assert np.abs(image - levels[..., None] / 255).max() < 1e-6
    assert encode_depth(np.full((2, 2), 99.0)).max() == 1
    with pytest.raises(ValueError, match="max_metres = 0"):
        encode_depth(np.ones((2, 2)), 0)
    with pytest.raises(ValueError, match="fill_holes first"):
        encode_depth(np.full((2, 2), NAN))


# Images and the whole way


def test_encode_image_scales_each_type():
    eight = RNG.integers(0, 256, (40, 50), dtype=np.uint8)
    assert np.allclose(encode_image(eight), eight[..., None] / 255)
    sixteen = RNG.integers(0, 65536, (40, 50, 4), dtype=np.uint16)
    assert np.allclose(encode_image(sixteen), sixteen[..., :3] / 65535)
    unit = RNG.random((40, 50, 3))
    assert np.allclose(encode_image(unit), unit)
    for image in (encode_image(eight), encode_image(sixteen), encode_image(unit)):
        assert image.shape == (40, 50, 3)
        assert image.dtype == np.float32


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (RNG.random((40, 50)) * 5, "floats must be in 0..1"),
        (np.full((40, 50), NAN), "floats must be in 0..1"),
        (np.zeros((40, 50), np.int32), "dtype int32: give uint8, uint16"),
        (np.zeros((40, 50, 2), np.uint8), "shape \\(40, 50, 2\\)"),
    ],
)
def test_bad_images_are_named(raw, message):
    with pytest.raises(ValueError, match=message):
        encode_image(raw)


def test_match_size():
    x = RNG.random((60, 80)).astype(np.float32)
    assert match_size(x, (60, 80), "nearest") is x
    assert match_size(x, (121, 160), "bilinear").shape == (121, 160)
    holed = np.where(x < 0.5, NAN, x).astype(np.float32)
    enlarged = match_size(holed, (120, 160), "nearest")
    assert np.array_equal(enlarged, holed.repeat(2, 0).repeat(2, 1), equal_nan=True)
    with pytest.raises(ValueError, match=r"X input is 80 x 60 and the RGB image 80 x 64 .*crop"):
        match_size(x, (64, 80), "nearest")


def test_read_modal_x_depth():
    raw = MM.copy()
    raw[10:20, 10:30] = 0
    x = read_modal_x(raw, "depth", (120, 160))
    assert x.image.shape == x.preview.shape == (120, 160, 3)
    assert x.image.dtype == np.float32
    assert x.preview.dtype == np.uint8
    assert x.holes.sum() == 800
    assert (x.preview[x.holes] == 128).all()
    assert x.summary.startswith("depth, millimetres (likely): 0.70 / ")
    assert x.summary.endswith(" m (min / median / max), 4.2 % holes")
    assert np.array_equal(np.isnan(x.depth.metres), x.holes)
    assert x.preview[-1].mean() > x.preview[0].mean(), "near is bright"
    nearer = read_modal_x(raw, "depth", (120, 160), options=DepthOptions(max_metres=5))
    assert np.allclose(nearer.image, np.clip(2 * x.image, 0, 1))
    assert read_modal_x(raw, "depth", (60, 80), unit="0.1mm").depth.confidence == "certain"


def test_read_modal_x_image():
    raw = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    x = read_modal_x(raw, "image", (60, 80))
    assert np.array_equal(x.preview, raw)
    assert x.holes is None
    assert x.depth is None
    assert x.summary.startswith("image, uint8, 3 channels: 0.00 / ")
    with pytest.raises(ValueError, match="encoding 'thermal': choose 'depth' or 'image'"):
        read_modal_x(raw, "thermal", (60, 80))
    with pytest.raises(ValueError, match="80 x 60 and the RGB image 60 x 80"):
        read_modal_x(raw, "image", (80, 60))


# Real frames


@pytest.mark.parametrize(
    ("path", "unit", "holes"),
    [
        ("hha/depth.png", "0.1mm", 0),
        ("hha/depth_raw.png", "0.1mm", 0.239),
        ("qualitative/depth/kinect1_depth_mm.png", "mm", 0.319),
        ("qualitative/depth/kinect2_depth_mm.png", "mm", 0.307),
        ("qualitative/depth/realsense1_depth_u16.png", "mm", 0.315),
    ],
)
def test_real_depth(path, unit, holes):
    raw = read_x(_real(path))
    assert raw.dtype == np.uint16
    reading = read_depth_metres(raw)
    assert reading.unit == unit
    assert reading.hole_share == pytest.approx(holes, abs=1e-3)
    assert 1.5 < reading.median < 4
    assert np.isfinite(read_modal_x(raw, "depth", raw.shape).image).all()


def test_real_files_of_the_wrong_kind():
    with pytest.raises(ValueError, match="HHA picture"):
        read_modal_x(read_x(_real("hha/matlab_hha.png")), "depth", (480, 640))
    with pytest.raises(ValueError, match="event stream"):
        read_x(_real("qualitative/event/keyboard_events.npz"))
