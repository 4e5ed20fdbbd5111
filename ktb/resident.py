"""Pages of mapped files in this process's memory, and how to give them back: they stay in their files."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

_MAPPINGS = Path("/proc/self/smaps")  # of Linux; elsewhere nothing is given back
_HEADER = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) [0-9a-f]+ \S+ \d+\s*(.*)")
_DONTNEED, _PAGEOUT = 4, 21  # advice of madvise(2)


@dataclass
class _Mapping:
    start: int
    end: int
    writable: bool
    file: str
    changed: bool = False


def give_back_weights(tensors: Iterable[Tensor]) -> None:
    """Let the system drop the pages of mapped files that hold these tensors.

    What is used again is read again. A file of which this process has changed a page stays as it is, and what
    was written to a file lately stays until it has reached the disk.
    """
    addresses = [tensor.data_ptr() for tensor in tensors if tensor.device.type == "cpu"]
    found = [m for m in _mappings() if any(m.start <= address < m.end for address in addresses)]
    _give_back(found)


def give_back_files(folder: Path) -> None:
    """Likewise, for all mapped files below a folder."""
    _give_back([m for m in _mappings() if Path(m.file).is_relative_to(folder.resolve())])


def _give_back(mappings: list[_Mapping]) -> None:
    if not mappings:
        return
    libc = ctypes.CDLL(None)
    for mapping in mappings:
        if not mapping.changed:
            # Where a page may be changed this very moment it must not be forgotten, only written out.
            advice = _PAGEOUT if mapping.writable else _DONTNEED
            length = ctypes.c_size_t(mapping.end - mapping.start)
            libc.madvise(ctypes.c_void_p(mapping.start), length, advice)  # refused by old kernels: no harm


def _mappings() -> Iterator[_Mapping]:
    """The mapped files of this process."""
    try:
        text = _MAPPINGS.read_text(encoding="utf-8", errors="surrogateescape")  # files have any names
    except OSError:  # another system, or one that does not tell
        return
    current = None
    for line in text.splitlines():
        if header := _HEADER.fullmatch(line):
            current = _Mapping(int(header[1], 16), int(header[2], 16), "w" in header[3], header[4])
        elif line.startswith("Anonymous:"):  # pages that were changed, and so belong to this process
            current.changed = int(line.split()[1]) > 0
            if current.file.startswith("/"):
                yield current
