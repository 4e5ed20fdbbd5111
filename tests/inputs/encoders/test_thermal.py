"""Thermal pictures: units, holes, stretch, fixed ranges, polarity and every message."""

import numpy as np
import pytest

from ktb.config import InputConfig
from ktb.inputs import InputError, RawX, XOptions, encode_x, read_x
from ktb.inputs.encoders.thermal import THERMAL_UNITS, read_temperatures

SIZE = (40, 48)


def inputs(**changes) -> InputConfig:
    return InputConfig(modality="thermal", encoding="thermal", **changes)


def ramp(low: float, high: float, dtype=np.float32) -> np.ndarray:
    """(40, 48) from low at the left to high at the right."""
    return np.repeat(np.linspace(low, high, SIZE[1])[None], SIZE[0], axis=0).astype(dtype)


def image(x: np.ndarray, options: XOptions | None = None, **changes) -> np.ndarray:
    """What the network gets, one channel."""
    return encode_x(x, inputs(**changes), None, options or XOptions()).image[..., 0]


@pytest.mark.parametrize(
    ("stored", "unit", "confidence"),
    [
        (ramp(5, 240, np.uint8), "raw", "likely"),
        (ramp(5, 240, np.uint16), "raw", "likely"),
        (ramp(5.3, 140.2), "C", "likely"),
        (np.rint(ramp(5, 240)), "raw", "likely"),
        (ramp(0, 1), "raw", "likely"),
        (ramp(-10, 45), "C", "likely"),
        (ramp(270, 310), "K", "likely"),
        (ramp(27000, 31000, np.uint16), "0.01K", "likely"),
        (ramp(27000, 31000), "0.01K", "likely"),
        (ramp(2700, 3100, np.uint16), "0.1K", "guess"),
        (ramp(7000, 9000, np.uint16), "raw", "likely"),
        (ramp(0, 65535, np.uint16), "raw", "likely"),
        (ramp(160, 280, np.int16), "raw", "guess"),
        (ramp(1600, 2800, np.int16), "raw", "guess"),
        (ramp(500, 900), "raw", "likely"),
    ],
)
def test_units_are_guessed(stored, unit, confidence):
    reading = read_temperatures(stored)
    assert (reading.unit, reading.confidence) == (unit, confidence)
    assert reading.why
    assert unit in THERMAL_UNITS


@pytest.mark.parametrize(
    ("unit", "of_20_degrees"),
    [("C", 20.0), ("K", 293.15), ("0.01K", 29315), ("0.1K", 2931.5), ("0.1C", 200), ("0.01C", 2000)],
)
def test_every_unit_becomes_degrees_celsius(unit, of_20_degrees):
    stored = np.full(SIZE, of_20_degrees, np.float32)
    assert read_temperatures(stored, unit).values == pytest.approx(20, abs=0.01)
    assert read_temperatures(stored, unit).confidence == "certain"
    assert read_temperatures(stored, "raw").values == pytest.approx(of_20_degrees)


def test_eight_bits_are_taken_as_they_are():
    levels = ramp(60, 120, np.uint8)
    assert np.array_equal(image(levels), levels.astype(np.float32) / 255)
    assert np.array_equal(image(np.stack([levels] * 3, axis=-1)), levels.astype(np.float32) / 255)
    assert np.allclose(image(levels, range_low=60.0, range_high=120.0), (levels - 60.0) / 60)


def test_sixteen_bits_are_stretched_between_the_percentiles():
    levels = ramp(7000, 9000, np.uint16)
    low, high = np.percentile(levels, (1, 99))
    assert np.allclose(image(levels), np.clip((levels - low) / (high - low), 0, 1), atol=1e-6)
    low, high = np.percentile(levels, (10, 60))
    expected = np.clip((levels - low) / (high - low), 0, 1)
    assert np.allclose(image(levels, percentiles=(10.0, 60.0)), expected, atol=1e-6)


def test_a_checkpoint_may_stretch_eight_bits_like_sixteen():
    levels = ramp(60, 120, np.uint8)
    low, high = np.percentile(levels, (2, 98))
    expected = np.clip((levels - low) / (high - low), 0, 1)
    assert np.allclose(image(levels, percentiles=(2.0, 98.0), stretch_pictures=True), expected, atol=1e-6)
    assert np.allclose(image(levels, range_low=60.0, range_high=120.0, stretch_pictures=True)[0, 0], 0)
    dark = image(ramp(0, 30, np.uint8), stretch_pictures=True)
    assert (dark.min(), dark.max()) == (0, 1)


def test_a_fixed_range_is_in_degrees_where_the_unit_is_known():
    kelvin = ramp(28315, 31315, np.uint16)  # 10 to 40 degrees
    celsius = ramp(10, 40)
    for stored in (kelvin, celsius):
        found = image(stored, range_low=0.0, range_high=50.0)
        assert np.allclose(found, celsius / 50, atol=1e-3)
    users = image(celsius, XOptions(value_range=(20, 30)), range_low=0.0, range_high=50.0)
    assert np.allclose(users, np.clip((celsius - 20) / 10, 0, 1), atol=1e-5)
    raw = image(ramp(7000, 9000, np.uint16), range_low=7000.0, range_high=9000.0)
    assert np.allclose(raw, ramp(0, 1), atol=1e-3)


def test_what_a_range_cuts_off_is_said():
    reading = encode_x(ramp(10, 40), inputs(range_low=0.0, range_high=20.0))
    assert any("67 % of the pixels lie outside the range 0 to 20 °C" in note for note in reading.warnings)
    assert not encode_x(ramp(10, 40), inputs(range_low=0.0, range_high=50.0)).warnings


@pytest.mark.parametrize("hole", [0, 65535])
def test_far_ends_are_holes(hole):
    levels = ramp(7000, 9000, np.uint16)
    levels[:4, :6] = hole
    reading = encode_x(levels, inputs())
    assert reading.holes.sum() == 24
    assert reading.facts["holes"] == f"1.2 %, stored as {hole:,}"
    assert np.isfinite(reading.image).all()
    assert np.allclose(reading.image[:4, 5], reading.image[10, 6:7], atol=0.05)


def test_ends_of_a_full_range_are_no_holes():
    levels = ramp(0, 65535, np.uint16)
    assert not np.isnan(read_temperatures(levels).values).any()
    celsius = ramp(-5, 20)
    celsius[0, 0] = 0
    assert not np.isnan(read_temperatures(celsius).values).any()
    assert not np.isnan(read_temperatures(np.zeros(SIZE, np.uint16)).values).any()


def test_nan_infinity_and_absolute_zero_are_holes():
    kelvin = ramp(270, 310)
    kelvin[0, :3] = np.nan, np.inf, -1
    assert np.isnan(read_temperatures(kelvin).values).sum() == 3
    assert np.isnan(read_temperatures(kelvin, "K").values[0, :3]).all()


@pytest.mark.parametrize(
    ("file", "checkpoint", "inverted"),
    [
        ("auto", "white", False),
        ("auto", "black", False),
        ("white", "black", True),
        ("black", "white", True),
        ("black", "black", False),
    ],
)
def test_polarity_of_raw_levels(file, checkpoint, inverted):
    levels = ramp(0, 255, np.uint8)
    reading = encode_x(levels, inputs(hot=checkpoint), None, XOptions(hot=file))
    expected = levels.astype(np.float32) / 255
    assert np.allclose(reading.image[..., 0], 1 - expected if inverted else expected, atol=1e-6)
    assert ("inverted" in reading.facts["hot"]) == inverted
    assert np.array_equal(reading.preview[..., 0], levels)  # as the file has it


def test_temperatures_are_hot_where_they_are_high():
    celsius = ramp(10, 40)
    assert image(celsius, hot="white")[0, -1] == 1
    assert image(celsius, hot="black")[0, -1] == 0


def test_colours_of_a_palette_are_brightness_with_a_note():
    picture = np.stack([ramp(0, 255, np.uint8), ramp(255, 0, np.uint8), ramp(0, 90, np.uint8)], axis=-1)
    reading = encode_x(picture, inputs())
    expected = picture.astype(np.float32) @ np.float32([0.299, 0.587, 0.114]) / 255
    assert np.allclose(reading.image[..., 0], expected, atol=0.5001 / 255)
    assert any("Colours of a palette are not temperatures" in note for note in reading.warnings)


def test_jpeg_like_grey_is_no_colour():
    picture = np.stack([ramp(50, 200, np.uint8)] * 3, axis=-1)
    picture[..., 1] += 2
    reading = encode_x(picture, inputs())
    assert not reading.warnings
    assert np.allclose(reading.image[..., 0], picture[..., 0] / 255, atol=0.01)


def test_facts_and_histogram():
    kelvin = ramp(28315, 31315, np.uint16)
    kelvin[:, 10:38] = 29815
    reading = encode_x(kelvin, inputs())
    assert reading.facts["unit"] == "hundredths of a kelvin (likely)"
    assert reading.facts["unit guessed from"] == "a median of 29,815 is 25.0 °C then"
    assert reading.facts["range"] == "10 / 25 / 40 °C (min / median / max)"
    assert reading.facts["stretch"].startswith("stretched from 1 % to 99 % (10")
    assert reading.histogram.unit == "°C"
    assert 10 <= reading.histogram.edges[0] < reading.histogram.edges[-1] <= 40
    assert encode_x(ramp(0, 255, np.uint8), inputs()).histogram.unit == "as stored"
    chosen = encode_x(ramp(28315, 31315, np.uint16), inputs(), None, XOptions(unit="raw"))
    assert chosen.facts["unit"] == "levels without a unit (certain)"


def test_a_flat_picture_says_nothing():
    reading = encode_x(np.full(SIZE, 7000, np.uint16), inputs())
    assert (reading.image == 0).all()
    assert any("the same everywhere" in note for note in reading.warnings)


@pytest.mark.parametrize(
    ("x", "unit", "message"),
    [
        (ramp(0, 9), "mm", "thermal unit 'mm': choose auto or one of raw, C, K, 0.01K, 0.1K"),
        (np.full(SIZE, np.nan, np.float32), "auto", "no pixel has a value, all are NaN or infinite"),
        (ramp(1, 200, np.uint8) * 0 - 300.0, "C", "in the unit 'C' all is below absolute zero"),
        (
            RawX(ramp(0, 1)[..., None].repeat(4, -1), kind="angles"),
            "auto",
            "behind a polarizer, not a thermal",
        ),
    ],
)
def test_messages(x, unit, message):
    with pytest.raises(InputError, match=message):
        encode_x(x, inputs(), None, XOptions(unit=unit, modality="thermal"))


@pytest.mark.parametrize("name", ["FLIR_00060", "FLIR_04607", "FLIR_06920"])
def test_real_pictures(shared, name):
    reading = encode_x(read_x(shared / f"data/qualitative/thermal/{name}_thermal.jpg"), inputs())
    assert reading.facts["stretch"] == "taken as it is"
    assert not reading.warnings
