import io
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ktb import image_files
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


def _encode(array: np.ndarray, extension: str = ".png") -> bytes:
    return cv2.imencode(extension, array)[1].tobytes()


def _saved(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _room_mm(height: int = 60, width: int = 80, far: int = 5000) -> np.ndarray:
    """A floor that comes nearer downwards, (H, W) uint16 mm, all levels coprime to 5 and 8 somewhere."""
    rows = np.linspace(far, 700, height)[:, None]
    return (rows + np.arange(width)[None] * 1.3).astype(np.uint16)


def _giant_png(width: int, height: int) -> bytes:
    """A PNG whose header promises width x height and which holds nothing."""
    data = b"\x89PNG\r\n\x1a\n"
    for chunk in (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0), b"IDAT"):
        data += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data


# Files


@pytest.mark.parametrize("extension", [".png", ".pgm", ".tiff"])
def test_16_bit_files_keep_all_levels(extension):
    array = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    raw = read_x(_encode(array, extension), "depth" + extension)
    assert raw.dtype == np.uint16
    assert np.array_equal(raw, array)


def test_x_colours_are_rgb_and_float_tiff_is_kept():
    bgr = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    assert np.array_equal(read_x(_encode(bgr)), bgr[..., ::-1])
    metres = RNG.random((40, 50)).astype(np.float32)
    assert np.array_equal(read_x(_encode(metres, ".tiff")), metres)


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4", ">f8", "<i4", "<f2"])
def test_npy_of_any_number_type(dtype):
    array = np.asfortranarray(RNG.integers(0, 9000, (40, 50)).astype(dtype))
    raw = read_x(_npy(array))
    assert raw.dtype.isnative
    assert np.array_equal(raw, array)
    assert read_x(_npy(array[None])).shape == read_x(_npy(array[..., None])).shape == (40, 50)


def test_npz_takes_depth_or_the_first_array():
    first, depth = np.zeros((40, 40), np.float32), np.ones((40, 40), np.float32)
    stream = io.BytesIO()
    np.savez_compressed(stream, a=first, depth=depth)
    assert np.array_equal(read_x(stream.getvalue()), depth)
    stream = io.BytesIO()
    np.savez(stream, a=first, b=depth)
    assert np.array_equal(read_x(stream.getvalue()), first)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_both(orientation):
    picture = Image.fromarray(np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((32, 40), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _saved(picture, "JPEG", exif=exif, quality=98)
    photo, raw = read_image_rgb(data), read_x(data)
    assert raw.shape == photo.shape[:2] == ((64, 80) if orientation < 5 else (80, 64))
    assert np.abs(photo[..., 0].astype(int) - raw).max() <= 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_photos_of_every_mode_become_rgb(mode):
    picture = Image.fromarray(RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)).convert(mode)
    photo = read_image_rgb(_saved(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert photo.shape == (40, 50, 3)
    assert photo.dtype == np.uint8
    assert photo.flags.writeable
    assert photo.flags.c_contiguous
    assert np.abs(photo.astype(int) - np.asarray(picture.convert("RGB"))).max() <= 1


def test_alpha_is_dropped_not_blended():
    pixels = np.full((40, 50, 4), (200, 100, 50, 0), np.uint8)
    assert (read_image_rgb(_saved(Image.fromarray(pixels))) == (200, 100, 50)).all()


def test_16_bit_grey_photo_is_scaled():
    photo = read_image_rgb(_encode(np.full((40, 50), 40_000, np.uint16)))
    assert (photo == round(40_000 / 257)).all()


NOISE_PNG = _encode(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
NOISE_JPG = _encode(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), ".jpg")


@pytest.mark.parametrize("read", [read_image_rgb, read_x])
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty \\(0 bytes\\)"),
        (b"<!DOCTYPE html><html>not found</html>", "a web page"),
        (b"\n <html>", "a web page"),
        (b"hello there", "no picture that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "no picture that can be read"),
        (NOISE_PNG[: len(NOISE_PNG) // 2], "damaged or cut off"),
        (NOISE_JPG[: len(NOISE_JPG) // 2], "damaged or cut off"),
        (_encode(np.zeros((31, 64), np.uint8)), "64 x 31 pixels; each side needs at least 32"),
        (_giant_png(16_385, 40), "16385 x 40 pixels; at most 16,384 a side"),
        (_giant_png(8000, 8000), "8000 x 8000 pixels; at most .* 50,000,000 in all"),
        (_giant_png(60_000, 60_000), "more than 50,000,000 pixels"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", "data"),
)
def test_bad_pictures_are_named(read, data, message):
    with pytest.raises(ValueError, match=f"^the file: .*{message}"):
        read(data)


def test_bad_paths_and_foreign_formats_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.png: there is no such file"):
        read_x(tmp_path / "gone.png")
    (tmp_path / "d.exr").write_bytes(b"v/1\x01" + bytes(100))
    with pytest.raises(ValueError, match=r"d\.exr: OpenEXR is not read; save the depth as \.npy"):
        read_x(tmp_path / "d.exr")
    with pytest.raises(ValueError, match=r"mine\.h5: HDF5 is not read"):
        read_x(b"\x89HDF\r\n\x1a\n" + bytes(50), "mine.h5")


def _npz(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def _npy_promising(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    stream = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + bytes(64)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_npy(np.array([[{"a": 1}] * 40] * 40, dtype=object)), "holds Python objects"),
        (_npy(np.zeros((40, 40), bool)), "holds dtype bool"),
        (_npy(np.zeros((40, 40), complex)), "holds dtype complex"),
        (_npy(np.zeros(1000)), "shape \\(1000,\\).*event stream"),
        (_npy(np.zeros((40, 40, 7))), "shape \\(40, 40, 7\\)"),
        (_npy(np.zeros((40, 10))), "10 x 40 pixels; each side needs at least 32"),
        (_npy_promising((10**9, 10**9)), "at most 16,384 a side"),
        (_npy_promising((10_000, 10_000)), "50,000,000 in all"),
        (_npy_promising((7000, 7000)), "cut off, 64 of 392,000,000 bytes"),
        (_npy_promising((-40, 40)), "each side needs at least 32"),
        (b"\x93NUMPY\x01\x00\x40\x00garbage", "header is damaged"),
        (b"\x93NUMPY\x09\x00" + bytes(80), "header is damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "content",
)
def test_bad_arrays_are_named_in_npy_and_npz(content, message):
    with pytest.raises(ValueError, match=message):
        read_x(content)
    with pytest.raises(ValueError, match=message):
        read_x(_npz("depth.npy", content))


def test_bad_archives_are_named():
    with pytest.raises(ValueError, match="zip file without arrays"):
        read_x(_npz("readme.txt", b"hello"))
    good = _npz("depth.npy", _npy(RNG.random((64, 64))))
    with pytest.raises(ValueError, match="damaged or locked"):
        read_x(good[: len(good) // 2])


def test_file_size_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(image_files, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "big.png").write_bytes(bytes(2**20 + 1))
    with pytest.raises(ValueError, match=r"big\.png: larger than 1 MiB"):
        read_x(tmp_path / "big.png")


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


@pytest.mark.parametrize(
    ("photo", "x"),
    [
        ("thermal/FLIR_00060_rgb.jpg", "thermal/FLIR_00060_thermal.jpg"),
        ("nir/0002_rgb.jpg", "nir/0002_nir.jpg"),
        ("polarization/glass_sRGB.tif", "polarization/glass_nir0.tif"),
    ],
)
def test_real_images(photo, x):
    rgb, raw = read_image_rgb(_real(f"qualitative/{photo}")), read_x(_real(f"qualitative/{x}"))
    assert raw.ndim == 2
    assert read_modal_x(raw, "image", rgb.shape[:2]).image.shape == rgb.shape


def test_real_files_of_the_wrong_kind():
    with pytest.raises(ValueError, match="HHA picture"):
        read_modal_x(read_x(_real("hha/matlab_hha.png")), "depth", (480, 640))
    with pytest.raises(ValueError, match="event stream"):
        read_x(_real("qualitative/event/keyboard_events.npz"))
