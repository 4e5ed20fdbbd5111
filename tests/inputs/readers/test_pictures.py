"""Reading pictures and arrays: no level lost, whatever the mode, the bits and the orientation."""

from __future__ import annotations

import builtins
import io
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from ktb.inputs import InputError, read_image_rgb, read_x

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
LEVELS = np.arange(65536, dtype=np.uint16).reshape(256, 256)
DEEP = np.stack([LEVELS, LEVELS[::-1], LEVELS.T], axis=-1)


def _encode(array: np.ndarray, extension: str = ".png") -> bytes:
    """In a file by OpenCV; colours are given as RGB."""
    order = [2, 1, 0, 3][: array.shape[2]] if array.ndim == 3 else slice(None)
    return cv2.imencode(extension, array[..., order] if array.ndim == 3 else array)[1].tobytes()


def _saved(picture: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# Levels


@pytest.mark.parametrize("extension", [".png", ".pgm", ".tiff"])
def test_16_bit_files_keep_all_levels(extension):
    raw = read_x(_encode(LEVELS, extension), "depth" + extension)
    assert raw.data.dtype == np.uint16
    assert np.array_equal(raw.data, LEVELS)
    assert raw.format == f"16-bit {extension[1:].upper()}"


@pytest.mark.parametrize("extension", [".png", ".tiff", ".ppm"])
def test_16_bit_colours_are_kept_for_x_and_rounded_for_photos(extension):
    data = _encode(DEEP, extension)
    raw = read_x(data)
    assert np.array_equal(raw.data, DEEP)
    assert raw.format == f"16-bit {extension[1:].upper()}"
    photo = read_image_rgb(data)
    assert photo.dtype == np.uint8
    assert np.array_equal(photo, np.rint(DEEP / 257).astype(np.uint8))


def test_16_bit_grey_photos_are_rounded_not_cut():
    photo = read_image_rgb(_encode(LEVELS))
    assert np.array_equal(photo[..., 1], np.rint(LEVELS / 257).astype(np.uint8))
    dark = read_image_rgb(_encode(LEVELS[:40, :50] % 256))
    assert np.array_equal(dark[..., 0], LEVELS[:40, :50] % 256), "8-bit levels in a 16-bit file"


def test_16_bit_alpha_is_kept_for_x_and_dropped_for_photos():
    rgba = np.dstack([DEEP, np.full((256, 256), 7, np.uint16)])
    data = _encode(rgba)
    assert np.array_equal(read_x(data).data, rgba)
    assert np.array_equal(read_image_rgb(data), read_image_rgb(_encode(DEEP)))


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (RNG.random((40, 50)).astype(np.float32), "32-bit float"),
        (RNG.random((40, 50)), "64-bit float"),
        (RNG.random((40, 50, 3)).astype(np.float32), "32-bit float"),
        (RNG.integers(-9000, 9000, (40, 50), dtype=np.int16), "16-bit"),
        (RNG.integers(-90_000, 90_000, (40, 50), dtype=np.int32), "32-bit"),
        (RNG.integers(0, 2**32, (40, 50), dtype=np.uint32), "32-bit"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.dtype),
)
def test_tiff_of_every_number_type(array, shown):
    raw = read_x(_encode(array, ".tiff"))
    assert raw.data.dtype == array.dtype
    assert np.array_equal(raw.data, array)
    assert raw.format == f"{shown} TIFF"


@pytest.mark.parametrize("top", [100, 4095])
def test_pgm_values_are_as_stored_and_white_is_known(top):
    values = RNG.integers(0, top + 1, (40, 50)).astype(np.uint16 if top > 255 else np.uint8)
    binary = b"P5\n# a camera's\n50 40\n%d\n" % top + values.astype(">u2" if top > 255 else "u1").tobytes()
    plain = b"P2 50 40 %d\n" % top + " ".join(map(str, values.ravel())).encode()
    for data in (binary, plain):
        raw = read_x(data)
        assert np.array_equal(raw.data, values)
        assert raw.facts == {"white in the file": str(top)}
        assert np.array_equal(read_image_rgb(data)[..., 0], np.floor(values * 255.0 / top + 0.5))


def test_pfm_rows_are_stored_from_below():
    metres = RNG.random((40, 50)).astype(np.float32)
    raw = read_x(b"Pf\n50 40\n-1.0\n" + metres[::-1].astype("<f4").tobytes())
    assert np.array_equal(raw.data, metres)
    assert raw.format == "32-bit float PFM"
    colours = RNG.random((40, 50, 3)).astype(np.float32)
    assert np.array_equal(read_x(b"PF 50 40 1\n" + colours[::-1].astype(">f4").tobytes()).data, colours)


def test_x_colours_are_rgb():
    raw = read_x(_encode(NOISE))
    assert np.array_equal(raw.data, NOISE)
    assert raw.format == "8-bit PNG"


@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<f4", ">f8", "<i4", "<f2"])
def test_npy_of_any_number_type(dtype):
    array = np.asfortranarray(RNG.integers(0, 9000, (40, 50)).astype(dtype))
    raw = read_x(_npy(array)).data
    assert raw.dtype.isnative
    assert np.array_equal(raw, array)
    assert read_x(_npy(array[None])).size_hw == read_x(_npy(array[..., None])).size_hw == (40, 50)


def test_npz_takes_depth_or_the_first_array():
    first, depth = np.zeros((40, 40), np.float32), np.ones((40, 40), np.float32)
    stream = io.BytesIO()
    np.savez_compressed(stream, a=first, depth=depth)
    assert np.array_equal(read_x(stream.getvalue()).data, depth)
    stream = io.BytesIO()
    np.savez(stream, a=first, b=depth)
    assert np.array_equal(read_x(stream.getvalue()).data, first)


# Orientation

CORNERS = np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((32, 40), np.uint8))
TURNED = {  # what the orientation tag says was done to the upright picture, undone
    1: CORNERS,
    2: CORNERS[:, ::-1],
    3: CORNERS[::-1, ::-1],
    4: CORNERS[::-1],
    5: CORNERS.T,
    6: np.rot90(CORNERS, -1),
    7: CORNERS[::-1, ::-1].T,
    8: np.rot90(CORNERS),
}


def _oriented(grey: np.ndarray, kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "PNG, 16-bit colours":
        plain = _encode(np.stack([grey.astype(np.uint16) * 257] * 3, -1))
        exif_chunk = _saved(Image.fromarray(grey), "PNG", exif=exif)
        start = exif_chunk.index(b"eXIf") - 4
        length = struct.unpack(">I", exif_chunk[start : start + 4])[0] + 12
        return plain[:33] + exif_chunk[start : start + length] + plain[33:]
    if kind.startswith("TIFF"):
        array = grey.astype(np.uint16) * 257 if "16" in kind else grey
        data = bytearray(_encode(np.stack([array] * 3, -1) if "colours" in kind else array, ".tiff"))
        (start,) = struct.unpack_from("<I", data, 4)
        (count,) = struct.unpack_from("<H", data, start)
        end = start + 2 + 12 * count
        # append the directory again, with the orientation among the sorted tags
        entries = [bytes(data[start + 2 + 12 * i : start + 14 + 12 * i]) for i in range(count)]
        entries = [e for e in entries if struct.unpack("<H", e[:2])[0] != 0x0112]
        entries.append(struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0))
        entries.sort(key=lambda entry: struct.unpack("<H", entry[:2])[0])
        struct.pack_into("<I", data, 4, len(data))
        return bytes(data) + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(data[end : end + 4])
    options = {"quality": 98} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    return _saved(Image.fromarray(grey), kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "PNG, 16-bit colours", "TIFF", "TIFF, 16-bit", "TIFF, 16-bit colours"]
)
def test_orientation_is_applied_once_to_both(kind, orientation):
    data = _oriented(CORNERS, kind, orientation)
    expected = TURNED[orientation].astype(int)
    photo, raw = read_image_rgb(data), read_x(data).data
    assert photo.shape == (*expected.shape, 3)
    assert np.abs(photo - expected[..., None]).max() <= 4
    grey = raw if raw.ndim == 2 else raw[..., 0]
    assert np.abs(grey / (257 if raw.dtype == np.uint16 else 1) - expected).max() <= 4


# Modes


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_photos_of_every_mode_become_rgb(mode):
    picture = Image.fromarray(NOISE).convert(mode)
    photo = read_image_rgb(_saved(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert photo.shape == (40, 50, 3)
    assert photo.dtype == np.uint8
    assert photo.flags.writeable
    assert photo.flags.c_contiguous
    assert np.abs(photo.astype(int) - np.asarray(picture.convert("RGB"))).max() <= 1


@pytest.mark.parametrize("read", [read_image_rgb, lambda data: read_x(data).data])
def test_cmyk_jpeg_shows_its_colours(read):
    colour = np.full((40, 50, 3), (200, 40, 90), np.uint8)
    pixels = read(_saved(Image.fromarray(colour).convert("CMYK"), "JPEG", quality=98))
    assert np.abs(pixels.astype(int) - colour).max() <= 4


@pytest.mark.parametrize(
    ("mode", "shape", "shown"),
    [
        ("L", (40, 50), "8-bit PNG"),
        ("LA", (40, 50), "8-bit PNG"),
        ("1", (40, 50), "1-bit PNG"),
        ("RGB", (40, 50, 3), "8-bit PNG"),
        ("RGBA", (40, 50, 4), "8-bit PNG"),
        ("P", (40, 50, 3), "8-bit palette PNG"),
        ("CMYK", (40, 50, 3), "8-bit CMYK TIFF"),
    ],
)
def test_x_of_every_mode(mode, shape, shown):
    picture = Image.fromarray(NOISE).convert(mode)
    raw = read_x(_saved(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert raw.data.shape == shape
    assert raw.data.dtype == np.uint8
    assert raw.format == shown
    expected = picture.convert(raw_mode := "L" if len(shape) == 2 else "RGB")
    assert np.array_equal(raw.data[..., :3] if raw_mode == "RGB" else raw.data, np.asarray(expected))


def test_a_palette_of_greys_is_grey():
    indices = RNG.integers(0, 4, (40, 50), dtype=np.uint8)
    picture = Image.fromarray(indices, "P")
    picture.putpalette([10, 10, 10, 90, 90, 90, 91, 91, 91, 255, 255, 255])
    for data in (_saved(picture), _saved(picture, transparency=2), _saved(picture, "GIF")):
        assert np.array_equal(read_x(data).data, np.array([10, 90, 91, 255])[indices])


def test_alpha_is_dropped_not_blended():
    pixels = np.full((40, 50, 4), (200, 100, 50, 0), np.uint8)
    assert (read_image_rgb(_saved(Image.fromarray(pixels))) == (200, 100, 50)).all()


def test_float_photos_in_three_ranges():
    unit = RNG.random((40, 50)).astype(np.float32)
    for factor in (1, 250, 65535):
        photo = read_image_rgb(_encode(unit * factor, ".tiff"))[..., 0]
        assert np.abs(photo - unit * (250 if factor == 250 else 255)).max() <= 0.51
    for bad in (unit * 1e6, -unit, np.full_like(unit, np.nan)):
        with pytest.raises(InputError, match=r"a photo has 0\.\.255 or 0\.\.65535"):
            read_image_rgb(_encode(bad, ".tiff"))


@pytest.mark.parametrize("shape", [(40, 48), (40, 48, 3)])
def test_photos_of_signed_bytes_are_taken_as_they_are(shape):
    array = (np.arange(np.prod(shape)) % 128).astype(np.int8).reshape(shape)
    photo = read_image_rgb(_encode(array, ".tiff"))
    assert np.array_equal(photo, array if array.ndim == 3 else np.stack([array] * 3, -1))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_the_first_of_several_pictures_is_taken_and_said(kind):
    first, second = (Image.new("RGB", (50, 40), colour) for colour in ((200, 60, 20), (0, 0, 255)))
    data = _saved(first, kind, save_all=True, append_images=[second])
    raw = read_x(data)
    assert raw.notes == ("The file holds several pictures: the first one is used.",)
    assert raw.format.endswith(kind)
    for pixels in (raw.data, read_image_rgb(data)):
        assert np.abs(pixels.astype(int) - (200, 60, 20)).max() <= 8
    assert read_x(_saved(first, "JPEG" if kind == "MPO" else kind)).notes == ()


def test_contents_decide_not_the_suffix(tmp_path):
    (tmp_path / "depth.npy").write_bytes(_encode(LEVELS))
    assert read_x(tmp_path / "depth.npy").format == "16-bit PNG"
    (tmp_path / "photo.png").write_bytes(_saved(Image.fromarray(NOISE), "JPEG"))
    assert read_x(tmp_path / "photo.png").format == "8-bit JPEG"
    assert read_image_rgb(tmp_path / "photo.png").shape == (40, 50, 3)
    (tmp_path / "x.jpg").write_bytes(_npy(LEVELS))
    assert np.array_equal(read_x(tmp_path / "x.jpg").data, LEVELS)


# OpenEXR


def _exr(tmp_path, parts: list[tuple[dict, dict]]):
    """A file of several parts (header, channels), written by the package itself."""
    openexr = pytest.importorskip("OpenEXR", reason="the optional package OpenEXR is not installed")
    base = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    path = tmp_path / "x.exr"
    openexr.File([openexr.Part(base | header, channels) for header, channels in parts]).write(str(path))
    return path


METRES = RNG.random((40, 50)).astype(np.float32) * 9


@pytest.mark.parametrize("channel", ["Z", "depth", "ViewLayer.Depth.Z", "Y", "R", "V", "metres"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_exr_channel_of_depth(tmp_path, channel, dtype):
    path = _exr(tmp_path, [({}, {channel: METRES.astype(dtype)})])
    raw = read_x(path)
    assert raw.data.dtype == np.float32
    assert np.array_equal(raw.data, METRES.astype(dtype))
    assert raw.format == ("32-bit float EXR" if dtype == np.float32 else "16-bit float EXR")
    assert raw.facts["channel"] == channel
    assert np.array_equal(read_x(path.read_bytes(), "x.exr").data, raw.data)


def test_exr_depth_goes_before_colours_and_colours_before_one_channel(tmp_path):
    colours = {c: METRES * (i + 1) for i, c in enumerate("RGB")}
    raw = read_x(_exr(tmp_path, [({}, colours | {"A": METRES, "layer.Z": METRES + 5})]))
    assert np.array_equal(raw.data, METRES + 5)
    assert raw.facts == {"channel": "layer.Z", "other channels": "A, B, G, R"}
    raw = read_x(_exr(tmp_path, [({}, colours | {"A": METRES})]))
    assert np.array_equal(raw.data, np.stack(list(colours.values()), axis=-1))
    several = _exr(tmp_path, [({"name": "one"}, colours), ({"name": "two"}, {"Z": METRES})])
    assert np.array_equal(read_x(several).data, METRES)


def test_exr_windows_place_the_pixels(tmp_path):
    display = (np.array([0, 0], np.int32), np.array([99, 79], np.int32))
    data = (np.array([60, 50], np.int32), np.array([109, 89], np.int32))
    raw = read_x(_exr(tmp_path, [({"dataWindow": data, "displayWindow": display}, {"Z": METRES})]))
    assert raw.data.shape == (80, 100)
    assert np.array_equal(raw.data[50:, 60:], METRES[:30, :40])
    assert np.isnan(raw.data).sum() == 80 * 100 - 30 * 40


def test_bad_exr_files_are_named(tmp_path):
    data = _exr(tmp_path, [({}, {"Z": METRES})]).read_bytes()
    for end in (5, 100, len(data) // 2, len(data) - 3):
        with pytest.raises(InputError, match=r"^d\.exr: the OpenEXR file is damaged or cut off; save"):
            read_x(data[:end], "d.exr")
    with pytest.raises(InputError, match="channels a, b; name the one to read Z or depth"):
        read_x(_exr(tmp_path, [({}, {"a": METRES, "b": METRES})]))
    with pytest.raises(InputError, match="20 x 20 pixels; each side needs at least 32"):
        read_x(_exr(tmp_path, [({}, {"Z": METRES[:20, :20].copy()})]))
    with pytest.raises(InputError, match="read as X only"):
        read_image_rgb(data)


def test_exr_sizes_are_checked_before_decoding(tmp_path):
    data = _exr(tmp_path, [({}, {"Z": METRES})]).read_bytes()
    window = struct.pack("<4i", 0, 0, 49, 39)
    assert data.count(window) == 2
    for right, bottom, message in (
        (16_399, 39, "16400 x 40 pixels; at most"),
        (7999, 7999, "50,000,000 in all"),
        (6999, 6999, "the header promises 186 MiB in a file of"),
        (-5, 39, "damaged or cut off"),
    ):
        with pytest.raises(InputError, match=message):
            read_x(data.replace(window, struct.pack("<4i", 0, 0, right, bottom)))


def test_a_missing_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "OpenEXR":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"^d\.exr: .*pip install OpenEXR; or save the depth as \.npy"):
        read_x(b"v/1\x01" + bytes(100), "d.exr")


# Real frames


@pytest.mark.parametrize(
    ("photo", "x"),
    [
        ("thermal/FLIR_00060_rgb.jpg", "thermal/FLIR_00060_thermal.jpg"),
        ("nir/0002_rgb.jpg", "nir/0002_nir.jpg"),
        ("polarization/glass_sRGB.tif", "polarization/glass_nir0.tif"),
    ],
)
def test_real_images(shared, photo, x):
    folder = shared / "data" / "qualitative"
    rgb, raw = read_image_rgb(folder / photo), read_x(folder / x)
    assert raw.data.ndim == 2
    assert raw.size_hw == rgb.shape[:2]
