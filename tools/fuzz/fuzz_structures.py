"""Files that are made of the right parts in the wrong way: the parts of a format, with wild numbers in them.

Random damage seldom gets past a checksum or a length. Here each file is put together anew: chunks with right
checksums, directories that lead to themselves, headers that promise what is not there, filters that unpack to
too much. Each function takes a random generator and gives the contents of a file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from tools.fuzz import fuzz_seeds

SIDES = (0, 1, 31, 32, 33, 40, 48, 64, 100, 255, 7000, 16384, 16385, 30000, 65535, 2**31 - 1, 2**32 - 1)
WILD = (0, 1, 2, 3, 4, 7, 8, 12, 16, 31, 32, 64, 255, 256, 4096, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
PICTURES = ("tiff", "png", "jpeg", "gif", "webp", "bmp", "pnm")
Make = Callable[[np.random.Generator], bytes]


def pick(rng: np.random.Generator, values):
    values = list(values)
    return values[int(rng.integers(len(values)))]


def maybe(rng: np.random.Generator, share: float) -> bool:
    return bool(rng.random() < share)


def side(rng: np.random.Generator, most: int = 2**32 - 1) -> int:
    return 48 if maybe(rng, 0.92) else min(int(pick(rng, SIDES)), most)


def usual(rng: np.random.Generator, value, wild):
    """Mostly the value, else one of the wild ones."""
    return value if maybe(rng, 0.94) else pick(rng, wild)


def noise(rng: np.random.Generator, most: int = 300) -> bytes:
    return rng.integers(0, 256, int(rng.integers(0, most)), dtype=np.uint8).tobytes()


def shaken(rng: np.random.Generator, data: bytes, share: float = 0.3) -> bytes:
    """With some probability a few bytes changed, or the end cut off."""
    if not data or not maybe(rng, share):
        return data
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        changed[int(rng.integers(len(changed)))] = int(pick(rng, (0, 1, 127, 128, 255, rng.integers(256))))
    return bytes(changed[: int(rng.integers(1, len(changed) + 1))]) if maybe(rng, 0.2) else bytes(changed)


def tiff(rng: np.random.Generator) -> bytes:
    """Directories with wild tags: tiles, strips, compressions, loops, values that are the whole file."""
    order, big = pick(rng, "<>"), maybe(rng, 0.3)
    width, height = side(rng), side(rng)
    samples, bits = (
        usual(rng, pick(rng, (1, 3)), (4, 2, 5, 60000)),
        usual(rng, 8, (16, 32, 64, 1, 4, 12, 0, 65535)),
    )
    compression = usual(rng, pick(rng, (1, 5, 8, 8, 32773, 7)), _COMPRESSIONS)
    plain = usual(rng, bytes(min(width * height * samples * max(bits, 8) // 8, 2**16)), (noise(rng, 4000),))
    packed = {8: zlib.compress(plain), 32946: zlib.compress(plain), 7: _jpeg_seed(), 6: _jpeg_seed()}
    packed |= {5: _lzw_seed(), 32773: b"".join(b"\x81\0" for _ in range(len(plain) // 128 + 1))}
    pixels = shaken(rng, packed.get(compression, plain), 0.2)
    tags = {256: width, 257: height, 258: bits, 259: compression, 277: samples}
    tags |= {262: usual(rng, 2 if samples > 1 else 1, (0, 3, 5, 6, 8, 32803)), 284: usual(rng, 1, (2, 9))}
    tags |= {
        317: usual(rng, 1, (2, 3, 9)),
        339: usual(rng, 1, (2, 3, 4, 5, 6)),
        274: usual(rng, 1, (3, 6, 9)),
    }
    is_tiled = maybe(rng, 0.2)
    if is_tiled:
        tags |= {322: side(rng), 323: side(rng), 324: _PIXELS, 325: len(pixels)}
    if maybe(rng, 0.1 if is_tiled else 0.97):
        rows, stored = usual(rng, height, (1, 8, *WILD)), usual(rng, len(pixels), WILD)
        tags |= {273: _PIXELS, 278: rows, 279: stored}
    for _ in range(int(pick(rng, (0, 0, 0, 1, 3)))):
        tags[int(pick(rng, (*tags, *_FURTHER)))] = int(pick(rng, WILD))
    start = _PIXELS + len(pixels) + (len(pixels) & 1)
    parts, entries = usual(rng, 1, (2, 40, 48, 1000, 10**6, 2**31)), []
    for tag, value in sorted(tags.items(), key=lambda pair: pair[0] if maybe(rng, 0.995) else 0):
        kind, count = usual(rng, 4, (3, 16, 7, 2, 5, 13, 99)) if maybe(rng, 0.1) else 4, 1
        if tag in (273, 279, 324, 325) and parts > 1:
            count, value = parts, pick(rng, (_PIXELS, start, 8, 0))
        elif maybe(rng, 0.005):
            count = int(pick(rng, WILD))
        code = order + ("HHQQ" if big else "HHII")
        entries.append(struct.pack(code, tag, kind, count, int(value) % 2**32))
    if maybe(rng, 0.02) and not big:  # thousands of tags whose value is the whole file
        entries += [struct.pack(order + "HHII", 33000 + i, 7, start, 0) for i in range(5000)]
    number = usual(rng, len(entries), (0, 1, 65535)) if maybe(rng, 0.2) else len(entries)
    offset = order + ("Q" if big else "I")
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HHQ", 8, 0, start) if big else struct.pack(offset, start) + bytes(8)
    body = struct.pack(order + ("Q" if big else "H"), number) + b"".join(entries)
    after = struct.pack(offset, usual(rng, 0, (start, 8, 2**31)))
    return b"".join((head, pixels, bytes(len(pixels) & 1), body, after, noise(rng)))


_PIXELS = 16
_COMPRESSIONS = (2, 3, 4, 6, 32946, 34712, 34925, 50000, 50001, 9999)
_FURTHER = (270, 330, 338, 347, 34665, 34675, 34853, 40965, 50706, 254, 530, 529, 320)


@cache
def deflated(count: int) -> bytes:
    """So many zeros, packed."""
    return zlib.compress(bytes(count), 9)


@cache
def _lzw_seed() -> bytes:
    """A strip packed by LZW, of a picture of three samples."""
    data = next(one for one in fuzz_seeds.pictures()["tiff"] if b"\x03\x01\x03\0\x01\0\0\0\x05\0" in one)
    return data[8:]


@cache
def _jpeg_seed() -> bytes:
    return cv2.imencode(".jpg", fuzz_seeds.COLOUR)[1].tobytes()


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rng: np.random.Generator) -> bytes:
    """Chunks with right checksums: animations, profiles, texts, palettes, pixels for another size."""
    width, height = side(rng), side(rng)
    bits, colour = (
        usual(rng, pick(rng, (8, 16)), (1, 2, 4, 3, 0)),
        usual(rng, pick(rng, (0, 2, 4, 6)), (3, 1, 7)),
    )
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, pick(rng, (0, 0, 0, 1, 2)))
    row = (min(width, 70000) * max(bits, 1) * {0: 1, 2: 3, 4: 2, 6: 4}.get(colour, 1) + 7) // 8
    rows = min(height, 2**22 // max(row, 1))
    pixels = usual(rng, bytes((row + 1) * rows), (noise(rng, 5000), b""))
    packed = shaken(rng, zlib.compress(pixels, 9), 0.1)
    frame = struct.pack(">IIIIIHHBB", int(pick(rng, (0, 1))), *(side(rng) for _ in range(4)), 1, 1, 1, 0)
    bomb = deflated(2**21)
    extras = [
        (b"acTL", struct.pack(">II", int(pick(rng, WILD)), 0)),
        (b"fcTL", frame),
        (b"fdAT", struct.pack(">I", 1) + packed),
        (b"PLTE", noise(rng, 800)),
        (b"tRNS", noise(rng, 300)),
        (b"iCCP", b"c\0\0" + bomb),
        (b"zTXt", b"c\0\0" + bomb),
        (b"iTXt", b"c\0\1\0\0\0" + bomb),
        (b"eXIf", tiff(rng)[:5000]),
        (b"gAMA", struct.pack(">I", int(pick(rng, WILD)))),
        (b"cICP", noise(rng, 5)),
        (b"IHDR", header),
        (b"IDAT", packed),
        (b"abCd", noise(rng)),
    ]
    chosen = [pick(rng, extras) for _ in range(int(rng.integers(0, 5)))]
    cut = int(rng.integers(0, len(packed) + 1)) if maybe(rng, 0.3) else len(packed)
    chunks = [(b"IHDR", header), *chosen, (b"IDAT", packed[:cut]), (b"IDAT", packed[cut:])]
    chunks += [pick(rng, extras)] * maybe(rng, 0.2) + [(b"IEND", b"")] * maybe(rng, 0.95)
    if maybe(rng, 0.05):
        chunks = [chunks[i] for i in rng.permutation(len(chunks))]
    return shaken(rng, b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*one) for one in chunks), 0.05)


def jpeg(rng: np.random.Generator) -> bytes:
    """Segments of sound files, some changed, twice there, or of another kind."""
    data = pick(rng, _jpegs())
    segments, place = [], 2
    while data[place + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, place + 2)
        segments.append(data[place : place + 2 + length])
        place += 2 + length
    for _ in range(int(rng.integers(0, 4))):
        number = int(rng.integers(len(segments)))
        segment = bytearray(segments[number])
        if len(segment) > 12 and segment[1] in (0xC0, 0xC2) and maybe(rng, 0.7):
            struct.pack_into(">HH", segment, 5, side(rng, 65535), side(rng, 65535))
            if maybe(rng, 0.3):
                segment[9] = int(pick(rng, (0, 1, 3, 4, 255)))
            if maybe(rng, 0.3):
                segment[11] = int(pick(rng, (0, 0x11, 0x22, 0x41, 0xFF)))
        else:
            segment = bytearray(shaken(rng, bytes(segment), 1.0))
        action = rng.random()
        segments[number : number + 1] = [bytes(segment)] * (2 if action < 0.2 else 0 if action < 0.3 else 1)
        if not segments:
            break
    exif = b"Exif\0\0" + tiff(rng)[:5000]
    for kind, content in (
        (0xE1, exif),
        (0xE2, b"MPF\0" + tiff(rng)[:3000]),
        (0xE2, b"ICC_PROFILE\0\1\1" + noise(rng)),
    ):
        if maybe(rng, 0.2):
            segments.insert(0, bytes((0xFF, kind)) + struct.pack(">H", len(content) + 2) + content)
    if maybe(rng, 0.1):
        segments.insert(0, noise(rng) + b"\xff\xfe\0\2" * int(pick(rng, (1, 100, 20000))))
    rest = data[place:]
    if maybe(rng, 0.1):
        rest = rest[:-2] + data[data.rindex(b"\xff\xda") : -2] * int(pick(rng, (1, 50, 3000))) + b"\xff\xd9"
    return b"\xff\xd8" + b"".join(segments) + shaken(rng, rest, 0.3)


@cache
def _jpegs() -> list[bytes]:
    return fuzz_seeds.pictures()["jpeg"]


def gif(rng: np.random.Generator) -> bytes:
    """Screens, frames that reach beyond them, extensions without end."""
    sides = [side(rng, 65535) for _ in range(4)]
    flags = int(pick(rng, (0, 0x80, 0x87)))
    data = b"GIF89a" + struct.pack("<HHBBB", sides[0], sides[1], flags, 0, 0)
    data += noise(rng, 3)[:0] + bytes(3 << ((flags & 7) + 1) if flags & 128 else 0)
    seed = cv2.imencode(".gif", fuzz_seeds.COLOUR)[1].tobytes() if maybe(rng, 0.2) else b""
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.random()
        if kind < 0.4:
            data += b"!\xf9\4" + bytes((int(pick(rng, (0, 4, 8, 12, 9))), 0, 0, 0, 0))
        elif kind < 0.6:
            data += b"!\xfe" + (b"\xff" + bytes(255)) * int(pick(rng, (1, 10, 2000))) + b"\0"
        data += b"," + struct.pack("<HHHHB", *(side(rng, 65535) for _ in range(2)), sides[2], sides[3], 0)
        data += pick(rng, (b"\x02\x02\x4c\x01\x00", b"\x08\xff" + bytes(255) + b"\0", b"\x0c" + noise(rng)))
    return shaken(rng, seed or data + b";", 0.2)


def webp(rng: np.random.Generator) -> bytes:
    """Chunks of sound files under wild canvases, in frames, with wild sizes of their own."""
    chunks = []
    for data in (pick(rng, _webps()), pick(rng, _webps())):
        place = 12
        while place + 8 <= len(data):
            (length,) = struct.unpack_from("<I", data, place + 4)
            chunks.append((data[place : place + 4], data[place + 8 : place + 8 + length]))
            place += 8 + length + (length & 1)
    canvas = b"".join(
        (max(usual(rng, seen, (side(rng, 2**24), 0, 300)), 1) - 1).to_bytes(3, "little") for seen in (48, 40)
    )
    extended = (b"VP8X", bytes((int(pick(rng, (0, 2, 0x10, 0x12, 0x3E))), 0, 0, 0)) + canvas)
    chosen = [pick(rng, chunks) for _ in range(int(rng.integers(1, 4)))]
    if maybe(rng, 0.5):  # the pixels of one picture; under a canvas of its size, or alone
        chosen = [pick(rng, [one for one in chunks if one[0] in (b"VP8 ", b"VP8L")] or chunks)]
    elif maybe(rng, 0.5):
        inner = b"".join(_riff(*part) for part in chosen)
        place = b"".join(side(rng, 2**24 - 1).to_bytes(3, "little") for _ in range(4))
        chosen = [(b"ANIM", bytes(6)), (b"ANMF", place + bytes(4) + inner)] + chosen[: int(rng.integers(2))]
    for number, (kind, content) in enumerate(chosen):
        if maybe(rng, 0.3) and kind in (b"VP8 ", b"VP8L") and len(content) > 10:
            chosen[number] = kind, content[:12] + shaken(rng, content[12:], 0.7)
        elif maybe(rng, 0.1) and kind in (b"VP8 ", b"VP8L") and len(content) > 10:
            changed = bytearray(content)
            struct.pack_into("<I", changed, 6 if kind == b"VP8 " else 1, int(pick(rng, WILD)))
            chosen[number] = kind, bytes(changed)
    body = b"WEBP" + b"".join(_riff(*part) for part in [extended] * maybe(rng, 0.6) + chosen)
    return shaken(rng, b"RIFF" + struct.pack("<I", len(body)) + body, 0.2)


def _riff(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) & 1)


@cache
def _webps() -> list[bytes]:
    return fuzz_seeds.pictures()["webp"]


def bmp(rng: np.random.Generator) -> bytes:
    """Headers of every size with wild numbers."""
    size = int(usual(rng, pick(rng, (12, 40, 40, 40, 52, 64, 108, 124)), WILD))
    bits, packing = pick(
        rng, ((1, 0), (8, 0), (8, 1), (4, 2), (4, 0), (16, 0), (16, 3), (24, 0), (32, 0), (32, 3))
    )
    bits, packing = usual(rng, bits, (0, 2, 64, 24, 8)), usual(rng, packing, (1, 2, 3, 4, 5, 6, 99))
    width, height = side(rng), side(rng) * int(pick(rng, (1, -1)))
    if size == 12:
        fields = struct.pack("<IHHHH", 12, width % 65536, height % 65536, 1, bits)
    else:
        fields = struct.pack(
            "<IIIHHIIIIII",
            size,
            width,
            height % 2**32,
            1,
            bits,
            packing,
            0,
            0,
            0,
            *(int(usual(rng, 0, (256, *WILD))) for _ in range(2)),
        )
        fields += bytes(max(min(size, 200) - len(fields), 0))
        fields += bytes(4 << bits) if bits <= 8 else bytes(12)
    pixels = pick(rng, (bytes(8000), noise(rng, 3000), b"\xff\1" * 3000, b"\0\2\xff\xff" * 2000))
    head = struct.pack("<IHHI", 0, 0, 0, usual(rng, 14 + len(fields), WILD))
    return b"BM" + head + shaken(rng, fields, 0.1) + pixels


def pnm(rng: np.random.Generator) -> bytes:
    """Headers of long numbers, remarks and all letters."""

    def number() -> bytes:
        return str(usual(rng, 48, (side(rng), "9" * 40, "9" * 5000, -1, 0, "nan", "1e9"))).encode()

    def gap() -> bytes:
        return usual(rng, b" ", (b"\n", b"\t", b"#x\n", b"#" + b"x" * 5000 + b"\n", b""))

    letter = usual(rng, pick(rng, b"123456fF"), b"7yx").to_bytes(1, "big")
    head = (
        b"P" + letter + gap() + number() + gap() + number() + gap() + usual(rng, b"255", (number(),)) + b"\n"
    )
    return head + pick(rng, (b"1 " * 5000, bytes(10000), b"9" * 5000, noise(rng), b"#" * 5000))


def exr(rng: np.random.Generator) -> bytes:
    """Attributes with wild windows, tiles, channels and parts, before the pieces of a sound file."""
    seed = pick(rng, fuzz_seeds.exr())
    end = _end_of_header(seed)
    flags = usual(rng, 2, (0x202, 0x402, 0x802, 0x1002, 0x1202, 0x1802, 3))

    def window() -> bytes:
        return struct.pack(
            "<4i", *(int(pick(rng, (0, -5, 39, 16383, 2**31 - 1, -(2**31)))) for _ in range(4))
        )

    def channel() -> bytes:
        name = usual(rng, pick(rng, (b"Z", b"R", b"G", b"B", b"Y")), (b"depth", b"a.Z", b"x" * 300))
        numbers = usual(rng, 2, (0, 1, 9)), 0, usual(rng, 1, (2, 0, -1)), usual(rng, 1, (2, 0))
        return name + b"\0" + struct.pack("<iB3xii", *numbers)

    seen = struct.pack("<4i", 0, 0, 47, 39)
    channels = b"".join(channel() for _ in range(usual(rng, 1, (3, 300)))) + b"\0"
    attributes = {
        "channels": ("chlist", channels),
        "compression": ("compression", bytes((usual(rng, int(pick(rng, range(10))), (11, 255)),))),
        "dataWindow": ("box2i", usual(rng, seen, (window(), window()))),
        "displayWindow": ("box2i", usual(rng, seen, (window(), window()))),
        "lineOrder": ("lineOrder", bytes((usual(rng, 0, (1, 2, 9)),))),
        "pixelAspectRatio": ("float", struct.pack("<f", 1)),
        "screenWindowCenter": ("v2f", bytes(8)),
        "screenWindowWidth": ("float", struct.pack("<f", 1)),
    }
    if flags & 0x200 or maybe(rng, 0.2):
        sides = (usual(rng, 16, (1, 64, *WILD)) for _ in range(2))
        attributes["tiles"] = ("tiledesc", struct.pack("<IIB", *sides, usual(rng, 0, (1, 2, 0x12, 255))))
    if flags & 0x1800 or maybe(rng, 0.1):
        kinds = (b"scanlineimage", b"tiledimage", b"deepscanline", b"deeptile")
        attributes |= {"name": ("string", b"part"), "type": ("string", pick(rng, kinds))}
        attributes["chunkCount"] = ("int", struct.pack("<i", usual(rng, 3, (1, 40, -1, 2**20, 2**31 - 1))))
        attributes["version"] = ("int", struct.pack("<i", 1))
    if maybe(rng, 0.1):
        sides = (int(pick(rng, WILD)) for _ in range(2))
        attributes["preview"] = ("preview", struct.pack("<II", *sides) + bytes(64))
    if maybe(rng, 0.05):
        attributes.pop(pick(rng, attributes))
    header = b""
    for name, (kind, value) in attributes.items():
        size = len(value) if maybe(rng, 0.99) else int(pick(rng, WILD)) - 2**31
        header += name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", size) + value
    header = b"\x76\x2f\x31\x01" + struct.pack("<I", flags) + header + b"\0"
    if flags & 0x1000:
        header += header[8:] * usual(rng, 1, (0, 300)) + b"\0"
    rest = seed[end:]
    if maybe(rng, 0.6):  # offsets of the pieces where they are now
        count = usual(rng, 3, (1, 40))
        places = (len(header) + 8 * count + usual(rng, 0, (8, 2**40)) for _ in range(count))
        rest = struct.pack(f"<{count}Q", *places)
        rest += struct.pack("<ii", 0, usual(rng, 100, (8, 0, -1, 2**31 - 1))) + noise(rng, 3000)
    return shaken(rng, seed, 1.0) if maybe(rng, 0.4) else header + shaken(rng, rest, 0.3)


def _end_of_header(data: bytes) -> int:
    place = 8
    while data[place]:
        place = data.index(b"\0", data.index(b"\0", place) + 1) + 1
        place += 4 + struct.unpack_from("<i", data, place)[0]
    return place + 1
