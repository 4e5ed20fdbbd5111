"""Depth of every unit as metres: what is guessed, what is a hole, what a user is told."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
from helpers.pairs import room_mm

from ktb.config import InputConfig
from ktb.inputs import (
    AUTO,
    DEPTH_UNITS,
    NEAR_BRIGHT,
    NEAR_DARK,
    EventStream,
    InputError,
    RawX,
    XOptions,
    encode_depth,
    fill_holes,
    read_depth_metres,
    read_x,
)
from ktb.inputs.encoders.depth import encode, is_colour

RNG = np.random.default_rng(0)
NAN = float("nan")
DEPTH = InputConfig(modality="depth", encoding="depth")
MM = room_mm()
METRES = (MM / 1000).astype(np.float32)
SUN = ((MM << 3) | (MM >> 13)).astype(np.uint16)
NEAR_DARK_8 = (METRES * 25.5).astype(np.uint8)
NEAR_BRIGHT_8 = (256 - METRES * 25.5).astype(np.uint8)

# Units


@pytest.mark.parametrize(
    ("raw", "unit", "confidence", "why"),
    [
        (MM, "mm", "likely", "integers with a median of 2,9"),
        (MM * 10 + 3, "0.1mm", "guess", "more than 10 m if these were millimetres"),
        (MM * 5, "1/5000m", "likely", "levels are multiples of 5"),
        (SUN, "sun", "likely", "levels are multiples of 8"),
        (room_mm(60, 200) + 1, "1/256m", "guess", "2.5 times as wide as high"),
        (MM.astype(np.int32), "mm", "likely", "integers"),
        (MM.astype(np.int16), "mm", "likely", "integers"),
        (MM.astype(np.uint32) * 10, "0.1mm", "guess", "integers"),
        (METRES, "m", "likely", "floats with a median of 2.9"),
        (METRES.astype(np.float16), "m", "likely", "floats with a median of 2.9"),
        (MM.astype(np.float64), "mm", "likely", "too far for metres"),
        (METRES * 100, "cm", "guess", "floats with a median of 29"),
        (METRES.astype(np.float64) * 10, "m", "guess", "floats with a median of 29"),
        (MM // 2, "mm", "guess", "1.45 m in millimetres, but 14.5 m in centimetres"),
        (METRES / METRES.max(), "m", "guess", "a normalised map"),
        (METRES / METRES.max() * 0.9, "m", "guess", "a normalised map"),
        (NEAR_DARK_8, NEAR_DARK, "guess", "darker, or no brighter, at the bottom"),
        (NEAR_BRIGHT_8, NEAR_BRIGHT, "guess", "brighter at the bottom"),
        (NEAR_DARK_8.astype(np.uint16), NEAR_DARK, "guess", "values up to 130"),
        (NEAR_DARK_8.astype(np.uint16) * 257, NEAR_DARK, "guess", "multiples of 257, as 8 bits stored in 16"),
        (NEAR_BRIGHT_8.astype(np.uint16) << 8, NEAR_BRIGHT, "guess", "multiples of 256, as 8 bits stored in"),
        (np.full((60, 80), 280, np.uint16), "mm", "guess", "median of 280"),
        (np.full((60, 80), 100, np.uint8), NEAR_DARK, "guess", "no brighter"),
    ],
)
def test_unit_guess_and_what_it_rests_on(raw, unit, confidence, why):
    reading = read_depth_metres(raw)
    assert (reading.unit, reading.confidence) == (unit, confidence)
    assert why in reading.why


EVERY_UNIT = [
    (MM, "mm", 1e-6),
    (MM * 10, "0.1mm", 1e-6),
    (MM // 10, "cm", 0.01),
    (METRES * 100, "cm", 1e-6),
    (MM * 5, "1/5000m", 1e-6),
    ((MM / 1000 * 256).astype(np.uint16), "1/256m", 1 / 256),
    (METRES, "m", 1e-6),
    (NEAR_DARK_8, NEAR_DARK, 1 / 25.5),
    (NEAR_DARK_8.astype(np.uint16) * 257, NEAR_DARK, 1 / 25.5),
    (NEAR_BRIGHT_8, NEAR_BRIGHT, 1 / 25.5),
    (NEAR_BRIGHT_8.astype(np.float32), NEAR_BRIGHT, 1 / 25.5),
    (SUN, "sun", 1e-6),
    (SUN.astype(np.int64), "sun", 1e-6),
]


@pytest.mark.parametrize(("raw", "unit", "tolerance"), EVERY_UNIT)
def test_every_unit_gives_metres(raw, unit, tolerance):
    reading = read_depth_metres(raw, unit)
    assert (reading.unit, reading.confidence, reading.why) == (unit, "certain", "")
    assert reading.metres.dtype == np.float32
    assert np.abs(reading.metres - MM / 1000).max() <= tolerance + 1e-5
    assert reading.hole_share == 0
    assert reading.minimum <= reading.median <= reading.maximum
    assert unit in DEPTH_UNITS


def test_every_unit_is_tried():
    assert {unit for _, unit, _ in EVERY_UNIT} == set(DEPTH_UNITS)


def test_sun_bits_are_rotated_back_beyond_8_metres():
    """A Kinect v2 sees up to 18 m: the three upper bits of the millimetres lie in the lower three."""
    millimetres = np.linspace(8000, 18_000, 4800).astype(np.uint16).reshape(60, 80)
    stored = ((millimetres << 3) | (millimetres >> 13)).astype(np.uint16)
    assert np.allclose(read_depth_metres(stored, "sun").metres, millimetres / 1000)


def test_a_chosen_unit_wins_over_every_pattern():
    coarse = (NEAR_DARK_8.astype(np.uint16) << 8) + 0
    assert read_depth_metres(coarse, "0.1mm").maximum == pytest.approx(coarse.max() / 10_000)
    assert read_depth_metres(SUN, "0.1mm").maximum == pytest.approx(SUN.max() / 10_000)


def test_near_bright_is_told_from_near_dark_on_real_rooms(shared):
    """The figure that `below_to_above` names, on every 20th frame."""
    files = sorted((shared / "data" / "NYUDepthv2" / "Depth").glob("*.png"))[::20]
    assert len(files) > 50
    right = []
    for file in files:
        dark = read_x(file).data
        bright = (256 - dark.astype(int)).clip(0, 255).astype(np.uint8)
        right += [read_depth_metres(dark).unit == NEAR_DARK, read_depth_metres(bright).unit == NEAR_BRIGHT]
    assert np.mean(right) > 0.93


# Holes


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (np.uint16, (0, 65535)),
        (np.int16, (0, -1, -32768, 32767)),
        (np.int32, (0, -1, 65535, 2**31 - 1)),
        (np.uint32, (0, 65535, 2**32 - 1)),
        (np.uint64, (0, 65535, 2**64 - 1)),
        (np.float16, (0, -1, NAN, np.inf, -np.inf)),
        (np.float32, (0, -1, NAN, np.inf, -np.inf, 1e10, 3.4e38, 65535)),
        (np.float64, (0, -1, NAN, np.inf, -np.inf, 1e300, 65535)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_no_measurement(dtype, values):
    raw = MM.astype(dtype)
    for column, value in enumerate(values):
        raw[2:5, column] = value
    reading = read_depth_metres(raw, "mm")
    hole = np.isnan(reading.metres)
    assert hole.sum() == 3 * len(values)
    assert hole[2:5, : len(values)].all()
    assert reading.hole_share == pytest.approx(3 * len(values) / raw.size)
    assert reading.maximum == pytest.approx(MM.max() / 1000, rel=1e-3)


def test_65535_is_a_distance_where_farther_ones_were_measured():
    raw = MM.astype(np.uint32) * 20
    raw[0, 0] = 65535
    reading = read_depth_metres(raw, "0.1mm")
    assert reading.hole_share == 0
    assert reading.metres[0, 0] == pytest.approx(6.5535)


def test_255_is_a_measurement_in_8_bits():
    raw = NEAR_DARK_8.copy()
    raw[0] = 255
    assert read_depth_metres(raw, NEAR_DARK).maximum == 10
    assert read_depth_metres(raw, NEAR_BRIGHT).minimum == pytest.approx(1 / 25.5)


def test_fill_holes_takes_the_nearest_value():
    metres = RNG.random((40, 50)).astype(np.float32) + 1
    metres[RNG.random((40, 50)) < 0.9] = NAN
    before = metres.copy()
    filled = fill_holes(metres)
    assert np.array_equal(metres, before, equal_nan=True)
    measured = ~np.isnan(metres)
    assert np.array_equal(filled[measured], metres[measured])
    places = np.argwhere(measured)
    for y, x in np.argwhere(~measured):
        distance = np.hypot(*(places - (y, x)).T)
        # cv2's 5x5 mask measures distances to about 2 %.
        candidates = metres[tuple(places[distance <= 1.03 * distance.min()].T)]
        assert filled[y, x] in candidates


def test_fill_holes_of_three_channels_moves_whole_pixels():
    image = RNG.random((40, 50, 3)).astype(np.float32)
    image[10:20, 10:20, 1] = NAN
    filled = fill_holes(image)
    known = {tuple(pixel) for pixel in image[~np.isnan(image).any(-1)]}
    assert all(tuple(pixel) in known for pixel in filled[10:20, 10:20].reshape(-1, 3))


def test_fill_holes_from_one_pixel_from_all_and_from_none():
    metres = np.full((1200, 1600), NAN, np.float32)
    metres[3, 5] = 2.5
    assert (fill_holes(metres) == 2.5).all()
    assert np.array_equal(fill_holes(METRES), METRES)
    with pytest.raises(InputError, match="only holes"):
        fill_holes(np.full((40, 40), NAN, np.float32))


# Channels and refusals


def test_equal_channels_count_as_one_and_colours_are_refused():
    expected = read_depth_metres(NEAR_DARK_8).metres
    assert np.array_equal(read_depth_metres(np.stack([NEAR_DARK_8] * 3, -1)).metres, expected)
    with_alpha = np.stack([NEAR_DARK_8] * 3 + [NEAR_DARK_8 * 0], -1)
    assert np.array_equal(read_depth_metres(with_alpha).metres, expected)
    sixteen = read_depth_metres(np.stack([MM] * 3, -1))
    assert np.array_equal(sixteen.metres, read_depth_metres(MM).metres)
    holed = np.stack([METRES] * 3, -1)
    holed[:30, :30] = NAN
    assert read_depth_metres(holed).hole_share == pytest.approx(900 / 4800)
    with pytest.raises(InputError, match=r"colourised depth map or an HHA picture.*say that X is HHA"):
        read_depth_metres(RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8))


def test_jpeg_noise_between_channels_is_no_colour():
    grey = np.stack([NEAR_DARK_8] * 3, -1)
    noisy = grey + RNG.integers(0, 5, grey.shape, dtype=np.uint8)
    assert not is_colour(grey)
    assert not is_colour(noisy)
    noisy[:4, :4, 0] += 40
    assert is_colour(noisy), "16 of 4,800 pixels are more than one in a thousand"
    assert is_colour(np.stack([MM, MM, MM + 1], -1)), "16 bits are never lossy"


@pytest.mark.parametrize(
    ("raw", "unit", "message"),
    [
        (MM, "inch", "x: depth unit 'inch': choose auto or one of mm, 0.1mm"),
        (MM, NEAR_DARK, "x: .*for values up to 255, found 5102"),
        (MM / 1000, "sun", "x: .*for 16-bit integers, found float64"),
        (MM.astype(np.int32) * 20, "sun", "for 16-bit integers, found int32 up to 102040"),
        (np.zeros((60, 80), np.uint16), "auto", "x: .*no measurement"),
        (np.full((60, 80), 65535, np.uint16), "auto", "no measurement"),
        (np.full((60, 80), NAN), "m", "no measurement"),
        (-METRES, "auto", "negative values only; multiply them by -1"),
        (np.zeros((60,)), "auto", "give \\(H, W\\)"),
        (np.zeros((60, 80), bool), "auto", "holds dtype bool"),
    ],
)
def test_bad_depth_is_named(raw, unit, message):
    with pytest.raises(InputError, match=message):
        read_depth_metres(raw, unit, "x")


# Notes


def test_unusual_results_ask_to_check_the_unit():
    assert read_depth_metres(MM).notes == ()
    near, far = read_depth_metres(MM, "1/5000m"), read_depth_metres(MM, "m")
    assert near.notes == ()
    assert any("median depth is 2.9" in n and "check its unit" in n for n in far.notes)
    assert any("median depth is 0.029" in n for n in read_depth_metres(MM // 10, "0.1mm").notes)
    sparse = np.where(RNG.random(MM.shape) < 0.03, MM, 0).astype(np.uint16)
    (note,) = read_depth_metres(sparse).notes
    assert "97." in note
    assert "holes" in note
    half = MM.copy()
    half[: int(0.6 * len(half))] = 0
    assert ["tells the network little" in note for note in read_depth_metres(half).notes] == [True]
    assert read_depth_metres(np.vstack([MM, half])).notes == ()  # three in ten


def test_disparity_and_normalised_maps_are_doubted():
    disparity = (400 / METRES).astype(np.float32)
    assert any("disparity or inverse depth" in note for note in read_depth_metres(disparity).notes)
    assert any("disparity" in n for n in read_depth_metres((20_000 / METRES).astype(np.uint16)).notes)
    chosen = read_depth_metres(disparity, "m")
    assert not any("disparity" in note for note in chosen.notes), "the user chose the unit"
    relative = cv2.normalize(METRES, None, 0, 65_530, cv2.NORM_MINMAX).astype(np.uint16)
    assert any("span all 16 bits" in note for note in read_depth_metres(relative).notes)


def test_lossy_formats_are_named():
    jpeg = read_x(cv2.imencode(".jpg", NEAR_DARK_8)[1].tobytes(), "d.jpg")
    assert any("JPEG has lost levels" in note for note in encode(jpeg, DEPTH, AUTO).notes)
    png = read_x(cv2.imencode(".png", NEAR_DARK_8)[1].tobytes(), "d.png")
    assert encode(png, DEPTH, AUTO).notes == ()


# The encoder


def test_encode_depth_equals_8_bit_at_ten_metres():
    levels = np.arange(1, 255, dtype=np.uint8).reshape(1, -1).repeat(40, 0)
    image = encode_depth(read_depth_metres(levels, NEAR_DARK).metres)
    assert image.shape == (40, 254, 3)
    assert image.dtype == np.float32
    assert np.abs(image - levels[..., None] / 255).max() < 1e-6
    assert encode_depth(np.full((2, 2), 99.0)).max() == 1
    with pytest.raises(InputError, match="max_metres = 0"):
        encode_depth(np.ones((2, 2)), 0)
    with pytest.raises(InputError, match="fill_holes first"):
        encode_depth(np.full((2, 2), NAN))


def test_encoded_facts():
    raw = MM.copy()
    raw[10:20, 10:30] = 0
    found = encode(RawX(raw), DEPTH, AUTO)
    assert list(found.facts) == ["unit", "unit guessed from", "range", "holes"]
    assert found.facts["unit"] == "millimetres (likely)"
    assert found.facts["range"].startswith("0.70 / 2.")
    assert found.facts["holes"] == "4.2 %"
    assert found.histogram.unit == "m"
    assert found.histogram.counts.sum() >= 0.98 * (raw > 0).sum()
    assert np.array_equal(np.isnan(found.image), raw == 0)
    assert np.array_equal(found.display, found.depth.metres, equal_nan=True)
    chosen = encode(RawX(raw), DEPTH, XOptions(unit="mm"))
    assert chosen.facts["unit"] == "millimetres (certain)"
    assert "unit guessed from" not in chosen.facts
    estimated = encode(RawX(METRES, origin="estimated"), DEPTH, XOptions(unit="m"))
    assert estimated.facts["unit"] == "metres (estimated)"


def test_what_is_no_picture_is_refused():
    events = EventStream(*(np.zeros(3, np.int64) for _ in range(4)), (40, 40))
    for raw, found in (
        (RawX(events, kind="events", name="e.npz"), "e.npz: this is an event stream, not depth"),
        (RawX(np.zeros((40, 40, 4)), kind="angles"), "pictures behind a polarizer"),
        (RawX(np.zeros((40, 40, 2)), kind="sin_cos"), "an angle of polarization"),
    ):
        with pytest.raises(InputError, match=found):
            encode(raw, DEPTH, AUTO)


# Real frames


@pytest.mark.parametrize(
    ("path", "unit", "nearest", "farthest", "holes"),
    [
        ("hha/depth.png", "0.1mm", 1.80, 3.62, 0),
        ("hha/depth_raw.png", "0.1mm", 1.80, 3.64, 0.239),
        ("qualitative/depth/kinect1_depth_mm.png", "mm", 0.95, 9.82, 0.319),
        ("qualitative/depth/kinect2_depth_mm.png", "mm", 0.98, 9.625, 0.307),
        ("qualitative/depth/realsense1_depth_u16.png", "mm", 0.43, 44.77, 0.315),
    ],
)
def test_real_depth(shared, path, unit, nearest, farthest, holes):
    raw = read_x(shared / "data" / path)
    assert raw.data.dtype == np.uint16
    reading = read_depth_metres(raw.data)
    assert (reading.unit, reading.notes) == (unit, ())
    assert reading.hole_share == pytest.approx(holes, abs=1e-3)
    assert 1.5 < reading.median < 4
    assert (reading.minimum, reading.maximum) == (
        pytest.approx(nearest, abs=5e-3),
        pytest.approx(farthest, abs=5e-3),
    )
    assert np.nanmax(encode(raw, DEPTH, AUTO).image) == pytest.approx(min(farthest / 10, 1), abs=1e-3)


def test_a_4k_depth_map_is_read_in_little_time():
    raw = cv2.resize(MM, (3840, 2160))
    raw[RNG.random(raw.shape) < 0.1] = 0
    best = 9.0
    for _ in range(3):
        start = time.process_time()
        fill_holes(encode(RawX(raw), DEPTH, AUTO).image)
        best = min(best, time.process_time() - start)
    assert best < 3
