"""Fuzz every reader with damaged files and every encoder with extreme arrays; only InputError may be raised.

    python -m tools.fuzz.fuzz_readers --seconds 600 --seed 1

Runs until the time is over and prints counts by reader as JSON; exit code 1 if anything else than InputError
was raised, a case took over 2 seconds of processor time, or the process ever took over 600 MiB. Cases whose
file could not be made are counted ("unmade") and skipped. Every case can be run again alone: --only png:1234
with the same seed. The case in progress is kept in the file of --progress, so that a crash of the interpreter
can be traced.

    python -m tools.fuzz.fuzz_readers --structures --seconds 3600 --cases 100000

makes the files of `fuzz_structures` and `fuzz_containers` in place of damaging sound ones.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import itertools
import json
import os
import re
import resource
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np

from ktb.config import DEFAULT_ENCODINGS, Encoding, InputConfig, Modality
from ktb.inputs import EventStream, InputError, XOptions, encode_x, read_image_rgb, read_x
from ktb.inputs.readers.labels import read_label_picture
from ktb.video.video_source import VideoFrames
from ktb.video.zip_source import ZipFrames
from tools.fuzz import fuzz_containers, fuzz_seeds, fuzz_structures
from tools.fuzz.fuzz_seeds import METRES, fix_png, to_npy, to_zip

MAX_CASE_SECONDS = 2.0
MAX_PEAK = 600 * 2**20
HANG_SECONDS = 120
EACH = {"h5": 10, "aedat4": 6, "zip": 3, "exr": 3}
"""Structures that are slow to generate: they are used every so many rounds."""
ENCODE_UP_TO = 200_000
"""Maximum pixels to encode; larger images from damaged headers are only read, because encoding is slow."""
EXTREMES = (0, 1, 2, 31, 32, 255, 256, 7000, 16384, 16385, 32767, 65535, 10**6, 2**31 - 1, 2**31, 2**32 - 1)
TOKENS = (
    *b"IHDR IDAT iCCP zTXt acTL eXIf tRNS PLTE VP8X VP8L ANIM GIF89a SNOD TREE HEAP P5 Pf P2 P6".split(),
    *b"nan inf -1 1e999 -0 # ((((((( '|O' '<f8' '<U9' 'descr' 'fields' (-1,40) (10000000,4)".split(),
    *(b"9" * 40, b"\n", b",", b" ", bytes(16), b"\xff" * 16, b"\xff\xda", b"\xff\xc2", b"\xff\xd9", b"II*\0"),
    *(
        b"MM\0*",
        b"PK\3\4",
        b"PK\1\2",
        b"PK\5\6",
        b"\x93NUMPY\2\0",
        b"\x89HDF\r\n\x1a\n",
        b"v/1\1",
        b"#!AER-DAT4.0",
    ),
)


@dataclass(frozen=True)
class Reader:
    """Seeds to damage, the function that reads them, and a function that corrects checksums."""

    seeds: list[bytes]
    feed: Callable[[bytes, np.random.Generator], None]
    wrap: Callable[[bytes], bytes] = bytes
    text: bool = False
    make: Callable[[np.random.Generator], bytes] | None = None


@dataclass
class Count:
    accepted: int = 0
    refused: int = 0
    unmade: int = 0
    slowest_s: float = 0.0
    grown_mib: int = 0


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
    found["options"] = Reader([b""], _options)
    found["encode"] = Reader([b""], _encode_wild)
    return {name: reader for name, reader in found.items() if reader.seeds}


def structured_readers() -> dict[str, Reader]:
    """The readers of generated invalid structures, by name."""
    feeds = {name: _as_x(f"x.{name}") for name in fuzz_containers.makers()}
    feeds |= {"zip": _as_frames(".zip"), "video": _as_frames(".mp4"), "text": _as_x("events.txt")}
    feeds |= {name: _as_picture(f"x.{name}") for name in fuzz_structures.PICTURES}
    return {name: Reader([b""], feeds[name], make=make) for name, make in fuzz_containers.makers().items()}


def _with_member(columns: dict[str, bytes], key: str, data: bytes) -> bytes:
    return to_zip(columns | {key: data})


# Feeding


def _inputs(encoding: str, rng: np.random.Generator) -> InputConfig:
    modality = next((m for m, e in DEFAULT_ENCODINGS.items() if e == encoding), "event")
    window = None if rng.random() < 0.5 else float(rng.choice([0.001, 10, 1e6]))
    return InputConfig(modality=modality, encoding=encoding, event_window_ms=window)


def _pick(rng: np.random.Generator, values) -> Any:
    values = list(values)
    return values[int(rng.integers(len(values)))]


def _sane_options(rng: np.random.Generator) -> XOptions:
    """Mostly the defaults; otherwise one option that is valid by itself but may not fit the input."""
    if rng.random() < 0.7:
        return XOptions()
    choices = [
        {"modality": _pick(rng, get_args(Modality))},
        {"unit": _pick(rng, ("mm", "m", "sun", "celsius", "kelvin", "1/5000m"))},
        {"hot": "black"},
        {"value_range": (0.0, 30.0)},
        {"field_of_view": 60.0},
        {"intrinsics": (500.0, 500.0, 20.0, 20.0)},
        {"window_ms": (0.0, 5.0)},
        {"columns": _pick(rng, ("txyp", "xytp", "ptxy"))},
        {"time_unit": _pick(rng, ("s", "ms", "us", "ns"))},
        {"sensor_hw": (44, 60)},
        {"matrix": ((1.0, 0.0, 5.0), (0.0, 1.0, -3.0))},
    ]
    return XOptions.from_dict(_pick(rng, choices))


def _encode_any(raw, rng: np.random.Generator, options: XOptions) -> None:
    height, width = raw.size_hw
    if height * width <= ENCODE_UP_TO:
        size = (height, width) if rng.random() < 0.7 else (2 * height, 2 * width)
        encoded = encode_x(raw, _inputs(_pick(rng, get_args(Encoding)), rng), size, options)
        assert encoded.image.shape == (*size, 3), encoded.image.shape
        assert encoded.image.dtype == np.float32
        assert np.isfinite(encoded.image).all(), f"{encoded.encoding}: not finite"
        assert encoded.preview.shape == (*size, 3)
        assert encoded.preview.dtype == np.uint8


def _as_x(filename: str):
    def feed(data: bytes, rng: np.random.Generator) -> None:
        options = _sane_options(rng)
        _encode_any(read_x(data, filename, options), rng, options)

    return feed


def _as_photo(data: bytes, rng: np.random.Generator) -> None:
    photo = read_image_rgb(data)
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
    _encode_any(read_x(files, ["a_0.png", "a_45.png", "a_90.png", "a_135.png"]), rng, XOptions())


def _as_sin_cos(data: bytes, rng: np.random.Generator) -> None:
    files = [to_npy(np.sin(METRES)), data]
    _encode_any(read_x(files, ["a_sin.npy", "a_cos.npy"]), rng, XOptions())


def _wild_value(rng: np.random.Generator, deep: int = 0) -> Any:
    simple = [
        None,
        True,
        -1,
        0,
        1,
        60,
        10**40,
        1e308,
        -1e308,
        float("nan"),
        float("inf"),
        0.5,
        "",
        "mm",
        "auto",
    ]
    simple += ["depth", "white", "txyp", "\0", "x" * 5000, "us", 2**63]
    if deep > 2 or rng.random() < 0.5:
        return _pick(rng, simple)
    values = [_wild_value(rng, deep + 1) for _ in range(int(rng.integers(0, 5)))]
    return _pick(rng, (values, tuple(values), {str(i): v for i, v in enumerate(values)}))


def _options(data: bytes, rng: np.random.Generator) -> None:
    """Values of every type for every key; half of them nearly valid."""
    near = {
        "modality": ["depth", "event", "auto"],
        "unit": ["mm", "auto"],
        "hot": ["white", "auto"],
        "value_range": [[0, 1], [1, 0], [0, float("nan")]],
        "field_of_view": [60, -3, 1e9],
        "intrinsics": [[500, 500, 20, 20], [0, 0, 0, 0], [1e-300, 1, 1, 1]],
        "window_ms": [[0, 10], [10, 0]],
        "columns": ["txyp", "tttt"],
        "time_unit": ["us", "years"],
        "sensor_hw": [[44, 60], [-1, 5], [1e30, 2]],
        "matrix": [
            np.eye(3).tolist(),
            np.zeros((3, 3)).tolist(),
            [[1, 0, 0], [0, 1]],
            np.eye(3)[:2].tolist(),
        ],
        "unknown": [1],
    }
    keys = rng.permutation(list(near))[: int(rng.integers(0, 4))]
    values: Any = {str(k): _pick(rng, near[k]) if rng.random() < 0.6 else _wild_value(rng) for k in keys}
    options = XOptions.from_dict(values if rng.random() < 0.95 else _wild_value(rng))
    image = np.linspace(1, 3, 40 * 48, dtype=np.float32).reshape(40, 48)
    encode_x(image, InputConfig(modality="depth", encoding=_pick(rng, ("depth", "hha"))), (40, 48), options)


def _encode_wild(data: bytes, rng: np.random.Generator) -> None:
    """Encode arrays of every dtype and content, and irregular event streams."""
    height, width = (int(side) for side in rng.choice([1, 31, 32, 33, 40, 48, 96], 2))
    channels = _pick(rng, [(), (), (1,), (2,), (3,), (4,), (5,)])
    dtype = np.dtype(
        _pick(
            rng, ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "g", "?", "c8", "O", "U3"]
        )
    )
    options = _sane_options(rng)
    if rng.random() < 0.25:
        count = int(_pick(rng, [0, 1, 2, 500]))
        t = _pick(
            rng,
            [
                rng.integers(0, 1000, count),
                rng.random(count) * 1e15,
                np.full(count, 2**62),
                -np.arange(count),
            ],
        )
        polarity = rng.integers(0, 2, count) * int(_pick(rng, [1, 2])) - int(_pick(rng, [0, 1]))
        x, y = rng.integers(0, width, count), rng.integers(0, height, count)
        x: Any = EventStream(x, y, t, polarity, (height, width))
        return _encode_any_array(x, rng, options)
    shape = (height, width, *channels)
    values = _pick(
        rng, [rng.random(shape), rng.random(shape) * 70000 - 100, np.zeros(shape), np.full(shape, 65535.0)]
    )
    if rng.random() < 0.5:
        values[rng.random(shape) < _pick(rng, [0.01, 0.5, 0.99, 1])] = _pick(
            rng, [np.nan, np.inf, -np.inf, 1e38, -1e300, 0]
        )
    with np.errstate(all="ignore"):
        return _encode_any_array(values.astype(dtype), rng, options)


def _encode_any_array(x: Any, rng: np.random.Generator, options: XOptions) -> None:
    encoding = _pick(rng, get_args(Encoding))
    size = None if rng.random() < 0.5 else (int(_pick(rng, [32, 40, 80])), int(_pick(rng, [48, 96])))
    encoded = encode_x(x, _inputs(encoding, rng), size, options)
    assert np.isfinite(encoded.image).all(), f"{encoding}: not finite"


# Damaging


def damage(seed: bytes, others: list[bytes], text: bool, rng: np.random.Generator) -> bytes:
    """Damage a seed by one to four changes."""
    data = bytearray(seed)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        # headers are where sizes are promised, so most changes go there
        end = min(len(data), int(_pick(rng, [16, 64, 256, len(data)])))
        place = int(rng.integers(end)) if rng.random() < 0.9 else len(data) - 1 - int(rng.integers(end))
        kind = int(rng.integers(9))
        if text and rng.random() < 0.4:
            numbers = list(re.finditer(rb"-?\d+", bytes(data[: max(end, 64)])))
            if numbers:
                at = numbers[int(rng.integers(len(numbers)))]
                data[at.start() : at.end()] = _pick(
                    rng, [*map(str, EXTREMES), "-1", "nan", "1e999", "", "0.5"]
                ).encode()
            continue
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(_pick(rng, [0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
        elif kind == 2:
            del data[int(rng.integers(len(data))) :]
        elif kind == 3:
            length = int(rng.integers(1, 64))
            del data[place : place + length]
        elif kind == 4:
            length = int(rng.integers(1, 64))
            data[place:place] = data[place : place + length] * int(_pick(rng, [1, 2, 100]))
        elif kind == 5:
            other = others[int(rng.integers(len(others)))]
            start = int(rng.integers(len(other)))
            data[place : place + 64] = other[start : start + int(rng.integers(1, 256))]
        elif kind == 6:
            token = _pick(rng, TOKENS)
            stop = place if rng.random() < 0.5 else place + len(token)
            data[place:stop] = token
        else:
            value, code = int(_pick(rng, EXTREMES)), _pick(rng, ["H", "I", "I", "Q"])
            packed = struct.pack(_pick(rng, "<>") + code, value % (1 << 8 * struct.calcsize("<" + code)))
            data[place : place + len(packed)] = packed
    return bytes(data)


def one_case(name: str, reader: Reader, seed: int, case: int) -> bool:
    """Whether the reader accepted a case; InputError counts as a refusal, other errors are raised."""
    return _accepts(reader, *contents(name, reader, seed, case))


def contents(name: str, reader: Reader, seed: int, case: int) -> tuple[bytes, np.random.Generator]:
    """The file of a case, and the random generator for reading it."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), case])
    if reader.make is not None:
        return reader.make(rng), rng
    chosen = reader.seeds[case % len(reader.seeds)]
    data = damage(chosen, reader.seeds, reader.text, rng) if case >= len(reader.seeds) and chosen else chosen
    whole = rng.random() < 0.7 or case < len(reader.seeds)
    return reader.wrap(data) if whole else data, rng


def _accepts(reader: Reader, data: bytes, rng: np.random.Generator) -> bool:
    try:
        reader.feed(data, rng)
    except InputError as error:
        message = str(error)
        assert 10 <= len(message) < 1500, f"a message of {len(message)} letters: {message[:200]}"
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", default="", help="comma-separated names; default: all")
    parser.add_argument("--cases", type=int, default=10**9, help="stop after so many")
    parser.add_argument("--structures", action="store_true", help="files put together in wild ways")
    parser.add_argument("--only", default="", help="reader:case, run alone with its traceback")
    parser.add_argument("--progress", default=os.devnull)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    said = sys.stdout
    if said is sys.__stdout__:  # decoders print, past Python's own stream
        said = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
    faulthandler.enable(sys.__stderr__)
    known = structured_readers() if args.structures else readers()
    if args.only:
        name, _, case = args.only.rpartition(":")
        return 0 if one_case(name, known[name], args.seed, int(case)) else 3
    names = args.readers.split(",") if args.readers else list(known)
    counts = {name: Count() for name in names}
    failures: dict[str, dict[str, str]] = {}
    for name in names:  # what is loaded on first use is not the fault of a case
        with contextlib.suppress(Exception):  # the loop tells what fails
            one_case(name, known[name], args.seed, 0)
    start_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    end, peak = time.monotonic() + args.seconds, start_kib
    with open(args.progress, "wb", buffering=0) as progress:
        for name, case in ((name, case) for case in itertools.count() for name in names):
            if args.structures and case % EACH.get(name, 1):
                continue
            done = sum(count.accepted + count.refused for count in counts.values())
            if time.monotonic() > end or len(failures) >= 20 or done >= args.cases:
                break
            progress.seek(0)
            progress.write(f"{name}:{case}".ljust(60).encode())
            faulthandler.dump_traceback_later(HANG_SECONDS, file=sys.__stderr__, exit=True)
            try:
                data, rng = contents(name, known[name], args.seed, case)
            except Exception:  # the maker's own fault says nothing about a reader
                counts[name].unmade += 1
                continue
            made = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            begun, trouble = time.process_time(), None
            try:
                with contextlib.redirect_stdout(sys.stderr):  # OpenEXR's package prints
                    accepted = _accepts(known[name], data, rng)
                counts[name].accepted += accepted
                counts[name].refused += not accepted
            except Exception:
                trouble = traceback.format_exc(limit=-4)
            seconds = time.process_time() - begun
            grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - made) >> 10
            counts[name].grown_mib = max(counts[name].grown_mib, grown_mib)
            counts[name].slowest_s = max(counts[name].slowest_s, round(seconds, 3))
            now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            if trouble is None and seconds > MAX_CASE_SECONDS:
                trouble = f"took {seconds:.2f} s"
            if trouble is None and now > peak and now > MAX_PEAK >> 10:
                trouble = f"the process took {now >> 10} MiB"
            peak = max(peak, now)
            if trouble:
                # one of a kind is enough: the same line with other numbers is the same fault
                failures.setdefault(
                    re.sub(r"\d+", "", trouble), {"case": f"{name}:{case}", "trouble": trouble}
                )
    faulthandler.cancel_dump_traceback_later()
    shown = {name: vars(count) for name, count in counts.items()}
    total = sum(count.accepted + count.refused for count in counts.values())
    grown = (peak - start_kib) >> 10
    report = (
        json.dumps(
            {
                "cases": total,
                "grown_mib": grown,
                "peak_mib": peak >> 10,
                "readers": shown,
                "failures": list(failures.values()),
            },
            indent=1,
        )
        + "\n"
    )
    said.write(report)
    said.flush()
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
