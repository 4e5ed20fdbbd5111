"""What a few bytes promise is refused before a decoder, or NumPy, or zipfile makes room for it."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import struct
import time
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from ktb.analysis.ground_truth import read_truth
from ktb.inputs import InputError, read_alignment, read_image_rgb, read_x
from ktb.inputs.readers import images
from ktb.utils.text import as_text
from ktb.video.table import Table
from ktb.video.zip_source import ZipFrames

COLOURS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def soon_and_small():
    """No case takes over two seconds of processor time or 64 MiB more than was taken before."""
    begun, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - begun < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def _saved(kind: str, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(COLOURS).save(stream, kind, **options)
    return stream.getvalue()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _animated(width: int, height: int, pixels: bytes = b"") -> bytes:
    """An animated PNG whose first frame says: clear to the background."""
    frame = struct.pack(">IIIIIHHBB", 0, 1, 1, 0, 0, 1, 1, 1, 0)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = (b"IHDR", header), (b"acTL", struct.pack(">II", 2, 0)), (b"fcTL", frame)
    parts = (*chunks, (b"IDAT", zlib.compress(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts)


@pytest.mark.parametrize("read", [read_image_rgb, read_x])
def test_an_animated_png_is_measured_before_it_is_opened(read, monkeypatch):
    """123 bytes that took 4 bytes a pixel of the canvas while Pillow opened them."""
    assert len(_animated(30_000, 30_000)) == 123
    with pytest.raises(InputError, match="30000 x 30000 pixels"):
        read(_animated(30_000, 30_000))
    with pytest.raises(InputError, match=r"promises 190 MiB in a file of 123 bytes"):
        read(_animated(7000, 7140))
    monkeypatch.setattr(images.Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(InputError):
        read(_animated(7000, 7140))


def test_an_animated_png_is_read_as_a_still():
    rows = np.dstack([COLOURS, np.full((64, 64), 255, np.uint8)])
    pixels = b"".join(b"\0" + row.tobytes() for row in rows)
    raw = read_x(_animated(64, 64, pixels))
    assert np.array_equal(raw.data, rows)
    assert raw.notes == ("The file holds several pictures: the first one is used.",)


def test_decoders_get_nothing_but_the_pixels(monkeypatch):
    """No texts, no profiles, no further directories, and only formats that are promised."""
    opened = []
    original = Image.open

    def watched(file, formats):
        opened.append((file.getvalue(), formats))
        return original(file, formats=formats)

    monkeypatch.setattr(images.Image, "open", watched)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "described " * 50
    told = {"exif": exif, "icc_profile": b"profiled " * 50}
    turned = np.rot90(COLOURS, -1)
    for kind in ("PNG", "JPEG", "WEBP", "TIFF"):
        data = _saved(kind, **told, **({"lossless": True} if kind == "WEBP" else {}))
        rgb = read_image_rgb(data)
        stored, formats = opened[-1]
        assert formats == (kind,)
        assert b"described" in data
        assert b"profiled" in data or b"iCCP" in data
        if kind != "TIFF":  # there they stay in the file, but no tag leads to them
            assert b"described" not in stored
            assert b"profiled" not in stored
            assert b"iCCP" not in stored
        if kind != "JPEG":
            assert np.array_equal(rgb, turned), kind
    picture = original(io.BytesIO(opened[-1][0]))
    assert set(picture.tag_v2) & {0x010E, 34675} == set()


def test_a_tiff_whose_tags_name_the_whole_file_again_and_again_is_small():
    """Each of 40,000 tags takes 480 kB; Pillow would copy them all."""
    count, size = 40_000, 40_000 * 12
    image = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 273: 8 + 2 + size + 4, 277: 1, 278: 64, 279: 4096}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in image.items()]
    entries += [struct.pack("<HHII", 1000 + i, 1, size, 8) for i in range(count - len(image))]
    data = b"II*\0" + struct.pack("<IH", 8, count) + b"".join(entries) + bytes(4) + bytes(4096)
    assert read_x(data).data.shape == (64, 64)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_a_gif_and_a_webp_are_measured_before_they_are_opened(kind, monkeypatch):
    data = bytearray(_saved(kind, **({"lossless": True} if kind == "WEBP" else {})))
    if kind == "GIF":
        frame = data.index(b",", 13 + 768 if data[10] & 128 else 13)
        struct.pack_into("<HH", data, frame + 5, 60_000, 60_000)
    else:
        struct.pack_into("<I", data, data.index(b"VP8L") + 9, 16_383 | 16_383 << 14)
    monkeypatch.setattr(images.Image, "open", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(InputError, match="50,000,000"):
        read_image_rgb(bytes(data))


def test_label_pictures_go_the_same_way():
    with pytest.raises(InputError, match=r"promises 190 MiB in a file of 123 bytes"):
        read_truth(_animated(7000, 7140), (64, 64), [(0, 0, 0)], "stored", "truth.png")
    with pytest.raises(InputError, match="Photoshop"):
        read_truth(b"8BPS\0\1" + bytes(60), (64, 64), [(0, 0, 0)], "stored", "truth.psd")


# NumPy, texts, archives


@pytest.mark.parametrize("brackets", ["[" * 900 + "]" * 900, "(" * 3000, "[" * 9000 + "]" * 9000])
def test_brackets_within_brackets_are_no_header(brackets):
    for header in (brackets, f"{{'descr': {brackets}, 'fortran_order': False, 'shape': (40, 40)}}"):
        start = b"\x93NUMPY\2\0" + struct.pack("<I", len(header)) + header.encode()
        with pytest.raises(InputError, match="header is damaged"):
            read_x(start + bytes(64), "x.npy")
        with pytest.raises(InputError, match=r"damaged|holds"):
            read_alignment(start + bytes(64), "x.npy")


def test_one_line_of_megabytes_is_refused_before_numpy_reads_it():
    begun = time.process_time()
    for line in (b"1 " * (4 * 2**20), b"1 2 3 0\n" * 1000 + b"1 " * (4 * 2**20) + b"\n"):
        with pytest.raises(InputError, match=r"^e\.txt: line (1|1001) is longer than 4,096 letters"):
            read_x(line, "e.txt")
    assert time.process_time() - begun < 0.5


def _hidden(path, count: int) -> None:
    """A zip whose true list of members hides behind an end record with the longest comment."""
    name = b"rgb/0001.png"
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, *[0] * 7, len(name), 0) + name
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, *[0] * 7, len(name), *[0] * 6) + name
    size = len(entry) * count
    with open(path, "wb") as file:
        file.write(local + entry * count)
        file.write(struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, len(local)))
        file.write(struct.pack("<IIQI", 0x07064B50, 0, len(local) + size, 1))
        file.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 65535, 65535, 0, 2**32 - 1, 65535))
        file.write(bytes(65535))


def test_a_list_of_members_cannot_hide_behind_the_end_record(tmp_path):
    path = tmp_path / "hidden.zip"
    _hidden(path, 200_000)
    with pytest.raises(InputError, match=r"hidden.zip: far more than 10,000 members"):
        ZipFrames(path)
    with pytest.raises(InputError, match=r"x.npz: far more than 256 members"):
        read_x(path.read_bytes(), "x.npz")


def test_archives_with_a_comment_and_of_zip64_are_read(tmp_path):
    path = tmp_path / "frames.zip"
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("rgb/a.png", "w", force_zip64=True) as member:
            member.write(_saved("PNG"))
        archive.comment = b"comment " * 8000
    (frame,) = ZipFrames(path)
    assert np.array_equal(frame.rgb, COLOURS)


# OpenEXR, tables


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no files in memory here")
def test_exr_files_leave_no_copy_in_a_folder(tmp_path, monkeypatch):
    openexr = pytest.importorskip("OpenEXR")
    path = tmp_path / "z.exr"
    metres = np.linspace(1, 5, 64 * 64, dtype=np.float32).reshape(64, 64)
    openexr.File({"type": openexr.scanlineimage}, {"Z": metres}).write(str(path))
    monkeypatch.setattr("tempfile.mkdtemp", lambda *_, **__: pytest.fail("a folder was made"))
    assert np.array_equal(read_x(path).data, metres)
    with pytest.raises(InputError, match="damaged"):
        read_x(path.read_bytes()[:200], "z.exr")


def test_names_of_files_are_no_formulas_in_the_table():
    stream = io.StringIO()
    Table(stream, ("=wall",), 0)
    assert next(csv.reader(io.StringIO(stream.getvalue())))[-1] == "share: =wall"
    for name in ("=cmd|'/C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "\t=1", "\r=1", " =1", "\uff1d1"):
        assert as_text(name) == f"'{name}"
    for name in ("frame 12", "a=b", "'=1", "", "\u00e4.png"):
        assert as_text(name) == name


def test_deep_json_is_no_alignment():
    for text in ("[" * 30_000, json.dumps([[1]] * 3).replace("1", "[" * 5000 + "]" * 5000)):
        with pytest.raises(InputError):
            read_alignment(text.encode(), "m.json")
