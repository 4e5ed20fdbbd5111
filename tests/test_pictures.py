"""Reading pictures and arrays: no level lost, whatever the mode, the bits and the orientation."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from ktb.modalities import files, read_image_rgb, read_x

RNG = np.random.default_rng(0)


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
    raw = read_x(_encode(array, extension), "depth" + extension).data
    assert raw.dtype == np.uint16
    assert np.array_equal(raw, array)


def test_x_colours_are_rgb_and_float_tiff_is_kept():
    bgr = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    assert np.array_equal(read_x(_encode(bgr)).data, bgr[..., ::-1])
    metres = RNG.random((40, 50)).astype(np.float32)
    assert np.array_equal(read_x(_encode(metres, ".tiff")).data, metres)


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


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_to_both(orientation):
    picture = Image.fromarray(np.kron(np.array([[0, 80], [160, 240]], np.uint8), np.ones((32, 40), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _saved(picture, "JPEG", exif=exif, quality=98)
    photo, raw = read_image_rgb(data), read_x(data).data
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
        (_npy(np.zeros(1000)), "shape \\(1000,\\)"),
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
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 2**20)
    (tmp_path / "big.png").write_bytes(bytes(2**20 + 1))
    with pytest.raises(ValueError, match=r"big\.png: larger than 1 MiB"):
        read_x(tmp_path / "big.png")


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
