"""What a packed piece of an HDF5 file unpacks to, told before a filter makes room for it.

Some filters believe a number at the start of the piece, or in the file's own list of filters, some unpack
until the piece ends. Each is asked in the way of its format; a filter that is not known here is not run.
"""

import bz2
import struct
import zlib
from collections.abc import Callable, Sequence

DEFLATE, SHUFFLE, FLETCHER32, SZIP, NBIT, SCALE_OFFSET = 1, 2, 3, 4, 5, 6
BZIP2, LZF, BLOSC, LZ4, BITSHUFFLE, ZSTD, BLOSC2 = 307, 32000, 32001, 32004, 32008, 32015, 32026
_LZF_MOST = 264 / 3
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def unpacks_within(code: int, values: Sequence[int], packed: bytes, size: int) -> bool:
    """Whether a filter allocates at most `size` bytes to decompress a chunk.

    Args:
        code: the filter's number at the HDF Group; one of FILTERS.
        values: its parameters in the file.
        packed: the piece as it is stored.
    """
    try:
        return FILTERS[code](values, packed, size) <= size
    except (struct.error, IndexError):  # too short to be sound: the filter would refuse it, or read beyond it
        return False


def _deflate(values: Sequence[int], packed: bytes, size: int) -> int:
    try:
        return len(zlib.decompressobj().decompress(packed, size + 1))
    except zlib.error:
        return 0  # HDF5 finds out


def _bzip2(values: Sequence[int], packed: bytes, size: int) -> int:
    unpacker = bz2.BZ2Decompressor()
    try:
        unpacked = len(unpacker.decompress(packed, size + 1))
    except (OSError, ValueError):
        return 0
    return unpacked if unpacker.eof else size + 1  # the filter waits for ever for the end of what is cut off


def _lzf(values: Sequence[int], packed: bytes, size: int) -> int:
    promised = values[2] if len(values) > 2 else 0
    # of a sound piece the end is known by unpacking alone; a piece of usual length cannot hold much
    return max(promised, size + 1 if len(packed) * _LZF_MOST > max(size, 2**28) else 0)


def _szip(values: Sequence[int], packed: bytes, size: int) -> int:
    return struct.unpack_from("<I", packed)[0]


def _by_parameters(values: Sequence[int], packed: bytes, size: int) -> int:
    return values[2] * values[4]


def _lz4(values: Sequence[int], packed: bytes, size: int) -> int:
    return struct.unpack_from(">Q", packed)[0]


def _bitshuffle(values: Sequence[int], packed: bytes, size: int) -> int:
    return _lz4(values, packed, size) if len(values) > 4 and values[4] else len(packed)


def _blosc(values: Sequence[int], packed: bytes, size: int) -> int:
    return max(struct.unpack_from("<I", packed, 4)[0], values[3] if len(values) > 3 else 0)


def _blosc2(values: Sequence[int], packed: bytes, size: int) -> int:
    if packed[2:10] != b"b2frame\0":
        return size + 1
    (whole,) = struct.unpack_from(">q", packed, 30)
    (chunk,) = struct.unpack_from(">i", packed, 58)
    return max(whole, chunk) if min(whole, chunk) >= 0 else size + 1


def _zstd(values: Sequence[int], packed: bytes, size: int) -> int:
    if packed[:4] != _ZSTD_MAGIC:
        return size + 1
    flags = packed[4]
    length, single = flags >> 6, flags >> 5 & 1
    place = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    if not length and not single:
        return size + 1  # the frame does not tell
    code = "BHIQ"[length]
    return struct.unpack_from("<" + code, packed, place)[0] + (256 if code == "H" else 0)


FILTERS: dict[int, Callable[[Sequence[int], bytes, int], int]] = {
    DEFLATE: _deflate,
    SZIP: _szip,
    NBIT: _by_parameters,
    SCALE_OFFSET: _by_parameters,
    BZIP2: _bzip2,
    LZF: _lzf,
    BLOSC: _blosc,
    LZ4: _lz4,
    BITSHUFFLE: _bitshuffle,
    ZSTD: _zstd,
    BLOSC2: _blosc2,
}
"""Number of a filter that changes the size -> the bytes that it makes room for, over `size` if unknown."""
