"""Pairing of files by name, found in a folder, by a glob, or by a pattern with {name}."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktb.datasets.lists import read_pairs
from ktb.utils.text import did_you_mean

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
ARRAYS = (".npy", ".npz")
X_FILES = (*PICTURES, *ARRAYS, ".exr", ".h5", ".hdf5", ".aedat4", ".txt", ".csv")
WILD = re.compile(r"[*?]|\{name\}")
_NAME = re.escape("{name}")


def scan(
    root: Path, place: str, suffixes: Sequence[str] = PICTURES + ARRAYS, without: Iterable[Path] = ()
) -> dict[str, Path]:
    """Find files: name -> file, sorted by name.

    Args:
        root: folder that a relative `place` refers to.
        place: a folder, whose files are named by their path below it without suffix; a glob, whose files are
            named by their stem; or a pattern in which {name} stands for the name, including subfolders.
        suffixes: allowed suffixes; other files and hidden files are ignored.
        without: folders to ignore.

    Raises:
        ValueError: the folder does not exist, no file matches, or two files have the same name.
    """
    folder, pattern = split_place(root, place)
    if folder.is_file():
        raise ValueError(
            f"{folder} is a file; give a folder, a glob or a pattern with {{name}}. A list with the files of "
            "a pair on each line is given as --pairs, or as 'pairs' in a YAML file"
        )
    if not folder.is_dir():
        parent = folder.parent if folder.parent.is_dir() else root
        raise ValueError(
            f"the folder {folder} does not exist.{did_you_mean(folder.name, os.listdir(parent))}"
        )
    left_out = [path.resolve() for path in without]
    found: dict[str, Path] = {}
    for path in folder.rglob("*"):
        match = pattern.fullmatch(path.relative_to(folder).as_posix())
        if not match or path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if left_out and any(path.resolve().is_relative_to(other) for other in left_out):
            continue
        name = match["name"] if "name" in pattern.groupindex else path.stem
        if name in found:
            both = f"{found[name]} and {path} are both '{name}'"
            raise ValueError(f"{both}; tell them apart by a pattern with {{name}}")
        found[name] = path
    if not found:
        raise ValueError(f"'{place}' finds no picture or array ({', '.join(suffixes)}) in {folder}")
    return dict(sorted(found.items()))


def split_place(root: Path, place: str) -> tuple[Path, re.Pattern]:
    """The folder to search, and the expression that a file's path below it must match."""
    if "\\" in place and not (root / place).exists():  # written on Windows
        place = place.replace("\\", "/")
    parts = Path(place).parts
    fixed = next((i for i, part in enumerate(parts) if WILD.search(part)), len(parts))
    rest = "/".join(parts[fixed:]) or "{name}.*"
    codes = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    pattern = "".join(codes.get(piece, re.escape(piece)) for piece in re.split(r"(\*\*/|[*?])", rest))
    pattern = pattern.replace(_NAME, "(?P<name>.+)", 1).replace(_NAME, "(?P=name)")
    return root.joinpath(*parts[:fixed]), re.compile(pattern)


@dataclass(frozen=True)
class FilePair:
    """The files of one pair. `rgb` is None if only X is read; `x` is empty if there is no X."""

    name: str
    rgb: Path | None
    x: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files of the pair."""
        return (*([] if self.rgb is None else [self.rgb]), *self.x)


@dataclass(frozen=True)
class Matched:
    """Matched pairs, and unmatched names: pattern -> names without a file there."""

    pairs: tuple[FilePair, ...]
    lacking: Mapping[str, tuple[str, ...]]


def listed(path: Path) -> Matched:
    """The pairs of a list of files, see `ktb.datasets.lists.read_pairs`; paths are relative to its folder.

    Raises:
        ValueError: as `read_pairs`, a file is missing, or an RGB image is listed twice.
    """
    pairs: dict[str, FilePair] = {}
    for found in read_pairs(path, path.parent):
        for file in (found.rgb, found.x):
            if not file.is_file():
                raise ValueError(f"{path}: there is no file {file}; paths are relative to the list's folder")
        name = Path(os.path.relpath(found.rgb, path.parent)).with_suffix("").as_posix()
        name = name.replace("../", "")
        if name in pairs:
            raise ValueError(f"{path}: {found.rgb} is on two lines; leave one of them")
        pairs[name] = FilePair(name, found.rgb, (found.x,))
    return Matched(tuple(pairs.values()), {})


def match(
    rgb: str | None, x: Sequence[str] = (), without: Iterable[Path] = (), root: Path | None = None
) -> Matched:
    """Pair the files of several patterns by name.

    Args:
        rgb: the RGB images, as `place` of `scan`, or None.
        x: the X files, likewise; several if an X input consists of several files.
        without: folders to ignore, such as those of results.
        root: folder that relative patterns refer to; the working directory by default.

    Raises:
        ValueError: as for `scan`, or no name matches in all patterns.
    """
    root = Path() if root is None else root
    if rgb in x:
        raise ValueError(
            f"RGB images and X are both looked for in '{rgb}'; tell them apart by patterns, such as "
            "'{name}_rgb.*' and '{name}_depth.*' below it"
        )
    places = [(rgb, PICTURES)] * (rgb is not None) + [(place, X_FILES) for place in x]
    found = [scan(root, place, suffixes, without) for place, suffixes in places]
    every = sorted(set().union(*found))
    lacking = {place: [n for n in every if n not in files] for (place, _), files in zip(places, found)}
    complete = [name for name in every if all(name in files for files in found)]
    if not complete:
        some = "; ".join(
            f"'{place}': {', '.join(list(files)[:3])}" for (place, _), files in zip(places, found)
        )
        raise ValueError(
            f"no name has a file for every pattern ({some}). If the names differ at an end, "
            "write the differing part around {name}, such as 'photos/{name}_rgb.png'"
        )
    pairs = []
    for name in complete:
        files = [files_by_name[name] for files_by_name in found]
        pairs.append(FilePair(name, None if rgb is None else files.pop(0), tuple(files)))
    return Matched(tuple(pairs), {place: tuple(names) for place, names in lacking.items() if names})
