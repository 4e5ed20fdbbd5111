"""Lists in text files: names of a split, and pairs of files such as TUM's associations."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ktb.modalities import MODALITIES

_MOST_BYTES = 64 * 2**20
_RGB_WORDS = frozenset(("rgb", "color", "colour", "image", "images", "img", "photo", "photos", "visible"))
_X_WORDS = frozenset().union(*(info.filename_words for info in MODALITIES.values()))


class ListedPair(NamedTuple):
    """Files of one line of a list of pairs; `label` is None if the line has two files."""

    rgb: Path
    x: Path
    label: Path | None


def read_lines(path: Path) -> list[str]:
    """The lines of a list without blanks around them, empty lines, and remarks that begin with "# ".

    Line ends and encodings of any system are taken (CRLF, UTF-8 with a mark, UTF-16), and backslashes in
    paths become slashes. Raises ValueError for a file that is no text.
    """
    try:
        data = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b"\0"
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); give a text file") from error
    is_wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")  # as Windows PowerShell writes it
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text:
        raise ValueError(f"{path}: this is no text of one name or pair a line")
    lines = (line.strip() for line in text.splitlines())
    return [slashes(line) for line in lines if line and not re.match(r"#(\s|$)", line)]


def slashes(path: str) -> str:
    """A path with slashes, without "./" at its start."""
    path = path.replace("\\", "/")
    return path[2:] if path.startswith("./") else path


def columns(line: str) -> list[str]:
    """The columns of a line, apart by tabs, commas, semicolons or blanks, without quotes."""
    is_marked = re.search(r"[\t,;]", line)  # then blanks belong to the names
    parts = re.split(r"[\t,;]", line) if is_marked else line.split()
    return [slashes(part.strip().strip("\"'")) for part in parts if part.strip()]


def read_pairs(path: Path, root: Path) -> list[ListedPair]:
    """The pairs of a list: on each line the RGB image, its X, and optionally its labels.

    Times between them are passed over, as in the associations of TUM's RGB-D benchmark. Paths are relative to
    `root` or to the list's folder. Where the folders' names say that X comes first, the two are exchanged.

    Raises:
        ValueError: the list cannot be read, is empty, or a line names no two files.
    """
    found = list(_pairs(path, root))
    if not found:
        raise ValueError(f"{path}: the list is empty; write the RGB image and its X on a line")
    return found


def _pairs(path: Path, root: Path) -> Iterator[ListedPair]:
    for number, line in enumerate(read_lines(path), 1):
        files = [part for part in columns(line) if not _is_number(part)]
        if len(files) not in (2, 3):
            raise ValueError(
                f"{path}: line {number}, {line[:80]!r}, names {len(files)} files; a line holds the RGB "
                "image, its X and optionally its labels, with or without times (as TUM's associations)"
            )
        if _words(files[0]) & _X_WORDS and _words(files[1]) & _RGB_WORDS - _words(files[0]):
            files[:2] = files[1], files[0]
        there = [_place(file, path, root) for file in files]
        yield ListedPair(there[0], there[1], there[2] if len(there) == 3 else None)


def _place(file: str, path: Path, root: Path) -> Path:
    beside = path.parent / file
    return root / file if (root / file).is_file() or not beside.is_file() else beside


def _words(file: str) -> set[str]:
    return set(re.split(r"[^a-z]+", file.lower()))


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?", text, re.IGNORECASE) is not None
