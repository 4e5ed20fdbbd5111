"""Limits of downloads: maximum size and free disk space."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

SIZE_VARIABLE = "KTB_MAX_DOWNLOAD_GB"
DEFAULT_GIGABYTES = "8"
SPARE_BYTES = 64 << 20
"""Bytes to leave free on the disk."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def max_bytes() -> int:
    """Maximum size of a file in bytes: `KTB_MAX_DOWNLOAD_GB`, or 8 GB; ValueError for an invalid value."""
    text = os.environ.get(SIZE_VARIABLE, DEFAULT_GIGABYTES)
    with contextlib.suppress(ValueError):
        if 0 < (gigabytes := float(text)) < 1e6:
            return int(gigabytes * 1e9)
    raise ValueError(f"{SIZE_VARIABLE} is {text!r}; give a number of gigabytes, such as {DEFAULT_GIGABYTES}.")


def require_size(what: object, size: int) -> None:
    """Raise a ValueError if a file is larger than `max_bytes`."""
    if size > max_bytes():
        raise ValueError(
            f"{what} has {size:,} bytes; at most {max_bytes():,} are downloaded. If that is the "
            f"right file, set {SIZE_VARIABLE} to a larger number."
        )


def require_room(what: object, missing: int, folder: Path, variable: str = "KTB_CACHE") -> None:
    """Raise a ValueError if the folder's disk lacks the free space; `variable` can set another folder."""
    free = shutil.disk_usage(folder).free
    if missing + SPARE_BYTES > free:
        raise ValueError(
            f"{what} needs {missing / 1e6:,.1f} MB more, but only {free / 1e6:,.1f} MB are free in {folder}. "
            f"Free some space, or set {variable} to a folder on a larger disk."
        )


def is_no_space(error: BaseException) -> bool:
    """Whether the disk or the user's quota is full."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE
