"""What of an HDF5 file's indexes is safe to walk: each node once, from top to bottom.

HDF5 follows the addresses in its trees as they stand. A node that leads to itself breaks the process, nodes
that share their children keep it busy for ever, and both fit in a few kilobytes. Here an object's header is
read from its address, and its index is looked through before HDF5 walks it.
"""

import struct
from collections.abc import Callable, Iterator

from ktb.inputs.limits import MAX_ALL_CHUNKS, MAX_INDEX_NODES, InputError

Peek = Callable[[int, int], bytes]
"""(offset, count) -> bytes of the file, fewer or none beyond its end."""
_LINK_INFO, _LAYOUT, _CONTINUATION, _SYMBOL_TABLE, _ATTRIBUTE_INFO = 2, 8, 16, 17, 21
_NONE = 2**64 - 1
_MOST_HEADER, _MOST_RANK = 4 * 2**20, 33
_SINGLE, _FIXED_ARRAY, _EXTENSIBLE_ARRAY, _TREE = 1, 3, 4, 5
_CHUNKED = 2


def check_start(peek: Peek, name: str) -> None:
    """Refuse a file that HDF5 must not even open: as `check_index`, of its first group.

    Raises:
        InputError: as `check_index`; addresses that are not of 8 bytes or not counted from the file's start.
    """
    start = peek(0, 100)
    try:
        version = start[8]
        if version > 3:
            raise _damaged(name, "its first block")
        is_old, place = version < 2, 24 + 4 * (version == 1) if version < 2 else 12
        sizes = start[13:15] if is_old else start[9:11]
        base, extension, _, root = struct.unpack_from("<4Q", start, place)
        if sizes != b"\x08\x08" or base:
            raise InputError(f"{name}: an HDF5 file of unusual addresses; repack it (h5repack)")
        if is_old:
            root, cached, tree = struct.unpack_from("<QI4xQ", start, place + 40)
            if cached == 1:
                _check_tree(peek, tree, 0, 8, name)
        elif extension != _NONE:
            check_index(peek, extension, name)
    except (struct.error, IndexError) as error:
        raise _damaged(name, "its first block") from error
    check_index(peek, root, name)


def check_index(peek: Peek, address: int, name: str) -> None:
    """Refuse an object whose index HDF5 may walk without end.

    Args:
        peek: reads the file.
        address: of the object's header.

    Raises:
        InputError: nodes that are shared, or lead back; more of them than are taken; a damaged header.
    """
    try:
        for kind, content in _messages(peek, address, name):
            if kind == _SYMBOL_TABLE:
                _check_tree(peek, struct.unpack_from("<Q", content)[0], 0, 8, name)
            elif kind == _LAYOUT:
                _check_layout(peek, content, name)
            elif kind == _LINK_INFO:
                _check_trees_2(peek, content[2 + 8 * (content[1] & 1) :], name)
            elif kind == _ATTRIBUTE_INFO:
                _check_trees_2(peek, content[2 + 2 * (content[1] & 1) :], name)
    except (struct.error, IndexError) as error:
        raise _damaged(name, "the header of an object") from error


def _damaged(name: str, what: str) -> InputError:
    return InputError(f"{name}: the HDF5 file is damaged ({what}); save or send it again")


def _messages(peek: Peek, address: int, name: str) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each message of an object's header, of both versions."""
    start = peek(address, 64)
    if start[:4] == b"OHDR":
        flags = start[5]
        head, first = 4 + 2 * bool(flags & 4), 6 + 16 * bool(flags & 32) + 4 * bool(flags & 16)
        wide = 1 << (flags & 3)
        blocks = [(address + first + wide, int.from_bytes(start[first : first + wide], "little"))]
    elif start[:1] == b"\1":
        head, blocks = 8, [(address + 16, struct.unpack_from("<I", start, 8)[0])]
    else:
        raise _damaged(name, "the header of an object")
    is_new, seen, whole = head < 8, set(), 0
    while blocks:
        at, size = blocks.pop()
        whole += max(size, 0)
        if at in seen or whole > _MOST_HEADER:
            raise _damaged(name, "the header of an object leads back, or is too long")
        seen.add(at)
        block, place = peek(at, size), 0
        while place + head <= len(block):
            if is_new:
                kind, length = struct.unpack_from("<BH", block, place)
            else:
                kind, length = struct.unpack_from("<HH", block, place)
            content = block[place + head : place + head + length]
            place += head + length
            if kind == _CONTINUATION:
                following, size = struct.unpack_from("<QQ", content)
                blocks.append((following + 4, size - 8) if is_new else (following, size))
            yield kind, content


def _check_layout(peek: Peek, content: bytes, name: str) -> None:
    version = content[0]
    if content[2 if version < 3 else 1] != _CHUNKED:
        return
    if version < 4:
        rank, place = (content[1], 8) if version < 3 else (content[2], 3)
        if rank > _MOST_RANK:
            raise _damaged(name, "the shape of its pieces")
        _check_tree(peek, struct.unpack_from("<Q", content, place)[0], 1, 8 + 8 * rank, name)
        return
    place = 5 + content[3] * content[4]
    index = content[place]
    place += 1 + {_FIXED_ARRAY: 1, _EXTENSIBLE_ARRAY: 5, _TREE: 6}.get(index, 0)
    if index in (_FIXED_ARRAY, _EXTENSIBLE_ARRAY):
        (address,) = struct.unpack_from("<Q", content, place)
        header = peek(address, 68) if address != _NONE else bytes(68)
        if struct.unpack_from("<Q", header, 8 if index == _FIXED_ARRAY else 44)[0] > MAX_ALL_CHUNKS:
            raise _too_many(name, MAX_ALL_CHUNKS, "pieces")
    elif index == _TREE:
        _check_trees_2(peek, content[place : place + 8], name)


def _too_many(name: str, most: int, what: str) -> InputError:
    return InputError(f"{name}: an index of more than {most:,} {what}; repack it with larger chunks")


def _check_tree(peek: Peek, root: int, kind: int, key: int, name: str) -> None:
    """Look through a tree of version 1: every node once, each a level below its parent."""
    if root == _NONE:
        return
    seen: set[int] = set()
    pending: list[tuple[int, int | None]] = [(root, None)]
    neighbours: dict[int, int] = {}  # level -> what the last node there says to be on its right
    pieces = 0
    while pending:
        address, expected = pending.pop()
        if address in seen:
            raise _damaged(name, "nodes of an index are shared or lead back")
        seen.add(address)
        magic, said, level, entries = struct.unpack_from("<4sBBH", header := peek(address, 24))
        if magic != b"TREE" or said != kind or level != (level if expected is None else expected):
            raise _damaged(name, "an index")
        if neighbours.get(level, address) not in (address, _NONE):
            raise _damaged(name, "neighbours of an index")
        (neighbours[level],) = struct.unpack_from("<Q", header, 16)
        if not level and kind:
            pieces += entries
        else:
            body, step = peek(address + 24, entries * (key + 8)), key + 8
            children = [struct.unpack_from("<Q", body, i * step + key)[0] for i in range(entries)]
            if level:
                pending += [(child, level - 1) for child in reversed(children)]
            else:  # blocks of names
                before = len(seen)
                seen.update(children)
                if len(seen) < before + entries:
                    raise _damaged(name, "names of a group are shared")
        if pieces > MAX_ALL_CHUNKS:
            raise _too_many(name, MAX_ALL_CHUNKS, "pieces")
        if len(seen) + len(pending) > MAX_INDEX_NODES:
            raise _too_many(name, MAX_INDEX_NODES, "nodes")
    if set(neighbours.values()) != {_NONE}:
        raise _damaged(name, "neighbours of an index")


def _check_trees_2(peek: Peek, addresses: bytes, name: str) -> None:
    """Refuse trees of version 2 that have more than their root: only many names or odd shapes need them."""
    for (address,) in struct.iter_unpack("<Q", addresses[: len(addresses) // 8 * 8]):
        if address == _NONE:
            continue
        header = peek(address, 38)
        if header[:4] == b"BTHD" and struct.unpack_from("<H", header, 12)[0]:
            raise InputError(
                f"{name}: a large index of the newest kind; save the recording with fewer names and one row "
                "of chunks, or export the events as .npz"
            )
