"""Files that appear whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, bring it to the disk and only then put it in place of `path`.

    Raises:
        OSError: nothing can be written there; what was at `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        put_in_place(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete what writers that were killed left in a folder; no other process may write there meanwhile."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Bring a complete file to the disk, and only then give it its name; both are in one folder.

    Raises:
        OSError: that fails; what was at `path` is as it was.
    """
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    if os.name == "nt":  # folders cannot be opened there
        return
    folder = os.open(path.parent, os.O_RDONLY)  # the rename itself, too
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
