"""Cache folders, and the offline switch."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

CACHE_VARIABLE = "KTB_CACHE"
OFFLINE_VARIABLES = ("KTB_OFFLINE", "HF_HUB_OFFLINE")


def default_folder() -> Path:
    """`KTB_CACHE`, or ktb in the user's cache folder; it may be missing or read-only."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "ktb"
        if sys.platform == "darwin":
            return Path.home() / "Library/Caches/ktb"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ktb"
    except RuntimeError:  # users without a home folder, as in containers
        return temporary_folder()


def temporary_folder() -> Path:
    """This user's folder below the system's temporary one, for read-only home folders."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    return Path(tempfile.gettempdir()) / f"ktb-{user}"


def make_temporary_folder() -> Path | None:
    """`temporary_folder`, created for this user only; None if that fails or another user owns it."""
    folder = temporary_folder()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return None
    return folder if _is_ours(folder) else None


def readable_folders(name: str) -> list[Path]:
    """All folders of this name that may contain files of earlier runs, the preferred one first."""
    roots = [default_folder()]
    if not os.environ.get(CACHE_VARIABLE) and _is_ours(temporary_folder()):
        roots.append(temporary_folder())
    return [root / name for root in dict.fromkeys(roots) if (root / name).is_dir()]


def writable_folder(name: str) -> Path:
    """The folder of this name in the cache, or in `temporary_folder` if the cache is read-only; created.

    Raises:
        ValueError: `KTB_CACHE` is not writable, or, if it is not set, neither folder is.
    """
    if (problem := _why_not_writable(default_folder() / name)) is None:
        return default_folder() / name
    if os.environ.get(CACHE_VARIABLE):
        raise ValueError(f"{CACHE_VARIABLE} is {default_folder()}, where nothing can be written ({problem}).")
    root = make_temporary_folder()
    if root is None or _why_not_writable(root / name) is not None:
        raise ValueError(
            f"no file can be kept in {default_folder()} ({problem}), nor in {temporary_folder()}. Set "
            f"{CACHE_VARIABLE} to a folder that you can write."
        )
    return root / name


def is_offline() -> bool:
    """Whether `KTB_OFFLINE` or `HF_HUB_OFFLINE` disables network access."""
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in OFFLINE_VARIABLES)


def require_online(what: str, remedy: str) -> None:
    """Raise a ValueError if offline; `what` is missing on this machine, `remedy` is the alternative."""
    if is_offline():
        raise ValueError(
            f"{what} is not on this machine, and {' or '.join(OFFLINE_VARIABLES)} forbids to download it. "
            f"Unset that, or {remedy}."
        )


def _is_ours(folder: Path) -> bool:
    """Whether a folder below a world-writable one belongs to this user and is not a link."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and not folder.is_symlink() and status.st_uid == getattr(os, "getuid", int)()


def _why_not_writable(folder: Path) -> OSError | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # permission bits do not show read-only disks
            return None
    except OSError as error:
        return error
