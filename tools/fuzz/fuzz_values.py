"""Options and arrays of every kind for the encoders: usual ones, extreme ones, and none at all."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from ktb.config import Encoding, InputConfig, Modality
from ktb.inputs import EventStream, RgbImage, XOptions, encode_x
from ktb.modalities import DEFAULT_ENCODINGS
from tools.fuzz.fuzz_damage import pick

ENCODE_UP_TO = 200_000
"""Maximum pixels to encode; larger images from damaged headers are only read, because encoding is slow."""


def inputs(encoding: str, rng: np.random.Generator) -> InputConfig:
    modality = next((m for m, e in DEFAULT_ENCODINGS.items() if e == encoding), "event")
    window = None if rng.random() < 0.5 else float(rng.choice([0.001, 10, 1e6]))
    return InputConfig(modality=modality, encoding=encoding, event_window_ms=window)


def sane_options(rng: np.random.Generator) -> XOptions:
    """Mostly the defaults; otherwise one option that is valid by itself but may not fit the input."""
    if rng.random() < 0.7:
        return XOptions()
    choices = [
        {"modality": pick(rng, get_args(Modality))},
        {"unit": pick(rng, ("mm", "m", "sun", "celsius", "kelvin", "1/5000m"))},
        {"hot": "black"},
        {"value_range": (0.0, 30.0)},
        {"field_of_view": 60.0},
        {"intrinsics": (500.0, 500.0, 20.0, 20.0)},
        {"window_ms": (0.0, 5.0)},
        {"columns": pick(rng, ("txyp", "xytp", "ptxy"))},
        {"time_unit": pick(rng, ("s", "ms", "us", "ns"))},
        {"sensor_hw": (44, 60)},
        {"matrix": ((1.0, 0.0, 5.0), (0.0, 1.0, -3.0))},
        {"turn": pick(rng, ("exif", "90", "180", "270"))},
        {"channel": pick(rng, ("colour", "1", "3", "4"))},
        {"byte_order": pick(rng, ("stored", "swapped"))},
    ]
    return XOptions.from_dict(pick(rng, choices))


def encode_any(raw, rng: np.random.Generator, options: XOptions) -> None:
    height, width = raw.size_hw
    if height * width <= ENCODE_UP_TO:
        size = (height, width) if rng.random() < 0.7 else (2 * height, 2 * width)
        rgb = None
        if rng.random() < 0.3:
            size = (height, width)
            rgb = RgbImage(np.zeros((*size, 3), np.uint8), orientation=int(rng.integers(1, 9)))
        encoded = encode_x(raw, inputs(pick(rng, get_args(Encoding)), rng), size, options, rgb)
        assert encoded.image.shape == (*size, 3), encoded.image.shape
        assert encoded.image.dtype == np.float32
        assert np.isfinite(encoded.image).all(), f"{encoded.encoding}: not finite"
        assert encoded.preview.shape == (*size, 3)
        assert encoded.preview.dtype == np.uint8


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
        return pick(rng, simple)
    values = [_wild_value(rng, deep + 1) for _ in range(int(rng.integers(0, 5)))]
    return pick(rng, (values, tuple(values), {str(i): v for i, v in enumerate(values)}))


def feed_options(data: bytes, rng: np.random.Generator) -> None:
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
        "turn": ["exif", "90", 180, "up"],
        "channel": ["colour", "4", 2, 5],
        "byte_order": ["stored", "swapped", "big"],
        "matrix": [
            np.eye(3).tolist(),
            np.zeros((3, 3)).tolist(),
            [[1, 0, 0], [0, 1]],
            np.eye(3)[:2].tolist(),
        ],
        "unknown": [1],
    }
    keys = rng.permutation(list(near))[: int(rng.integers(0, 4))]
    values: Any = {str(k): pick(rng, near[k]) if rng.random() < 0.6 else _wild_value(rng) for k in keys}
    options = XOptions.from_dict(values if rng.random() < 0.95 else _wild_value(rng))
    image = np.linspace(1, 3, 40 * 48, dtype=np.float32).reshape(40, 48)
    encode_x(image, InputConfig(modality="depth", encoding=pick(rng, ("depth", "hha"))), (40, 48), options)


def feed_wild(data: bytes, rng: np.random.Generator) -> None:
    """Encode arrays of every dtype and content, and irregular event streams."""
    height, width = (int(side) for side in rng.choice([1, 31, 32, 33, 40, 48, 96], 2))
    channels = pick(rng, [(), (), (1,), (2,), (3,), (4,), (5,)])
    dtype = np.dtype(
        pick(
            rng, ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", "g", "?", "c8", "O", "U3"]
        )
    )
    options = sane_options(rng)
    if rng.random() < 0.25:
        count = int(pick(rng, [0, 1, 2, 500]))
        t = pick(
            rng,
            [
                rng.integers(0, 1000, count),
                rng.random(count) * 1e15,
                np.full(count, 2**62),
                -np.arange(count),
            ],
        )
        polarity = rng.integers(0, 2, count) * int(pick(rng, [1, 2])) - int(pick(rng, [0, 1]))
        x, y = rng.integers(0, width, count), rng.integers(0, height, count)
        x: Any = EventStream(x, y, t, polarity, (height, width))
        return encode_any_array(x, rng, options)
    shape = (height, width, *channels)
    values = pick(
        rng, [rng.random(shape), rng.random(shape) * 70000 - 100, np.zeros(shape), np.full(shape, 65535.0)]
    )
    if rng.random() < 0.5:
        values[rng.random(shape) < pick(rng, [0.01, 0.5, 0.99, 1])] = pick(
            rng, [np.nan, np.inf, -np.inf, 1e38, -1e300, 0]
        )
    with np.errstate(all="ignore"):
        return encode_any_array(values.astype(dtype), rng, options)


def encode_any_array(x: Any, rng: np.random.Generator, options: XOptions) -> None:
    encoding = pick(rng, get_args(Encoding))
    size = None if rng.random() < 0.5 else (int(pick(rng, [32, 40, 80])), int(pick(rng, [48, 96])))
    encoded = encode_x(x, inputs(encoding, rng), size, options)
    assert np.isfinite(encoded.image).all(), f"{encoding}: not finite"
