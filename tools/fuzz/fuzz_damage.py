"""Damage to sound files: random changes, most of them where headers promise sizes."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np

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


def pick(rng: np.random.Generator, values) -> Any:
    """One of some values of any types."""
    values = list(values)
    return values[int(rng.integers(len(values)))]


def damage(seed: bytes, others: list[bytes], text: bool, rng: np.random.Generator) -> bytes:
    """Damage a seed by one to four changes."""
    data = bytearray(seed)
    for _ in range(int(rng.integers(1, 5))):
        if not data:
            break
        # headers are where sizes are promised, so most changes go there
        end = min(len(data), int(pick(rng, [16, 64, 256, len(data)])))
        place = int(rng.integers(end)) if rng.random() < 0.9 else len(data) - 1 - int(rng.integers(end))
        kind = int(rng.integers(9))
        if text and rng.random() < 0.4:
            numbers = list(re.finditer(rb"-?\d+", bytes(data[: max(end, 64)])))
            if numbers:
                at = numbers[int(rng.integers(len(numbers)))]
                data[at.start() : at.end()] = pick(
                    rng, [*map(str, EXTREMES), "-1", "nan", "1e999", "", "0.5"]
                ).encode()
            continue
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(pick(rng, [0, 1, 0x7F, 0x80, 0xFF, int(rng.integers(256))]))
        elif kind == 2:
            del data[int(rng.integers(len(data))) :]
        elif kind == 3:
            length = int(rng.integers(1, 64))
            del data[place : place + length]
        elif kind == 4:
            length = int(rng.integers(1, 64))
            data[place:place] = data[place : place + length] * int(pick(rng, [1, 2, 100]))
        elif kind == 5:
            other = others[int(rng.integers(len(others)))]
            start = int(rng.integers(len(other)))
            data[place : place + 64] = other[start : start + int(rng.integers(1, 256))]
        elif kind == 6:
            token = pick(rng, TOKENS)
            stop = place if rng.random() < 0.5 else place + len(token)
            data[place:stop] = token
        else:
            value, code = int(pick(rng, EXTREMES)), pick(rng, ["H", "I", "I", "Q"])
            packed = struct.pack(pick(rng, "<>") + code, value % (1 << 8 * struct.calcsize("<" + code)))
            data[place : place + len(packed)] = packed
    return bytes(data)
