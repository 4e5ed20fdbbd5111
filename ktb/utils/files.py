"""Files: atomic writes, SHA-256 checksums, and the folders of the files that ship with the library."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
SHIPPED_FOLDERS = (_PACKAGE / "shipped", _PACKAGE.parent / "assets")
"""Of an installed package and of a checkout; see `force-include` in pyproject.toml."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file atomically: `write` fills a temporary file, which is synced and then renamed to `path`.

    Raises:
        OSError: the file cannot be written; an existing file at `path` is unchanged.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        put_in_place(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of killed writers; no other process may write to the folder meanwhile."""
    for temporary in folder.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, path: Path) -> None:
    """Sync a complete temporary file to the disk, then rename it to `path`, which is in the same folder.

    Raises:
        OSError: syncing or renaming failed; an existing file at `path` is unchanged.
    """
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
    if os.name == "nt":  # Windows cannot open folders
        return
    folder = os.open(path.parent, os.O_RDONLY)  # syncs the rename itself
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits; OSError if it cannot be read."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def require_sha256(path: Path, expected: str, what: str) -> None:
    """Raise a ValueError that names both checksums unless the file's SHA-256 is `expected`."""
    if (found := file_sha256(path)) != expected.lower():
        raise ValueError(
            f"{what} has sha256 {found}, expected {expected.lower()}. It is damaged, or not the file that "
            f"was meant: do not use it."
        )


def shipped(name: str) -> Path:
    """The folder `name`, "checkpoints" or "examples", of an installed package or a checkout.

    The folder does not exist where the files were left out of the installation.
    """
    return next((folder / name for folder in SHIPPED_FOLDERS if folder.is_dir()), SHIPPED_FOLDERS[-1] / name)
