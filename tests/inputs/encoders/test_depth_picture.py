"""Depth for checkpoints that take it as a plain picture, such as those of SUN RGB-D and DELIVER."""

import numpy as np
import pytest

from ktb.config import InputConfig
from ktb.inputs import NEAR_DARK, InputError, XOptions, encode_x
from ktb.modalities import DATASET_INPUTS

SUN = InputConfig(modality="depth", **DATASET_INPUTS["sunrgbd", "depth"])
UNKNOWN = InputConfig(modality="depth", **DATASET_INPUTS["deliver", "depth"])
METRES = np.linspace(0.5, 7.5, 60 * 80, dtype=np.float32).reshape(60, 80)
MM = np.rint(1000 * METRES).astype(np.uint16)
ROTATED = (MM << 3) | (MM >> 13)  # as SUN RGB-D stores millimetres
AS_TRAINED = ROTATED / np.float32(65535)


@pytest.mark.parametrize(
    ("stored", "unit"),
    [
        (MM, "auto"),
        (METRES, "auto"),
        (MM * 5, "1/5000m"),
        (MM // 10, "cm"),
        (ROTATED, "auto"),
        (ROTATED, "sun"),
    ],
)
def test_depth_of_any_unit_becomes_the_picture_of_the_training(stored, unit):
    reading = encode_x(stored, SUN, None, XOptions(unit=unit))
    assert np.allclose(reading.image[..., 0], AS_TRAINED, atol=0.002)
    assert reading.modality == "depth"
    assert "1 is 8.19 m" in reading.facts["as a picture"]


def test_few_levels_in_the_datasets_own_format_are_taken_as_such():
    """Too few levels for the guess of the unit, which depends on the median."""
    few = np.repeat(np.array([8000, 16_000, 24_000], np.uint16), 1600).reshape(60, 80)
    assert np.allclose(encode_x(few, SUN).image[..., 0], few / 65535, atol=1e-6)


def test_holes_are_0_as_in_the_training_pictures():
    stored = MM.copy()
    stored[10:20, 10:30] = 0
    reading = encode_x(stored, SUN)
    assert (reading.image[11:19, 11:29] == 0).all()
    assert reading.facts["holes"] == "4.2 %"
    assert np.array_equal(reading.holes, stored == 0)


def test_8_bits_are_used_as_stored_unless_their_unit_is_said():
    eight = np.rint(25.5 * METRES).astype(np.uint8)
    reading = encode_x(eight, SUN)
    assert np.allclose(reading.image[..., 0], eight / 255)
    assert any("8-bit depth is used as stored" in warning for warning in reading.warnings)
    said = encode_x(eight, SUN, None, XOptions(unit=NEAR_DARK))
    assert np.allclose(said.image[..., 0], AS_TRAINED, atol=0.005)


def test_where_the_scale_is_unknown_it_is_said():
    reading = encode_x(MM, UNKNOWN)
    assert np.allclose(reading.image[..., 0], MM / 65535, atol=1e-6)
    assert any("does not name the scale of its training pictures" in warning for warning in reading.warnings)
    assert encode_x(np.rint(25.5 * METRES).astype(np.uint8), UNKNOWN).warnings == ()
    with pytest.raises(InputError, match="picture whose scale is not known, so metres cannot be converted"):
        encode_x(METRES, UNKNOWN)


def test_a_colour_picture_is_no_depth():
    colour = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    reading = encode_x(colour, SUN)
    assert np.allclose(reading.image, colour / 255)
    assert any("looks like a plain picture" in warning for warning in reading.warnings)
