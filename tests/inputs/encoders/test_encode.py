"""From a raw X input to what the network gets and the user sees, at the RGB image's size."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.pairs import room_mm

from ktb.config import InputConfig
from ktb.inputs import (
    AUTO,
    EventStream,
    InputError,
    RawX,
    XOptions,
    encode_x,
    event_frame,
    fill_holes,
    missing_x,
    place,
    read_image_rgb,
    read_x,
)
from ktb.inputs.encode import ENCODERS, taken_for
from ktb.modalities import DEFAULT_ENCODINGS

RNG = np.random.default_rng(0)
NAN = float("nan")
MM = room_mm()
COLOUR = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
STREAM = EventStream(
    x=RNG.integers(0, 80, 500),
    y=RNG.integers(0, 60, 500),
    t=np.sort(RNG.integers(0, 50_000, 500)),
    polarity=RNG.integers(0, 2, 500),
    size_hw=(60, 80),
)


def inputs(modality: str, **more) -> InputConfig:
    return InputConfig(modality=modality, encoding=more.pop("encoding", DEFAULT_ENCODINGS[modality]), **more)


DEPTH, HHA, THERMAL, OTHER = (inputs(modality) for modality in ("depth", "hha", "thermal", "other"))


def holed() -> np.ndarray:
    raw = MM.copy()
    raw[10:20, 10:30] = 0
    return raw


# Depth: holes filled for the network, kept for display


def test_depth_at_the_rgb_images_size():
    x = encode_x(holed(), DEPTH, (120, 160))
    assert x.image.shape == x.preview.shape == (120, 160, 3)
    assert x.image.dtype == np.float32
    assert x.image.flags.c_contiguous
    assert x.preview.dtype == np.uint8
    assert (x.modality, x.encoding, x.origin, x.warnings) == ("depth", "depth", "measured", ())
    assert x.holes.sum() == 800
    assert (x.preview[x.holes] == 128).all()
    assert x.summary.startswith("depth, uint16 array, millimetres (likely): 0.70 / ")
    assert x.summary.endswith(" m (min / median / max), 4.2 % holes")
    assert np.array_equal(np.isnan(x.depth.metres), x.holes)
    assert x.preview[-1].mean() > x.preview[0].mean(), "near is bright"
    assert list(x.facts)[:4] == ["file", "format", "size", "unit"]
    assert x.facts["size"] == "80 x 60"
    assert encode_x(holed(), DEPTH, options=XOptions(unit="0.1mm")).depth.confidence == "certain"


def test_holes_are_filled_for_the_network_with_the_nearest_measurement():
    x = encode_x(holed(), DEPTH)
    metres = np.where(holed() == 0, NAN, MM / 1000).astype(np.float32)
    assert np.allclose(x.image[..., 0], fill_holes(metres) / 10, atol=1e-6)
    assert (x.image[x.holes] > 0).all()
    assert np.array_equal(x.image[..., 0], x.image[..., 2])


def test_the_farthest_distance_comes_from_the_checkpoint():
    ten, five = encode_x(holed(), DEPTH), encode_x(holed(), inputs("depth", max_metres=5.0))
    assert np.allclose(five.image, np.clip(2 * ten.image, 0, 1))


def test_hha_from_depth_keeps_metres_and_holes():
    x = encode_x(holed(), HHA, (120, 160))
    assert (x.modality, x.encoding) == ("hha", "hha")
    assert x.image.shape == x.preview.shape == (120, 160, 3)
    assert np.isfinite(x.image).all()
    assert x.holes.sum() == 800
    assert (x.preview[30, 40] == 128).all(), "a hole is grey"
    assert x.depth.metres.shape == (120, 160)
    assert np.array_equal(np.isnan(x.depth.metres), x.holes)
    assert np.nanmedian(x.depth.metres) == pytest.approx(2.9, abs=0.1)
    assert any("ASSUMED" in warning for warning in x.warnings)
    assert encode_x(MM, HHA).holes is None


@pytest.mark.parametrize("checkpoint", [DEPTH, HHA], ids=["depth", "hha"])
def test_a_matrix_leaves_holes_where_x_does_not_reach(checkpoint):
    right = ((1, 0, 20), (0, 1, 0), (0, 0, 1))
    x = encode_x(MM, checkpoint, (60, 80), XOptions(matrix=right))
    assert x.holes[:, :20].all()
    assert not x.holes[:, 20:].any()
    assert np.array_equal(np.isnan(x.depth.metres), x.holes)
    assert (x.preview[:, :20] == 128).all()
    unmoved = encode_x(MM, checkpoint, (60, 80)).image
    assert np.array_equal(x.image[:, 20:], unmoved[:, :60])
    assert np.array_equal(x.image[:, :20], np.repeat(unmoved[:, :1], 20, axis=1)), "the nearest column"
    with pytest.raises(InputError, match="beside the RGB image"):
        encode_x(MM, checkpoint, (60, 80), XOptions(matrix=((1, 0, 900), (0, 1, 0), (0, 0, 1))))


def test_a_matrix_may_leave_only_holes():
    raw = np.where(np.arange(80) < 40, MM, 0).astype(np.uint16)
    with pytest.raises(InputError, match="no measurement lies within the RGB image"):
        encode_x(raw, DEPTH, (60, 80), XOptions(matrix=((1, 0, -40), (0, 1, 0), (0, 0, 1))))


# Pictures


@pytest.mark.parametrize(
    ("raw", "scale"),
    [
        (RNG.integers(0, 256, (40, 50), dtype=np.uint8), 255),
        (RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8), 255),
        (RNG.integers(0, 65536, (40, 50, 4), dtype=np.uint16), 65535),
        (RNG.random((40, 50, 3)), 1),
        (RNG.random((40, 50)).astype(np.float32), 1),
    ],
)
def test_pictures_of_each_type_are_scaled(raw, scale):
    x = encode_x(raw, OTHER)
    assert x.image.shape == (40, 50, 3)
    assert x.image.dtype == np.float32
    expected = raw[..., None] if raw.ndim == 2 else raw[..., :3]
    assert np.allclose(x.image, expected / scale, atol=1e-6)
    assert np.abs(x.preview - x.image * 255).max() <= 0.51
    assert (x.holes, x.depth) == (None, None)


def test_a_picture_is_shown_as_it_is():
    x = encode_x(COLOUR, OTHER, (60, 80))
    assert np.array_equal(x.preview, COLOUR)
    assert x.summary.startswith("other, uint8 array, 3 channels: 0.00 / ")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (RNG.random((40, 50)) * 5, "floats must be in 0..1"),
        (np.full((40, 50), NAN), "no pixel has a value, all are NaN"),
        (np.zeros((40, 50), np.int32), "dtype int32: give uint8, uint16"),
        (np.zeros((40, 50, 7), np.uint8), "shape \\(40, 50, 7\\)"),
        (np.zeros((40, 50), bool), "holds dtype bool"),
        ([[1, 2], [3, 4]], "X is list; give an array"),
    ],
)
def test_bad_pictures_are_named(raw, message):
    with pytest.raises(InputError, match=message):
        encode_x(raw, OTHER)


# Sizes


def test_place_resizes_where_proportions_agree():
    x = RNG.random((60, 80)).astype(np.float32)
    assert place(x, (60, 80), "nearest") is x
    assert place(x, (121, 160), "bilinear").shape == (121, 160)
    holes = np.where(x < 0.5, NAN, x).astype(np.float32)
    enlarged = place(holes, (120, 160), "nearest")
    assert np.array_equal(enlarged, holes.repeat(2, 0).repeat(2, 1), equal_nan=True)
    with pytest.raises(InputError, match=r"X input is 80 x 60 and the RGB image 80 x 64 .*crop"):
        place(x, (64, 80), "nearest")


@pytest.mark.parametrize("checkpoint", [DEPTH, HHA, THERMAL, OTHER], ids=lambda i: i.modality)
def test_other_sizes_fit_and_other_proportions_are_refused(checkpoint):
    raw = COLOUR if checkpoint is OTHER else MM
    for size in ((60, 80), (30 * 4, 40 * 4), (47, 63), (61, 80)):
        x = encode_x(raw, checkpoint, size)
        assert x.image.shape == x.preview.shape == (*size, 3)
        assert np.isfinite(x.image).all()
    with pytest.raises(InputError, match="80 x 60 and the RGB image 60 x 80"):
        encode_x(raw, checkpoint, (80, 60))


# What X is taken for


@pytest.mark.parametrize("modality", ["depth", "hha", "thermal", "nir", "lidar", "other"])
def test_what_a_checkpoint_was_trained_on_is_no_surprise(modality):
    raw = RawX(COLOUR if modality in ("hha", "other", "lidar") else MM)
    assert taken_for(raw, modality, AUTO) == (modality, ())
    assert taken_for(raw, modality, XOptions(modality=modality)) == (modality, ())


@pytest.mark.parametrize(
    ("raw", "trained", "found"),
    [
        (RawX(COLOUR), "depth", "other"),
        (RawX(STREAM, kind="events"), "depth", "event"),
        (RawX(np.zeros((60, 80, 2)), kind="sin_cos"), "thermal", "aolp"),
        (RawX(np.zeros((60, 80, 4)), kind="angles"), "nir", "dolp"),
        (RawX(MM / 1000, origin="estimated"), "thermal", "depth"),
        (RawX(MM), "event", "depth"),
    ],
)
def test_what_plainly_is_something_else_is_said(raw, trained, found):
    modality, (warning,) = taken_for(raw, trained, AUTO)
    assert modality == found
    assert warning.startswith("X looks like ")
    assert "It runs, but" in warning


def test_a_colour_picture_runs_on_a_depth_checkpoint_with_a_warning():
    x = encode_x(COLOUR, DEPTH, (60, 80))
    assert (x.modality, x.encoding) == ("other", "image")
    assert np.allclose(x.image, COLOUR / 255)
    assert x.warnings[0].startswith(
        "X looks like a plain picture, but this checkpoint was trained with depth"
    )


def test_the_user_decides_what_x_is():
    x = encode_x(MM, DEPTH, options=XOptions(modality="thermal"))
    assert (x.modality, x.encoding) == ("thermal", "thermal")
    assert x.warnings[0].startswith("X was given as thermal, but this checkpoint was trained with depth")
    with pytest.raises(InputError, match="this depth map is in colour"):
        encode_x(COLOUR, THERMAL, options=XOptions(modality="depth"))
    with pytest.raises(InputError, match="the option modality of X is 'sonar'; allowed: auto, depth"):
        XOptions(modality="sonar")


def test_depth_said_for_an_hha_checkpoint_becomes_hha():
    said = encode_x(MM, HHA, options=XOptions(modality="depth", unit="mm"))
    assert (said.modality, said.encoding) == ("hha", "hha")
    assert not any("was given as" in warning for warning in said.warnings)
    assert np.array_equal(said.image, encode_x(MM, HHA).image)


def test_hha_for_a_depth_checkpoint_is_said():
    x = encode_x(COLOUR, DEPTH, options=XOptions(modality="hha"))
    assert (x.modality, x.encoding) == ("hha", "hha")
    assert np.allclose(x.image, COLOUR / 255)
    assert "X was given as HHA" in x.warnings[0]


def test_a_checkpoint_of_plain_pictures_takes_what_is_said_without_warning():
    x = encode_x(MM, OTHER, options=XOptions(modality="depth"))
    assert (x.modality, x.encoding, x.warnings) == ("depth", "depth", ())


def test_every_encoding_has_an_encoder():
    assert set(DEFAULT_ENCODINGS.values()) <= set(ENCODERS)


# Origins


@pytest.mark.parametrize("checkpoint", [DEPTH, HHA], ids=["depth", "hha"])
def test_an_estimate_is_marked_and_is_in_metres(checkpoint):
    note = "The depth is ESTIMATED."
    raw = RawX((MM / 1000).astype(np.float32), "estimated", "estimate", notes=(note,), origin="estimated")
    x = encode_x(raw, checkpoint, options=XOptions(unit="mm"))
    assert x.origin == "estimated"
    assert x.summary.startswith("ESTIMATED ")
    assert note in x.warnings
    assert x.depth.median == pytest.approx(2.9, abs=0.1), "a unit chosen for a camera's file does not hold"
    assert x.facts["unit"] == "metres (estimated)"


def test_no_x_is_zero_and_said():
    x = missing_x(DEPTH, (48, 64))
    assert x.image.shape == x.preview.shape == (48, 64, 3)
    assert not x.image.any()
    assert (x.origin, x.modality, x.encoding) == ("missing", "depth", "depth")
    assert (x.holes, x.depth, x.histogram) == (None, None, None)
    assert "There is no X" in x.warnings[0]


def test_what_the_reader_and_the_encoder_said_reaches_the_user():
    raw = RawX(MM.astype(np.float32), "JPEG", "a.jpg", facts={"lens": "50 mm"}, notes=("a reader's note",))
    x = encode_x(raw, DEPTH, options=XOptions(unit="m"))
    assert x.warnings[0] == "a reader's note"
    assert any("median depth" in warning for warning in x.warnings)
    assert any("JPEG has lost levels" in warning for warning in x.warnings)
    assert (x.facts["file"], x.facts["lens"]) == ("a.jpg", "50 mm")


# Real frames


@pytest.mark.parametrize("checkpoint", [DEPTH, HHA], ids=["depth", "hha"])
@pytest.mark.parametrize("name", ["kinect1_*_mm", "kinect2_*_mm", "realsense1_*_u16"])
def test_real_depth_with_its_rgb_image(shared, name, checkpoint):
    folder = shared / "data" / "qualitative" / "depth"
    (file,) = folder.glob(name.replace("*", "depth") + ".png")
    photo = read_image_rgb(folder / f"{name.split('_')[0]}_rgb.png")
    x = encode_x(read_x(file), checkpoint, photo.shape[:2])
    assert x.image.shape == photo.shape
    assert np.isfinite(x.image).all()
    assert x.image.min() >= 0
    assert x.image.max() <= 1
    assert x.holes.mean() == pytest.approx(x.depth.hole_share, abs=0.01)


def test_a_real_hha_picture(shared):
    raw = read_x(shared / "data" / "hha" / "matlab_hha.png")
    assert encode_x(raw, DEPTH).modality == "hha"
    x = encode_x(raw, HHA)
    assert x.warnings == ()
    assert np.array_equal(x.preview, raw.data)


def test_stream_for_a_checkpoint_of_event_pictures_is_drawn_with_a_warning():
    reading = encode_x(STREAM, InputConfig(modality="event", encoding="image"))
    assert reading.encoding == "event_frame"
    np.testing.assert_allclose(reading.image, event_frame(STREAM) / 255, atol=1e-6)
    assert any("unknown encoding" in warning for warning in reading.warnings)


GREY = RNG.integers(0, 256, (60, 80), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "data", "expected", "found"),
    [
        ("FLIR_00060_thermal.jpg", GREY, "depth", "thermal"),
        ("0002_nir.png", GREY, "depth", "nir"),
        ("frame_hha.png", COLOUR, "depth", "hha"),
        ("frame_hha.png", GREY, "depth", "depth"),
        ("depth.png", MM, "thermal", "depth"),
        ("depth.png", MM, "hha", "hha"),
        ("thermal_and_depth.png", GREY, "depth", "depth"),
        ("events.png", GREY, "depth", "depth"),
        ("thermal.png", GREY, "other", "other"),
        ("a_normal_day.png", GREY, "depth", "depth"),
    ],
)
def test_name_tells_what_a_program_cannot_see(name, data, expected, found):
    raw = RawX(data, "8-bit PNG", name)
    taken, warnings = taken_for(raw, expected, AUTO)
    assert taken == found
    assert bool(warnings) == (found != expected)
    assert all(name in warning for warning in warnings)
    assert taken_for(raw, expected, XOptions(modality=expected))[0] == expected
