"""Generate small valid files of every format for the fuzz test."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
import zlib
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tools.fuzz import aedat_maker

ROWS = np.linspace(4000, 900, 40)[:, None] + np.arange(48)[None] * 3.0
GREY, DEEP, METRES = (ROWS / 20).astype(np.uint8), ROWS.astype(np.uint16), (ROWS / 1000).astype(np.float32)
COLOUR, DEEP_COLOUR = (np.stack([a, a[::-1], a[:, ::-1]], axis=-1) for a in (GREY, DEEP))
FOUR = np.dstack([COLOUR, GREY // 2])


def _pil(array: np.ndarray, kind: str, mode: str | None = None, **options) -> bytes:
    stream = io.BytesIO()
    picture = Image.fromarray(array)
    (picture.convert(mode) if mode else picture).save(stream, kind, **options)
    return stream.getvalue()


def _two(kind: str) -> bytes:
    return _pil(COLOUR, kind, save_all=True, append_images=[Image.fromarray(COLOUR[::-1].copy())])


def _four_channels() -> list[bytes]:
    """TIFFs of colours and a channel of unknown meaning, in 8 and 16 bits."""
    files = (_pil(FOUR, "TIFF"), _cv(np.dstack([DEEP_COLOUR, DEEP]), ".tiff"))
    alpha, unknown = (struct.pack("<HHIHH", 338, 3, 1, meaning, 0) for meaning in (2, 0))
    return [data.replace(alpha, unknown) for data in files]


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _cv(array: np.ndarray, extension: str) -> bytes:
    return cv2.imencode(extension, array)[1].tobytes()


def to_npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def to_zip(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def fix_png(data: bytes) -> bytes:
    """Correct the checksums of a damaged PNG's chunks, so that the damage reaches the decoder."""
    fixed, place = bytearray(data), 8
    while place + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, place)
        if place + 12 + length > len(fixed):
            break
        checksum = zlib.crc32(fixed[place + 4 : place + 8 + length])
        struct.pack_into(">I", fixed, place + 8 + length, checksum)
        place += 12 + length
    return bytes(fixed)


def pictures() -> dict[str, list[bytes]]:
    """Format -> files that both `read_image_rgb` and `read_x` take."""
    numbers = DEEP, DEEP_COLOUR, METRES, METRES.astype(np.float64), DEEP.astype(np.int32)
    tiff = [_cv(array, ".tiff") for array in numbers]
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        tiff.append(_pil(COLOUR, "TIFF", compression=compression))
    plain = b"P2\n# c\n48 40\n255\n" + " ".join(map(str, GREY.ravel())).encode()
    pfm = b"Pf\n48 40\n-1\n" + METRES.tobytes()
    png = [_pil(COLOUR, "PNG", mode) for mode in ("L", "RGB", "P", "1", "RGBA", "LA")]
    return {
        "png": [*png, _pil(COLOUR, "PNG", exif=_turned(6)), _two("PNG"), _pil(FOUR, "PNG")],
        "png 16": [_cv(a, ".png") for a in (DEEP, DEEP_COLOUR, np.dstack([DEEP_COLOUR, DEEP]))]
        + [_cv(a, ".png") for a in (DEEP.byteswap(), DEEP_COLOUR // 2)],
        "jpeg": [*(_pil(COLOUR, "JPEG", mode, exif=_turned(8)) for mode in ("L", "RGB", "CMYK")), _two("MPO")]
        + [_pil(COLOUR, "JPEG", progressive=True)],
        "tiff": [*tiff, _two("TIFF"), _pil(GREY, "TIFF", big_tiff=True), *_four_channels()],
        "webp": [_pil(COLOUR, "WEBP"), _pil(COLOUR, "WEBP", lossless=True, exif=_turned(3)), _two("WEBP")],
        "bmp": [_pil(COLOUR, "BMP", mode) for mode in ("RGB", "L", "1", "P")],
        "pnm": [_cv(DEEP, ".pgm"), _cv(GREY, ".pgm"), _cv(DEEP_COLOUR, ".ppm"), plain, pfm]
        + [_pil(GREY, "PPM", "1")],
        "gif": [_pil(COLOUR, "GIF"), _pil(GREY, "GIF"), _two("GIF")],
    }


def exr() -> list[bytes]:
    """Empty if the optional package is missing; so are the other lists of optional formats."""
    try:
        import OpenEXR
    except ImportError:
        return []
    depth, colours = {"Z": METRES}, {c: METRES.astype(np.float16) for c in "RGB"}
    seeds = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seed.exr"
        for channels, compression in (
            (depth, OpenEXR.ZIP_COMPRESSION),
            (depth, OpenEXR.RLE_COMPRESSION),
            (depth, OpenEXR.PXR24_COMPRESSION),
            (colours, OpenEXR.PIZ_COMPRESSION),
            (colours, OpenEXR.DWAA_COMPRESSION),
            ({"Y": METRES, "ID": DEEP.astype(np.uint32)}, OpenEXR.NO_COMPRESSION),
        ):
            header = {"compression": compression, "type": OpenEXR.scanlineimage}
            OpenEXR.File(header, channels).write(str(path))
            seeds.append(path.read_bytes())
    return seeds


def arrays() -> list[bytes]:
    """.npy files of pictures."""
    kinds = DEEP, METRES, COLOUR, DEEP.astype(">u2"), np.asfortranarray(METRES), np.dstack([METRES, METRES])
    stack = np.stack([COLOUR[..., :2] // 60, COLOUR[..., 1:] // 50])
    others = FOUR, COLOUR[..., :2] // 60, METRES.byteswap(), _mosaic(), stack
    return [to_npy(array) for array in (*kinds, *others)]


def _mosaic() -> np.ndarray:
    """A frame of a polarization camera, (64, 64) uint8."""
    return np.tile(np.array([[60, 90], [110, 140]], np.uint8), (32, 32))


def events(count: int = 300) -> dict[str, np.ndarray]:
    """Columns x, y, t, p."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 60, count).astype(np.uint16), rng.integers(0, 44, count).astype(np.uint16)
    return {
        "x": x,
        "y": y,
        "t": np.sort(rng.integers(0, 50_000, count)).astype(np.int64),
        "p": rng.integers(0, 2, count).astype(np.uint8),
    }


def event_arrays() -> list[bytes]:
    """.npy files of events: tables of integers and floats, a structured array."""
    columns = events()
    table = np.stack([columns[key].astype(np.int64) for key in "xytp"], axis=1)
    record = np.asarray(np.rec.fromarrays(list(columns.values()), names="x,y,t,p"))
    return [to_npy(table), to_npy(table.astype(np.float64)[:, [2, 0, 1, 3]]), to_npy(record)]


def event_columns() -> dict[str, bytes]:
    """Members of a .npz."""
    return {f"{key}.npy": to_npy(values) for key, values in events().items()}


def archives() -> list[bytes]:
    """.npz files of events and of pictures."""
    table = {"events.npy": event_arrays()[0]}
    two = {"a.npy": to_npy(METRES), "b.npy": to_npy(GREY)}
    return [to_zip(members) for members in (event_columns(), table, {"depth.npy": to_npy(DEEP)}, two)]


def texts() -> list[bytes]:
    """Tables of events with spaces and with commas, with and without headers."""
    columns = events()
    rows = zip(*(columns[key].tolist() for key in "txyp"))
    lines = "\n".join(" ".join(map(str, row)) for row in rows).encode()
    table = lines.replace(b" ", b",")
    return [lines, b"# t x y p\n" + lines, b"60 44\n" + lines, b"t,x,y,p\n" + table, table]


def hdf5() -> list[bytes]:
    """Files in the layout of DSEC: events/x y t p, ms_to_idx, t_offset."""
    try:
        import h5py
    except ImportError:
        return []
    seeds, columns = [], events()
    for options in ({}, {"compression": "gzip", "chunks": (100,)}):
        stream = io.BytesIO()
        with h5py.File(stream, "w") as file:
            for key, values in columns.items():
                file.create_dataset(f"events/{key}", data=values, **options)
            file["ms_to_idx"] = np.searchsorted(columns["t"], np.arange(0, 50_000, 1000)).astype(np.uint64)
            file["t_offset"] = np.int64(49_599_300_523)
        seeds.append(stream.getvalue())
    return seeds


def angles() -> list[bytes]:
    """Images behind a polarizer at 0, 45, 90 and 135 degrees."""
    return [_cv((GREY // 2 + 20 * i).astype(np.uint8), ".png") for i in range(4)]


def aedat4() -> list[bytes]:
    """Uncompressed packets, and packets compressed by each installed codec."""
    columns = events()
    rows = aedat_maker.events_of(columns["x"], columns["y"], columns["t"], columns["p"])
    seeds = [aedat_maker.aedat4(rows, (44, 60), step=100)]
    if find_spec("lz4"):
        import lz4.frame

        seeds.append(aedat_maker.aedat4(rows, (44, 60), aedat_maker.LZ4, lz4.frame.compress, step=100))
    if find_spec("zstandard"):
        import zstandard

        pack = zstandard.ZstdCompressor().compress
        seeds.append(aedat_maker.aedat4(rows, (44, 60), aedat_maker.ZSTD, pack, step=100))
    return seeds
