"""Files that decoders read silently, but not as they are meant: orders, orientations, channels, bits."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from ktb.config import InputConfig
from ktb.inputs import (
    EventStream,
    InputError,
    RawX,
    RgbImage,
    XOptions,
    encode_x,
    read_image_rgb,
    read_rgb,
    read_x,
)
from ktb.inputs.alignment.turn import turned, upright
from ktb.inputs.encoders.byte_order import looks_swapped
from ktb.inputs.encoders.channels import fourth_is_image
from ktb.inputs.recognize import recognize

DEPTH, THERMAL, NIR, HHA = (
    InputConfig(modality=kind, encoding=kind) for kind in ("depth", "thermal", "nir", "hha")
)
RNG = np.random.default_rng(0)
Y, X = np.mgrid[:160, :120].astype(float)


def warm_mug() -> np.ndarray:
    counts = 12600 + 30 * np.sin(X / 40) + 7000 * np.exp(-((X - 60) ** 2 + (Y - 100) ** 2) / 900)
    return np.rint(counts).astype(np.uint16)


def tiff(data: np.ndarray, extra: int, photometric: int = 2) -> bytes:
    """An uncompressed TIFF of (H, W, C) whose last channels have the meaning `extra`."""
    height, width, channels = data.shape
    tags = [(256, width), (257, height), (258, 0), (259, 1), (262, photometric), (273, 0), (277, channels)]
    tags += [(278, height), (279, data.nbytes), (338, extra)]
    end = 10 + 12 * len(tags) + 4
    places = {258: end, 273: end + 2 * channels}
    entries = [
        struct.pack("<HHII", tag, 4, 1, places.get(tag, value))
        if tag in (256, 257, 273, 278, 279)
        else struct.pack("<HHII", tag, 3, channels if tag == 258 else 1, places.get(tag, value))
        for tag, value in tags
    ]
    bits = struct.pack(f"<{channels}H", *[8 * data.dtype.itemsize] * channels)
    start = b"II*\0" + struct.pack("<IH", 8, len(tags))
    return start + b"".join(entries) + bytes(4) + bits + data.tobytes()


# Byte order


def as_png(counts: np.ndarray) -> bytes:
    return cv2.imencode(".png", counts)[1].tobytes()


def as_tiff(counts: np.ndarray) -> bytes:
    return cv2.imencode(".tiff", counts)[1].tobytes()


def as_pgm(counts: np.ndarray) -> bytes:
    return b"P5 %d %d 65535\n" % counts.shape[::-1] + counts.astype(">u2").tobytes()


@pytest.mark.parametrize("write", [as_png, as_pgm, as_tiff])
def test_swapped_bytes_are_put_right_and_said(write):
    right, counts = read_x(write(warm_mug()), "a.png"), warm_mug()
    assert np.array_equal(right.data, counts)
    assert not right.notes
    found = read_x(write(counts.byteswap()), "a.png")
    assert np.array_equal(found.data, counts)
    assert "wrong order" in found.notes[0]
    reading = encode_x(found, THERMAL)
    assert reading.facts["range"] == "12,600 / 12,852 / 19,630 (min / median / max)"
    assert reading.facts["byte order"] == "swapped (likely)"
    kept = read_x(write(counts.byteswap()), "a.png", XOptions(byte_order="stored"))
    assert np.array_equal(kept.data, counts.byteswap())
    forced = read_x(write(counts), "a.png", XOptions(byte_order="swapped"))
    assert np.array_equal(forced.data, counts.byteswap())
    assert forced.facts["byte order"] == "swapped (certain)"


def test_an_array_is_doubted_as_a_file_is():
    reading = encode_x(warm_mug().byteswap(), THERMAL)
    assert np.array_equal(reading.image, encode_x(warm_mug(), THERMAL).image)
    assert any("wrong order" in note for note in reading.warnings)


def test_depth_in_swapped_bytes_has_the_same_metres():
    depth = np.rint(1500 + 10 * Y + RNG.normal(0, 4, Y.shape)).astype(np.uint16)
    depth[RNG.random(Y.shape) < 0.2] = 0
    depth[:9] = 65535
    right, found = (encode_x(read_x(as_png(d), "d.png"), DEPTH) for d in (depth, depth.byteswap()))
    assert np.array_equal(right.depth.metres, found.depth.metres, equal_nan=True)


def test_an_rgb_image_in_swapped_bytes_has_the_same_colours():
    y, x = np.mgrid[:120, :160]
    photo = (np.stack([40 + x, 60 + y, 200 - x // 2], -1) * 257 + RNG.integers(0, 200, (120, 160, 3))).astype(
        "u2"
    )
    right, found = (read_rgb(as_png(picture)) for picture in (photo, photo.byteswap()))
    assert np.array_equal(right.pixels, found.pixels)
    assert not right.notes
    assert "wrong order" in found.notes[0]


def test_one_byte_that_never_changes_is_not_the_lower_one():
    counts = (12_544 + RNG.integers(0, 250, Y.shape)).astype(np.uint16)  # noise in the lower byte alone
    assert looks_swapped(counts.byteswap())
    assert not looks_swapped(counts)


def test_swapped_floats_are_put_right():
    metres = (1 + Y / 50).astype(np.float32)
    assert np.array_equal(read_x(b"Pf 120 160 1\n" + metres[::-1].tobytes(), "d.pfm").data, metres)
    assert not looks_swapped(np.full((40, 40), np.nan, np.float32))
    assert not looks_swapped(np.where(RNG.random((40, 40)) < 0.7, np.nan, 1).astype(np.float32))


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(0, 65536, Y.shape),
        RNG.integers(0, 4096, Y.shape),
        (X + Y) % 250 * 256,
        (X + Y) % 250 * 257,
        (X + Y) % 250 * 256 + 255,
        (X + Y) % 1000 * 64,
        np.zeros(Y.shape),
        X // 40 * 1000 + Y // 60 * 333,
    ],
)
def test_other_values_are_left_alone(values):
    assert not looks_swapped(values.astype(np.uint16))


def test_swaps_of_what_has_no_byte_order_are_refused():
    for data in (np.zeros((40, 50), np.uint8), EventStream([1], [1], [1], [1], (40, 50))):
        raw = RawX(data, kind="picture" if isinstance(data, np.ndarray) else "events")
        with pytest.raises(InputError, match="have no byte order"):
            encode_x(
                data, THERMAL, options=XOptions(byte_order="swapped")
            ) if raw.kind == "picture" else read_x(b"1 2 3 1\n" * 9, "e.txt", XOptions(byte_order="swapped"))


# Channels


def rgbt(thermal: np.ndarray) -> np.ndarray:
    """(120, 160, 4) colours, and another sensor in place of alpha."""
    y, x = np.mgrid[:120, :160]
    colour = np.stack([60 + x // 2, 80 + y // 2, np.full_like(x, 90)], -1) + RNG.integers(0, 6, (120, 160, 3))
    return np.dstack([colour, thermal]).astype(np.uint8)


def person() -> np.ndarray:
    y, x = np.mgrid[:120, :160]
    return np.where((x > 70) & (x < 90) & (y > 30) & (y < 100), 220, 40)


@pytest.mark.parametrize("inputs", [THERMAL, NIR])
@pytest.mark.parametrize("kind", ["png", "tiff 0", "tiff 2", "npy"])
def test_a_fourth_channel_that_varies_is_x(tmp_path, inputs, kind):
    picture, file = rgbt(person()), tmp_path / "00001D.png"
    if kind == "png":
        Image.fromarray(picture, "RGBA").save(file)
    elif kind == "npy":
        file = tmp_path / "00001D.npy"
        np.save(file, picture)
    else:
        file.write_bytes(tiff(picture, int(kind[-1])))
    reading = encode_x(read_x(file), inputs)
    assert reading.facts["range"] == "40 / 40 / 220 (min / median / max)"
    assert reading.facts["channel"] == "4 of 4 (likely)"
    assert reading.image[60, 80, 0] == pytest.approx(220 / 255)
    assert any("fourth channel was taken as X" in note for note in reading.warnings)
    colours = encode_x(read_x(file), inputs, options=XOptions(channel="colour"))
    assert colours.facts["range"].startswith("7")
    red = encode_x(read_x(file), inputs, options=XOptions(channel=1))
    assert red.image[..., 0] == pytest.approx(picture[..., 0] / 255)
    if kind != "npy":
        rgb = read_rgb(file)
        assert np.array_equal(rgb.pixels, picture[..., :3])
        assert "give the same file as X" in rgb.notes[0]
        assert rgb.notes[0] in encode_x(read_x(file), inputs, rgb=rgb).warnings


def test_the_sensor_is_recognized_by_the_fourth_channel():
    grey = cv2.GaussianBlur(person().astype(np.float32), (0, 0), 3)
    alone, with_colours = (recognize(RawX(data)) for data in (np.uint8(grey), rgbt(grey)))
    assert alone == with_colours


def test_depth_in_the_fourth_channel_of_16_bits():
    colours = RNG.integers(0, 65535, (60, 80, 3))
    depth = np.mgrid[1000:1060, :80][0] * 2
    data = np.dstack([colours, depth]).astype(np.uint16)
    reading = encode_x(read_x(cv2.imencode(".png", data[..., [2, 1, 0, 3]])[1].tobytes(), "rgbd.png"), DEPTH)
    assert reading.modality == "depth"
    assert np.allclose(reading.depth.metres, depth / 1000)


def test_other_modalities_leave_a_fourth_channel_out_with_a_note(tmp_path):
    Image.fromarray(rgbt(person()), "RGBA").save(tmp_path / "hha.png")
    reading = encode_x(read_x(tmp_path / "hha.png"), HHA)
    assert any("it was left out. Say 4" in note for note in reading.warnings)
    with pytest.raises(InputError, match="has one channel, no channel 4"):
        encode_x(person().astype(np.uint8), THERMAL, options=XOptions(channel="4"))


def test_a_transparency_is_dropped_and_said(tmp_path):
    y, x = np.mgrid[:120, :160]
    cut_out = np.clip(200 * (50 - np.hypot(x - 80, y - 60)), 0, 255)
    assert not fourth_is_image(rgbt(cut_out))
    Image.fromarray(rgbt(cut_out), "RGBA").save(tmp_path / "a.png")
    rgb = read_rgb(tmp_path / "a.png")
    assert "59.2 % of its pixels are transparent" in rgb.notes[0]
    Image.fromarray(rgbt(np.full((120, 160), 255)), "RGBA").save(tmp_path / "a.png")
    assert not read_rgb(tmp_path / "a.png").notes
    grey = np.dstack([person(), cut_out]).astype(np.uint8)
    Image.fromarray(grey, "LA").save(tmp_path / "a.png")
    raw = read_x(tmp_path / "a.png")
    assert np.array_equal(raw.data, person())
    assert "transparency that varies" in raw.notes[0]


# Bits


@pytest.mark.parametrize(("bits", "suffix"), [(10, "png"), (12, "png"), (12, "tif"), (14, "png")])
def test_fewer_bits_in_16_are_as_bright_as_8(tmp_path, bits, suffix):
    y, x = np.mgrid[:120, :160]
    photo = np.stack([40 + x, 60 + y, 200 - x // 2], -1).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"photo.{suffix}"), photo[..., ::-1] << bits - 8)
    rgb = read_rgb(tmp_path / f"photo.{suffix}")
    assert np.array_equal(rgb.pixels, photo)
    assert f"it is taken for {bits}-bit data" in rgb.notes[0]
    with pytest.warns(UserWarning, match=f"taken for {bits}-bit data"):
        assert read_image_rgb(tmp_path / f"photo.{suffix}").mean() == photo.mean()


@pytest.mark.parametrize("factor", [256, 257])
def test_a_dark_image_of_16_bits_that_was_one_of_8_stays_dark(tmp_path, factor):
    dark = RNG.integers(0, 12, (60, 80, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "dark.png"), dark * factor)
    rgb = read_rgb(tmp_path / "dark.png")
    assert np.array_equal(rgb.pixels[..., ::-1], dark)
    assert not rgb.notes


def test_highlights_of_a_float_image_do_not_darken_it(tmp_path):
    photo = RNG.random((60, 80, 3)).astype(np.float32)
    photo[3, 3] = 7
    cv2.imwrite(str(tmp_path / "photo.tif"), photo)
    assert read_image_rgb(tmp_path / "photo.tif").mean() == pytest.approx(127.5, abs=3)


# Orientation


def phone(path, orientation: int) -> np.ndarray:
    """Write a photo of 128 x 96 with an EXIF orientation; its disc lies at the upper left, as stored."""
    y, x = np.mgrid[:96, :128]
    disc = (x - 30) ** 2 + (y - 25) ** 2 < 18**2
    photo = np.where(disc[..., None], (200, 60, 40), 100).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(photo).save(path, quality=95, exif=exif)
    return np.where(disc, 1500, 4000).astype(np.uint16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_x_is_turned_as_the_rgb_image_was(tmp_path, orientation):
    depth = phone(tmp_path / "photo.jpg", orientation)
    rgb = read_rgb(tmp_path / "photo.jpg")
    assert rgb.orientation == orientation
    reading = encode_x(depth, DEPTH, options=XOptions(turn="exif"), rgb=rgb)
    red = rgb.pixels[..., 0] > 150
    assert np.mean((reading.depth.metres < 2) == red) > 0.995
    assert not any("EXIF" in note for note in reading.warnings)
    assert ("turned" in reading.facts) == (orientation > 1)


def test_an_orientation_that_x_lacks_is_said(tmp_path):
    depth = phone(tmp_path / "photo.jpg", 3)
    (note,) = encode_x(depth, DEPTH, rgb=read_rgb(tmp_path / "photo.jpg")).warnings
    assert "turned by its EXIF orientation (3). X has none and was left as it is" in note
    assert "--turn exif" in note
    phone(tmp_path / "photo.jpg", 6)
    rgb = read_rgb(tmp_path / "photo.jpg")
    with pytest.warns(UserWarning, match=r"turned by its EXIF orientation \(6\)"):
        assert np.array_equal(read_image_rgb(tmp_path / "photo.jpg"), rgb.pixels)
    cause = (
        r"turned by its EXIF orientation \(6\) from 128 x 96 to 96 x 128; X has the unturned size, 128 x 96"
    )
    with pytest.raises(InputError, match=cause):
        encode_x(depth, DEPTH, rgb=rgb)
    assert not encode_x(upright(depth, 6), DEPTH, rgb=rgb).warnings  # X is upright, too
    phone(tmp_path / "x.jpg", 6)
    thermal = read_x(tmp_path / "x.jpg")
    assert thermal.orientation == 6
    for turn in ("auto", "exif"):  # X has the orientation itself
        reading = encode_x(thermal, THERMAL, options=XOptions(turn=turn), rgb=rgb)
        assert not any("EXIF" in note for note in reading.warnings)
        assert reading.image.shape[:2] == (128, 96)


def test_an_orientation_that_only_x_has_is_said(tmp_path):
    phone(tmp_path / "x.jpg", 6)
    thermal = read_x(tmp_path / "x.jpg")
    stored = RgbImage(np.zeros((96, 128, 3), np.uint8))
    with pytest.raises(InputError, match=r"X was turned by its EXIF orientation \(6\).*--turn 270"):
        encode_x(thermal, THERMAL, rgb=stored)
    back = encode_x(thermal, THERMAL, options=XOptions(turn="270"), rgb=stored)
    assert back.image.shape[:2] == (96, 128)
    phone(tmp_path / "x.jpg", 3)
    (note, *_) = encode_x(read_x(tmp_path / "x.jpg"), THERMAL, rgb=stored).warnings
    assert '"Turn X" 180 degrees' in note


def test_turns_by_degrees_are_clockwise():
    x = np.arange(40 * 50, dtype=np.float32).reshape(40, 50)
    for turn, times in ((90, 3), (180, 2), (270, 1)):
        found = turned(RawX(x), XOptions(turn=turn), None)
        assert np.array_equal(found.data, np.rot90(x, times))
    with pytest.raises(InputError, match="needs the RGB image with its orientation"):
        encode_x(x, DEPTH, options=XOptions(turn="exif"))
    with pytest.raises(InputError, match="turn"):
        XOptions(turn="45")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_events_are_turned_as_an_image(orientation):
    x, y = RNG.integers(0, 50, 200), RNG.integers(0, 40, 200)
    stream = EventStream(x, y, np.arange(200), RNG.integers(0, 2, 200), (40, 50))
    rgb = RgbImage(np.zeros((50, 40, 3), np.uint8), orientation=orientation)
    found = turned(RawX(stream, kind="events"), XOptions(turn="exif"), rgb).data
    counts, expected = np.zeros(found.size_hw, int), np.zeros((40, 50), int)
    np.add.at(counts, (found.y, found.x), 1)
    np.add.at(expected, (y, x), 1)
    assert np.array_equal(counts, upright(expected, orientation))
