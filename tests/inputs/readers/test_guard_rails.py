"""What people and attackers send instead of pictures: refused soon, with what was found and what to do."""

from __future__ import annotations

import io
import os
import socket
import struct
import time
import zlib
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from PIL import Image

from ktb.config import Encoding, InputConfig
from ktb.inputs import InputError, encode_x, limits, read_image_rgb, read_x
from ktb.inputs.readers import files
from ktb.modalities import DEFAULT_ENCODINGS

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
READERS = pytest.mark.parametrize("read", [read_image_rgb, read_x])


@pytest.fixture(autouse=True)
def soon():
    """Nothing here may take longer than two seconds of processor time, nor wait."""
    begun, wall = time.process_time(), time.monotonic()
    yield
    assert time.process_time() - begun < 2
    assert time.monotonic() - wall < 60


def _encode(array: np.ndarray, extension: str = ".png") -> bytes:
    return cv2.imencode(extension, array)[1].tobytes()


def _saved(picture: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


# Bombs and sizes


def _png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 0) -> bytes:
    """A PNG whose header promises width x height, with these chunks after it and nothing in them."""
    data = b"\x89PNG\r\n\x1a\n"
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    for chunk in (header, *chunks, b"IDAT" + zlib.compress(b"")):
        data += struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return data


def _gif(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    header = b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + bytes(6)
    return header + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\x00;"


def _webp(width: int, height: int) -> bytes:
    """An animated WebP of this canvas with frames of 64 x 64."""
    second = [Image.fromarray(NOISE[::-1].copy())]
    data = bytearray(_saved(Image.fromarray(NOISE), "WEBP", save_all=True, append_images=second))
    assert data[12:16] == b"VP8X"
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def _jpeg_of_size(width: int, height: int) -> bytes:
    data = bytearray(_encode(NOISE, ".jpg"))
    start = data.index(b"\xff\xc0")
    struct.pack_into(">HH", data, start + 5, height, width)
    return bytes(data)


def _tiff(tags: dict[int, tuple[str, int, int]], count: int | None = None, following: int = 0) -> bytes:
    """A little-endian TIFF of one directory: tag -> type, number of values, value or offset."""
    kinds = {"H": 3, "I": 4}
    entries = b"".join(struct.pack("<HHII", tag, kinds[k], n, v) for tag, (k, n, v) in sorted(tags.items()))
    number = len(tags) if count is None else count
    return b"II*\0" + struct.pack("<IH", 8, number) + entries + struct.pack("<I", following) + bytes(5000)


GREY_TIFF = {256: ("I", 1, 64), 257: ("I", 1, 64), 258: ("H", 1, 8), 262: ("H", 1, 1), 273: ("I", 1, 200)} | {
    277: ("H", 1, 1),
    278: ("I", 1, 64),
    279: ("I", 1, 4096),
}


def _sized_tiff(width: int, height: int, **more: tuple[str, int, int]) -> bytes:
    return _tiff(GREY_TIFF | {256: ("I", 1, width), 257: ("I", 1, height), 278: ("I", 1, height)} | more)


def test_the_tiff_of_these_tests_is_readable():
    assert read_x(_tiff(GREY_TIFF)).data.shape == (64, 64)


@READERS
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_png(30_000, 30_000), "50,000,000"),
        (_png(30_000, 40), "30000 x 40 pixels; at most 16,384 a side"),
        (_png(8000, 8000), "8000 x 8000 pixels; at most .* 50,000,000 in all"),
        (_png(2**31 - 1, 2**31 - 1), "50,000,000"),
        (_png(30_000, 30_000, bits=16, colour=2), "50,000,000"),
        (_png(1, 1), "1 x 1 pixels; each side needs at least 32"),
        (_png(0, 0), "damaged"),
        (_sized_tiff(30_000, 30_000), "30000 x 30000 pixels"),
        (_sized_tiff(2**32 - 1, 2**32 - 1), "4294967295 x 4294967295 pixels"),
        (_sized_tiff(0, 64), "0 x 64 pixels; each side"),
        (_encode(np.zeros((2, 20_000)), ".tiff"), "20000 x 2 pixels"),
        (_gif((30_000, 30_000), (40, 40)), "50,000,000"),
        (_gif((40, 40), (60_000, 60_000)), "50,000,000"),
        (_webp(16_384, 16_384), "50,000,000"),
        (_jpeg_of_size(65_000, 65_000), "50,000,000"),
        (b"P5 30000 30000 255\n", "30000 x 30000 pixels"),
        (b"Pf 30000 30000 -1\n", "30000 x 30000 pixels"),
        (b"P3 30000 30000 255\n", "30000 x 30000 pixels"),
        (
            b"BM" + struct.pack("<IIIIiiHHIIIIII", 0, 0, 54, 40, 30_000, -30_000, 1, 24, 0, 0, 0, 0, 0, 0),
            "50,000",
        ),
        (_encode(np.zeros((1, 1), np.uint8)), "1 x 1 pixels"),
        (_encode(np.zeros((31, 64), np.uint8)), "64 x 31 pixels; each side needs at least 32"),
    ],
)
def test_sizes_are_refused_by_the_header(read, data, message):
    with pytest.raises(InputError, match=f"^the file: .*{message}"):
        read(data)


@pytest.mark.parametrize("side", [16_384, 30_000])
def test_long_pictures_up_to_the_limit(side):
    picture = _encode(np.zeros((32, side), np.uint16))
    if side <= limits.MAX_SIDE:
        assert read_x(picture).data.shape == (32, side)
    else:
        with pytest.raises(InputError, match="30000 x 32 pixels; at most 16,384 a side"):
            read_x(picture)


def test_a_jpeg_of_very_many_passes_is_refused(monkeypatch):
    progressive = _saved(Image.fromarray(NOISE), "JPEG", progressive=True)
    assert read_image_rgb(progressive).shape == (64, 64, 3)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    bomb = progressive[:-2] + 300_000 * scan[:20] + b"\xff\xd9"
    with pytest.raises(InputError, match="a JPEG of 244141 passes or more; save it again as a baseline JPEG"):
        read_image_rgb(bomb)


BOMB = zlib.compress(bytes(16 * 2**20))


@READERS
@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP"])
def test_text_and_profile_bombs_in_png_are_refused(read, kind):
    head = {"zTXt": b"zTXtc\0\0", "iTXt": b"iTXtc\0\1\0\0\0", "iCCP": b"iCCPc\0\0"}[kind]
    with pytest.raises(InputError, match=r"^the file: "):
        read(_png(64, 64, head + BOMB))


@READERS
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_tiff({}, 0), "header is damaged"),
        (_tiff({}, 65_535), "header is damaged"),
        (b"II*\0" + struct.pack("<I", 2**32 - 1), "header is damaged"),
        (b"MM\0*" + bytes(4), "header is damaged"),
        (b"II+\0\x08\0\0\0" + struct.pack("<Q", 2**63), "header is damaged"),
        (_tiff(GREY_TIFF | {273: ("I", 2**31, 200)}), "over 1,000,000 strips"),
        (_tiff(GREY_TIFF | {273: ("I", 1, 2**32 - 8)}), "damaged or cut off"),
        (_tiff(GREY_TIFF | {277: ("H", 1, 60_000)}), "the file: "),
        (_tiff(GREY_TIFF | {254: ("I", 1, 1)}), "a camera's raw file or a preview"),
        (_tiff(GREY_TIFF | {50_706: ("I", 1, 1)}), "a camera's raw file or a preview"),
    ],
)
def test_absurd_tiff_headers_are_refused(read, data, message):
    with pytest.raises(InputError, match=message):
        read(data)


@READERS
def test_directories_of_a_tiff_are_not_counted(read):
    """A hundred thousand pages, and a directory that is followed by itself: the first one is read."""
    first, size = _tiff(GREY_TIFF), 2 + 12 * len(GREY_TIFF) + 4
    directory = first[8 : 8 + size - 4]
    places = range(len(first), len(first) + 100_000 * size, size)
    pages = b"".join(directory + struct.pack("<I", place + size) for place in places)
    for bomb, following in ((first + pages, len(first)), (first, 8)):
        data = bytearray(bomb)
        struct.pack_into("<I", data, 8 + size - 4, following)
        assert read(bytes(data)) is not None


# Files that are not what they are called

HTML = b"<!DOCTYPE html><html><body>404 not found</body></html>"
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9"/>'
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@READERS
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (HTML, "a web page, not a picture; download the picture itself"),
        (b"\n <html>", "a web page"),
        (b"\xef\xbb\xbf<HEAD>", "a web page"),
        (SVG, "an SVG drawing; export it as PNG"),
        (b"<?xml version='1.0'?><rss/>", "an XML document"),
        (b'{"error": "no such key"}', "a JSON text"),
        (LFS, "a git-lfs pointer, not the file itself; run git lfs pull"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "a PostScript document"),
        (b"\x1f\x8b\x08\0\0\0", "a gzip archive; unpack it"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (bytes(257) + b"ustar\0", "a tar archive"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC picture, as phones take them; save it as PNG, JPEG"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF picture"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
        (b"RIFF\x10\0\0\0AVI LIST", "a video"),
        (b"\x1aE\xdf\xa3\x01\0\0\0", "a video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
        (b"8BPS\0\x01", "a Photoshop file"),
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a MATLAB file; save the array as .npy"),
        (b"\x80\x04\x95\x10\0\0\0\0\0\0\0", "a Python pickle, which can run programs and is refused"),
        (b"#ROSBAG V2.0\n", "a ROS bag"),
        (b"ply\nformat ascii 1.0\n", "a point cloud or mesh .PLY.; project it"),
        (b"\x7fELF\x02\x01\x01", "a program"),
        (b"hello there", "a text; save pictures as PNG"),
        (bytes(range(128, 256)) * 4, "no picture that can be read, or a damaged one"),
    ],
)
def test_files_named_png_are_told_what_they_are(read, data, message, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"^photo.png: this is {message}"):
        read(path)


def test_rgb_images_that_are_x_files_are_named(tmp_path):
    for data, message in (
        (_npy(NOISE), "a NumPy array, which is read as X only"),
        (b"PK\x03\x04" + bytes(26), "a zip archive; unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(60), "an HDF5 file"),
        (b"v/1\x01" + bytes(60), "an OpenEXR picture"),
        (b"#!AER-DAT4.0\r\n", "an event recording; give it as X"),
    ):
        with pytest.raises(InputError, match=message):
            read_image_rgb(data)


@READERS
@pytest.mark.parametrize(
    "data",
    [_encode(NOISE), _encode(NOISE, ".jpg"), _encode(NOISE, ".tiff"), _encode(NOISE.astype(np.uint16) * 257)]
    + [_saved(Image.fromarray(NOISE), kind) for kind in ("WEBP", "GIF", "BMP", "PPM")],
    ids=["PNG", "JPEG", "TIFF", "PNG 16", "WEBP", "GIF", "BMP", "PPM"],
)
@pytest.mark.parametrize("share", [0.01, 0.3, 0.5, 0.95])
def test_pictures_that_were_cut_off_are_refused(read, data, share):
    with pytest.raises(InputError, match=r"damaged|cut off"):
        read(data[: max(20, int(len(data) * share))])


# Paths


@READERS
def test_what_is_no_file_is_named_and_not_waited_for(read, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "nothing.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "to_pipe.png").symlink_to(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "s.png"))
    for path, message in (
        (tmp_path, r"\d*: this is a folder; give the path of a file"),
        (tmp_path / "pipe.png", "pipe.png: this is a pipe"),
        (tmp_path / "to_pipe.png", "to_pipe.png: this is a pipe"),
        (tmp_path / "s.png", "s.png: this is a socket"),
        (tmp_path / "loop.png", "loop.png: symbolic links that lead in a circle"),
        (tmp_path / "nothing.png", "nothing.png: a symbolic link to nothing"),
        (tmp_path / "gone.png", "gone.png: there is no such file; check the path"),
        (tmp_path / "empty.png" / "x.png", "x.png: there is no such file"),
        (tmp_path / "empty.png", r"empty.png: the file is empty \(0 bytes\)"),
        (tmp_path / ("n" * 300 + ".png"), "cannot be read"),
        ("a\0b.png", "no path of a file"),
        ("/dev/zero", "zero: this is a device"),
        ("/proc/self/environ", "environ: the file is empty"),
        ("", "this is a folder|there is no such file"),
    ):
        if str(path).startswith(("/dev", "/proc")) and not Path(path).exists():
            continue
        with pytest.raises(InputError, match=message):
            read(path)


@READERS
def test_a_symbolic_link_to_a_file_is_followed(read, tmp_path):
    (tmp_path / "photo.png").write_bytes(_encode(NOISE))
    (tmp_path / "link.png").symlink_to("photo.png")
    assert read(tmp_path / "link.png") is not None


@READERS
def test_a_file_without_permission_is_named(read, tmp_path, monkeypatch):
    (tmp_path / "photo.png").write_bytes(_encode(NOISE))

    def refuse(path, flags):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.os, "open", refuse)
    with pytest.raises(InputError, match=r"photo.png: cannot be read \(Permission denied\)"):
        read_image_rgb(tmp_path / "photo.png")


@READERS
def test_large_files_are_refused_before_they_are_read(read, tmp_path, monkeypatch):
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.truncate(limits.MAX_FILE_BYTES + 1)  # holds no blocks
    with pytest.raises(InputError, match=r"big\.png: larger than 512 MiB"):
        read(path)
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100)
    with pytest.raises(InputError, match="the file: larger than"):
        read(_encode(NOISE))


@READERS
def test_empty_contents_are_named(read):
    with pytest.raises(InputError, match=r"the file: the file is empty \(0 bytes\)"):
        read(b"")


def test_a_long_message_is_cut_in_the_middle():
    error = InputError("x: found " + "y" * 10_000 + "; save it again")
    assert len(str(error)) < 1100
    assert str(error).startswith("x: found")
    assert str(error).endswith("; save it again")


# NaN


@pytest.mark.parametrize("encoding", get_args(Encoding))
def test_a_picture_without_a_single_value_is_refused(encoding):
    modality = next((m for m, e in DEFAULT_ENCODINGS.items() if e == encoding), "event")
    for array in (np.full((40, 50), np.nan, np.float32), np.full((40, 50, 3), np.nan)):
        with pytest.raises(InputError):
            encode_x(read_x(_npy(array), "x.npy"), InputConfig(modality=modality, encoding=encoding))
