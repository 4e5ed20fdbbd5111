"""One outlier or one constant decides neither a range nor a unit: no-data values, glints, sky."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from ktb.config import InputConfig
from ktb.inputs import InputError, XOptions, encode_x, read_depth_metres, read_x
from ktb.inputs.encoders.no_data import find_no_data

THERMAL = InputConfig(modality="thermal", encoding="thermal")
NIR = InputConfig(modality="nir", encoding="nir")
DEPTH = InputConfig(modality="depth", encoding="depth")
RNG = np.random.default_rng(0)


def orthomosaic() -> tuple[np.ndarray, np.ndarray]:
    """Degrees Celsius (180, 240) with a warm roof, and where nothing was flown."""
    y, x = np.mgrid[:180, :240].astype(np.float32)
    celsius = 22 + 6 * np.sin(x / 23) * np.cos(y / 31)
    celsius[60:110, 90:150] = 41.0
    return celsius, x + y < 110


@pytest.mark.parametrize(
    "filler", [-9999.0, -32767.0, -32768.0, -3.4e38, 65535.0, np.nan, -100.0, 0.0, 9999.0]
)
def test_no_data_values_of_a_thermal_orthomosaic_are_holes(tmp_path, filler):
    celsius, outside = orthomosaic()
    celsius[outside] = filler
    Image.fromarray(celsius).save(tmp_path / "orthomosaic.tif")
    reading = encode_x(read_x(tmp_path / "orthomosaic.tif"), THERMAL)
    assert reading.facts["unit"] == "degrees Celsius (likely)"
    assert reading.facts["range"] == "16 / 21.94 / 41 °C (min / median / max)"
    assert np.array_equal(reading.holes, outside)
    assert reading.facts["holes"].startswith("14.1 %")
    assert reading.image[85, 120, 0] == 1
    assert 0.2 < np.median(reading.image) < 0.3


@pytest.mark.parametrize(
    ("scale", "dtype", "filler", "unit"),
    [
        (100, np.uint16, 65535, "hundredths of a kelvin (likely)"),
        (100, np.uint16, 0, "hundredths of a kelvin (likely)"),
        (100, np.int32, -9999, "hundredths of a kelvin (likely)"),
        (10, np.int16, -32768, "tenths of a kelvin (guess)"),
    ],
)
def test_no_data_values_of_integers_in_kelvin_are_holes(scale, dtype, filler, unit):
    celsius, outside = orthomosaic()
    stored = np.rint((celsius + 273.15) * scale).astype(dtype)
    stored[outside] = filler
    reading = encode_x(stored, THERMAL)
    assert reading.facts["unit"] == unit
    assert np.array_equal(reading.holes, outside)


def test_a_constant_that_fills_the_image_between_the_values_is_a_hole():
    celsius, _ = orthomosaic()
    celsius = celsius - 20 + RNG.normal(0, 0.01, celsius.shape).astype(np.float32)  # zero is within
    celsius[:70] = 0
    found = find_no_data(celsius, zero=True)
    assert found.what == "0"
    assert np.array_equal(found.holes, celsius == 0)


def test_what_a_camera_measures_is_no_hole():
    x = np.mgrid[:180, :240][1]
    for measured in (
        np.clip(20 + x / 20, 24, 28),  # clamped at both ends
        np.where(x < 100, 20.0, 30.0),  # two levels
        np.where((x - 50) ** 2 < 80, 150.0, 20 + x / 50),  # a saturated flame
        np.full((180, 240), -9999.0),  # nothing else to compare with
        (x % 7 - 3).astype(np.int16),
        np.uint8(x % 250),
    ):
        assert not find_no_data(measured, zero=True).holes.any()


def test_both_ends_may_be_no_data():
    counts = (12_000 + 30 * np.mgrid[:60, :80][1]).astype(np.int32)
    counts[:3], counts[3:5], counts[5:6] = -9999, 65535, 0
    found = find_no_data(counts, zero=True)
    assert found.holes[:6].all()
    assert not found.holes[6:].any()
    assert {"-9,999", "65,535", "0"} == set(found.what.split(" and "))


@pytest.mark.parametrize("filler", [-9999.0, np.nan, -3.4e38])
def test_no_data_values_of_reflectances_are_holes(filler):
    reflectance = (0.1 + 0.3 * RNG.random((60, 80))).astype(np.float32)
    reflectance[:, :20] = filler
    for inputs in (
        NIR,
        InputConfig(modality="lidar", encoding="image"),
        InputConfig(modality="dolp", encoding="dolp"),
    ):
        reading = encode_x(reflectance, inputs)
        assert reading.holes[:, :20].all()
        assert reading.holes.sum() == 20 * 60
        assert np.allclose(reading.image[:, 20:, 0], reflectance[:, 20:])


def test_signed_reflectances_with_a_no_data_value_are_near_infrared():
    stored = RNG.integers(200, 4000, (60, 80)).astype(np.int16)
    stored[:9] = -9999
    reading = encode_x(stored, NIR)
    assert reading.holes[:9].all()
    assert np.allclose(reading.image[9:, :, 0], stored[9:] / 4095)


def test_a_glint_does_not_darken_a_near_infrared_image():
    twelve_bits = RNG.integers(200, 3900, (60, 80)).astype(np.uint16)
    plain = encode_x(twelve_bits, NIR)
    glint = twelve_bits.copy()
    glint[10, 10:14] = 65535
    reading = encode_x(glint, NIR)
    assert np.array_equal(np.delete(reading.image, 10, axis=0), np.delete(plain.image, 10, axis=0))
    reflectance = (twelve_bits / 4095).astype(np.float32)
    reflectance[10, 10:14] = 1.7
    reading = encode_x(reflectance, NIR)
    assert (reading.image[10, 10:14] == 1).all()
    assert "brighter than 1 and are taken as white" in reading.warnings[0]
    with pytest.raises(InputError, match=r"floats must be in 0\.\.1"):
        encode_x(reflectance * 3, NIR)


def test_a_glint_does_not_change_what_a_thermal_image_is():
    picture = RNG.random((60, 80)).astype(np.float32)
    picture[3, 3] = 40
    reading = encode_x(picture, THERMAL)
    assert reading.facts["unit"] == "levels without a unit (likely)"
    assert np.allclose(np.delete(reading.image[..., 0], 3, axis=0), np.delete(picture, 3, axis=0))
    levels = RNG.integers(0, 250, (60, 80)).astype(np.uint16)
    levels[3, 3] = 4095
    reading = encode_x(levels, THERMAL)
    assert np.allclose(np.delete(reading.image[..., 0], 3, axis=0), np.delete(levels / 255, 3, axis=0))


def street(sky: float) -> np.ndarray:
    """Metres of a street (120, 160), of which the upper 60 % are sky."""
    y = np.mgrid[:120, :160][0].astype(np.float32)
    metres = 3 + 60 * ((119 - y) / 48).clip(0, 1) ** 2
    metres[:72] = sky
    return metres.astype(np.float32)


@pytest.mark.parametrize("sky", [1000.0, 10_000.0, 65_504.0, 655.35, 100.0])
def test_sky_does_not_turn_metres_into_millimetres(sky):
    reading = read_depth_metres(street(sky))
    assert reading.unit == "m"
    assert reading.maximum < 63.1 or sky == 100
    assert reading.metres[0, 0] == np.float32(sky)  # far away, no hole
    assert encode_x(street(sky), DEPTH).image[0, 0, 0] == 1
    assert any("far beyond all others" in note for note in reading.notes) == (sky > 100)
    assert not any("unusual" in note for note in reading.notes)
    noisy = street(sky) + np.where(np.mgrid[:120, :160][0] < 72, RNG.normal(0, 5, (120, 160)), 0)
    assert read_depth_metres(noisy.astype(np.float32)).unit == "m"


def test_likely_is_said_only_where_other_units_were_ruled_out():
    y = np.mgrid[:120, :160][0]
    millimetres = (1500 + 10 * y).astype(np.uint16)
    said = read_depth_metres(millimetres)
    assert (said.unit, said.confidence) == ("mm", "likely")
    near = read_depth_metres((millimetres // 3).astype(np.uint16))
    assert (near.unit, near.confidence) == ("mm", "guess")
    assert "centimetres" in near.why
    room = np.rint(15 + y / 6).astype(np.uint8)
    assert encode_x(room, THERMAL).facts["unit"] == "levels without a unit (guess)"
    celsius = encode_x(room, THERMAL, options=XOptions(unit="C"))
    assert celsius.facts["unit"] == "degrees Celsius (certain)"
