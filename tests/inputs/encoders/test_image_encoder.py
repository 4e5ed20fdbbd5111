"""Plain pictures and near infrared: scales, bits, ranges, colour and every message."""

import numpy as np
import pytest

from ktb.config import InputConfig
from ktb.inputs import InputError, RawX, XOptions, encode_x, read_x
from ktb.inputs.encoders.image import one_channel
from ktb.inputs.encoders.nir import full_scale
from ktb.modalities import DATASET_INPUTS

SIZE = (40, 48)
NIR = InputConfig(modality="nir", encoding="nir")


def levels(high: float, dtype=np.uint16) -> np.ndarray:
    return np.linspace(0, high, SIZE[0] * SIZE[1]).reshape(SIZE).astype(dtype)


@pytest.mark.parametrize(
    ("top", "white"),
    [
        (200, 255),
        (255, 255),
        (256, 1023),
        (1023, 1023),
        (1024, 4095),
        (4095, 4095),
        (4096, 16383),
        (16384, 65535),
        (65535, 65535),
    ],
)
def test_full_scale_is_what_the_used_bits_hold(top, white):
    stored = levels(top)
    assert full_scale(stored) == white
    reading = encode_x(stored, NIR)
    assert np.allclose(reading.image[..., 0], stored / white, atol=1e-6)
    assert reading.facts["black to white"] == f"0 to {white:,}"
    assert bool(reading.warnings) == (white < 65535)


def test_fewer_bits_are_said():
    (note,) = encode_x(levels(4000), NIR).warnings
    assert "No value of this 16-bit file is above 4,095: it is taken for 12-bit data" in note


def test_eight_bits_and_floats():
    assert np.allclose(encode_x(levels(90, np.uint8), NIR).image[..., 0], levels(90, np.uint8) / 255)
    fractions = levels(0.7, np.float32)
    fractions[0, :2] = np.nan
    reading = encode_x(fractions, NIR)
    assert reading.holes.sum() == 2
    assert np.allclose(reading.image[1:, :, 0], fractions[1:])


def test_a_range_counts_before_the_bits():
    dark = levels(3000)
    checkpoint = InputConfig(modality="nir", encoding="nir", range_low=0.0, range_high=65535.0)
    assert np.allclose(encode_x(dark, checkpoint).image[..., 0], dark / 65535, atol=1e-6)
    users = encode_x(dark, checkpoint, None, XOptions(value_range=(1000, 2000)))
    assert np.allclose(users.image[..., 0], np.clip((dark - 1000.0) / 1000, 0, 1), atol=1e-5)
    assert any("67 % of the pixels lie outside the range 1000 to 2000" in note for note in users.warnings)
    kelvin = encode_x(levels(900, np.float32), checkpoint)
    assert kelvin.image.max() == pytest.approx(900 / 65535)


def test_colour_becomes_the_mean_with_a_note():
    colour = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    reading = encode_x(colour, NIR)
    assert np.allclose(reading.image[..., 0], np.rint(colour.mean(axis=-1)) / 255, atol=1e-6)
    assert np.array_equal(reading.image[..., 0], reading.image[..., 2])
    assert any("in colour" in note for note in reading.warnings)
    almost = np.stack([levels(200, np.uint8)] * 3, axis=-1)
    almost[..., 1] += 2
    assert not encode_x(almost, NIR).warnings
    deep = np.stack([levels(65535)] * 4, axis=-1)
    assert np.allclose(encode_x(deep, NIR).image[..., 0], levels(65535) / 65535, atol=1e-6)


def test_one_channel_keeps_equal_channels_as_stored():
    grey = levels(60000)
    found, colour = one_channel(np.stack([grey] * 3, axis=-1), (0.2, 0.3, 0.5))
    assert found.dtype == np.uint16
    assert np.array_equal(found, grey)
    assert not colour


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (levels(5, np.float32), "values 0..5: as a picture, floats must be in 0..1"),
        (levels(70_000, np.int32), "has dtype int32: give uint8, uint16, or floats"),
        (np.full(SIZE, np.nan), "no pixel has a value"),
        (
            RawX(np.zeros((*SIZE, 4), np.uint16), kind="angles"),
            "pictures behind a polarizer, not near infrared",
        ),
        (
            RawX(np.zeros((*SIZE, 2), np.float32), kind="sin_cos"),
            "an angle of polarization, not near infrared",
        ),
    ],
)
def test_messages(x, message):
    with pytest.raises(InputError, match=message):
        encode_x(x, NIR, None, XOptions(modality="nir"))


@pytest.mark.parametrize("kind", ["angles", "sin_cos"])
def test_plain_pictures_are_no_polarization(kind):
    raw = RawX(np.zeros((*SIZE, 4 if kind == "angles" else 2), np.float32), kind=kind)
    with pytest.raises(InputError, match="not a plain picture"):
        encode_x(raw, InputConfig(), None, XOptions(modality="other"))


def test_plain_pictures_keep_their_channels():
    colour = np.random.default_rng(0).integers(0, 256, (*SIZE, 4), dtype=np.uint8)
    assert np.allclose(encode_x(colour, InputConfig()).image, colour[..., :3] / 255)


@pytest.mark.parametrize("name", ["0002_nir.jpg", "0015_nir.jpg"])
def test_real_pictures(shared, name):
    reading = encode_x(read_x(shared / "data/qualitative/nir" / name), NIR)
    assert reading.facts["black to white"] == "0 to 255"
    assert not reading.warnings


def test_the_full_scale_of_a_checkpoint_is_that_of_the_files_type():
    mcubes = InputConfig(modality="nir", encoding="nir", **DATASET_INPUTS["mcubes", "nir"])
    dark = encode_x(levels(2000), mcubes)
    assert np.allclose(dark.image[..., 0], levels(2000) / 65535, atol=1e-6)
    assert "no value of this file is above 4,095. If the file holds 12-bit data" in dark.warnings[0]
    assert encode_x(levels(60_000), mcubes).warnings == ()
    assert np.allclose(encode_x(levels(90, np.uint8), mcubes).image[..., 0], levels(90, np.uint8) / 255)
    assert np.allclose(encode_x(levels(0.7, np.float32), mcubes).image[..., 0], levels(0.7, np.float32))
