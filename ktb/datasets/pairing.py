"""Files that belong together by their name: found by a folder, a glob, or a pattern with {name}."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktb.utils.text import did_you_mean

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")
ARRAYS = (".npy", ".npz")
X_FILES = (*PICTURES, *ARRAYS, ".exr", ".h5", ".hdf5", ".aedat4", ".txt", ".csv")
WILD = re.compile(r"[*?]|\{name\}")
_NAME = re.escape("{name}")


def scan(
    root: Path, place: str, suffixes: Sequence[str] = PICTURES + ARRAYS, without: Iterable[Path] = ()
) -> dict[str, Path]:
    """Name -> file, in order of the names.

    Args:
        root: what `place` is relative to.
        place: a folder, whose files are named by their path below it without the suffix; a glob, named by
            the file's stem; or a pattern in which {name} stands for the name, sub-folders included.
        suffixes: files with another one are left out, and so are hidden ones.
        without: folders whose contents are left out.

    Raises:
        ValueError: no such folder, no file, or two files of one name.
    """
    folder, pattern = split_place(root, place)
    if not folder.is_dir():
        parent = folder.parent if folder.parent.is_dir() else root
        raise ValueError(f"there is no folder {folder}.{did_you_mean(folder.name, os.listdir(parent))}")
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
    """The folder to look in, and what the path of a file below it must match."""
    parts = Path(place).parts
    fixed = next((i for i, part in enumerate(parts) if WILD.search(part)), len(parts))
    rest = "/".join(parts[fixed:]) or "{name}.*"
    codes = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    pattern = "".join(codes.get(piece, re.escape(piece)) for piece in re.split(r"(\*\*/|[*?])", rest))
    pattern = pattern.replace(_NAME, "(?P<name>.+)", 1).replace(_NAME, "(?P=name)")
    return root.joinpath(*parts[:fixed]), re.compile(pattern)


@dataclass(frozen=True)
class FilePair:
    """The files of one pair. `rgb` is None where X alone is read; `x` is empty where there is no X."""

    name: str
    rgb: Path | None
    x: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        return (*([] if self.rgb is None else [self.rgb]), *self.x)


@dataclass(frozen=True)
class Matched:
    """Pairs by name, and the names that one side lacks: place -> names that have no file there."""

    pairs: tuple[FilePair, ...]
    lacking: Mapping[str, tuple[str, ...]]


def match(
    rgb: str | None, x: Sequence[str] = (), without: Iterable[Path] = (), root: Path | None = None
) -> Matched:
    """Pair the files of several places by their names.

    Args:
        rgb: place of the RGB images as `scan` takes it, or None.
        x: places of the X files; several if an X input consists of several files.
        without: folders of results, whose files are no inputs.
        root: what relative places are relative to; the working directory by default.

    Raises:
        ValueError: as `scan`, and if no name is found in every place.
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
            f"no name is found in every place ({some}). If the names differ at the beginning or the end, "
            "write what differs around {name}, such as 'photos/{name}_rgb.png'"
        )
    pairs = []
    for name in complete:
        files = [files_by_name[name] for files_by_name in found]
        pairs.append(FilePair(name, None if rgb is None else files.pop(0), tuple(files)))
    return Matched(tuple(pairs), {place: tuple(names) for place, names in lacking.items() if names})
