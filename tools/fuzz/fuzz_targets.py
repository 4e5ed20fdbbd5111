"""What is fuzzed: every reader with its seeds or the maker of its files."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ktb.inputs import XOptions, read_rgb, read_x
from ktb.inputs.readers.labels import read_label_picture
from ktb.video.video_source import VideoFrames
from ktb.video.zip_source import ZipFrames
from tools.fuzz import fuzz_containers, fuzz_seeds, fuzz_structures
from tools.fuzz.fuzz_seeds import METRES, fix_png, to_npy, to_zip
from tools.fuzz.fuzz_values import encode_any, feed_options, feed_wild, sane_options


@dataclass(frozen=True)
class Reader:
    """Seeds to damage, the function that reads them, and a function that corrects checksums."""

    seeds: list[bytes]
    feed: Callable[[bytes, np.random.Generator], None]
    wrap: Callable[[bytes], bytes] = bytes
    text: bool = False
    make: Callable[[np.random.Generator], bytes] | None = None


def readers() -> dict[str, Reader]:
    """All readers by name; those of optional packages only if the package is installed."""
    found: dict[str, Reader] = {}
    for name, files in fuzz_seeds.pictures().items():
        wrap = fix_png if name.startswith("png") else bytes
        found[f"{name} photo"] = Reader(files, _as_photo, wrap)
        found[name] = Reader(files, _as_x(name), wrap)
    found["exr"] = Reader(fuzz_seeds.exr(), _as_x("x.exr"))
    found["npy"] = Reader(fuzz_seeds.arrays(), _as_x("x.npy"))
    found["npy events"] = Reader(fuzz_seeds.event_arrays(), _as_x("events.npy"))
    # damage to the archive; then inside a member, behind right checksums
    found["npz"] = Reader(fuzz_seeds.archives(), _as_x("x.npz"))
    found["npz member"] = Reader(
        fuzz_seeds.arrays(), _as_x("x.npz"), lambda data: to_zip({"depth.npy": data})
    )
    columns = fuzz_seeds.event_columns()
    for key in columns:
        wrap = partial(_with_member, columns, key)
        found[f"npz {key}"] = Reader([columns[key]], _as_x("events.npz"), wrap)
    for suffix in ("txt", "csv"):
        found[suffix] = Reader(fuzz_seeds.texts(), _as_x(f"events.{suffix}"), text=True)
    found["h5"] = Reader(fuzz_seeds.hdf5(), _as_x("events.h5"))
    found["aedat4"] = Reader(fuzz_seeds.aedat4(), _as_x("events.aedat4"))
    found["four angles"] = Reader(fuzz_seeds.angles(), _as_angles, fix_png)
    found["sin cos"] = Reader([to_npy(np.sin(METRES)), to_npy(np.cos(METRES))], _as_sin_cos)
    found["options"] = Reader([b""], feed_options)
    found["encode"] = Reader([b""], feed_wild)
    return {name: reader for name, reader in found.items() if reader.seeds}


def structured_readers() -> dict[str, Reader]:
    """The readers of generated invalid structures, by name."""
    feeds = {name: _as_x(f"x.{name}") for name in fuzz_containers.makers()}
    feeds |= {"zip": _as_frames(".zip"), "video": _as_frames(".mp4"), "text": _as_x("events.txt")}
    feeds |= {name: _as_picture(f"x.{name}") for name in fuzz_structures.PICTURES}
    return {name: Reader([b""], feeds[name], make=make) for name, make in fuzz_containers.makers().items()}


def _with_member(columns: dict[str, bytes], key: str, data: bytes) -> bytes:
    return to_zip(columns | {key: data})


def _as_x(filename: str):
    def feed(data: bytes, rng: np.random.Generator) -> None:
        options = sane_options(rng)
        encode_any(read_x(data, filename, options), rng, options)

    return feed


def _as_photo(data: bytes, rng: np.random.Generator) -> None:
    photo = read_rgb(data).pixels
    assert photo.ndim == 3
    assert photo.shape[2] == 3
    assert photo.dtype == np.uint8


def _as_picture(filename: str):
    """Read an image in three ways: as X, as an RGB image, as labels."""

    def feed(data: bytes, rng: np.random.Generator) -> None:
        kind = int(rng.integers(3))
        if kind == 0:
            _as_x(filename)(data, rng)
        elif kind == 1:
            _as_photo(data, rng)
        else:
            read_label_picture(data, filename)

    return feed


def _as_frames(suffix: str):
    """Read the first frames of a video or an archive."""

    def feed(data: bytes, rng: np.random.Generator) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"frames{suffix}"
            path.write_bytes(data)
            frames = ZipFrames(path) if suffix == ".zip" else VideoFrames(path)
            for _ in itertools.islice(frames, 5):
                pass

    return feed


def _as_angles(data: bytes, rng: np.random.Generator) -> None:
    files = fuzz_seeds.angles()
    files[int(rng.integers(4))] = data
    encode_any(read_x(files, ["a_0.png", "a_45.png", "a_90.png", "a_135.png"]), rng, XOptions())


def _as_sin_cos(data: bytes, rng: np.random.Generator) -> None:
    files = [to_npy(np.sin(METRES)), data]
    encode_any(read_x(files, ["a_sin.npy", "a_cos.npy"]), rng, XOptions())
