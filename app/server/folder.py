"""A server's private folder for uploads and results; those of killed servers are deleted."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from pathlib import Path

from ktb.utils.lock import FileLock

PREFIX = "ktb-server-"
_log = logging.getLogger(__name__)


class ServerFolder:
    """A new folder below `parent`, held by a lock that the system releases when this process ends.

    The constructor deletes the folders of killed servers, whose lock nobody holds. It ignores the age of
    files, so that a wrong clock has no effect.

    Attributes:
        path: the folder; its name is unguessable.

    Raises OSError if no folder can be created.
    """

    def __init__(self, parent: Path):
        parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(parent)
        self.path = parent.resolve() / f"{PREFIX}{secrets.token_hex(16)}"
        self._lock: FileLock | None = FileLock(_lock_of(self.path))
        try:
            self._lock.acquire(wait=False)  # before the folder exists, which others could take for a leftover
        except OSError as error:
            self._lock = None
            _log.warning("Files in %s cannot be locked (%s): leftovers remain.", parent, error.strerror)
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Delete the folder and its contents."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock:
            self._lock.remove()
            self._lock = None


def remove_leftovers(parent: Path) -> None:
    """Delete the folders below `parent` of servers that no longer run."""
    for lock_path in parent.glob(f"{PREFIX}*.lock"):
        lock = FileLock(lock_path)
        try:
            if not lock.acquire(wait=False):
                continue
        except OSError as error:  # another user's folder, or just deleted by another server
            _log.debug("%s is not deleted: %s", lock_path.name, os.strerror(error.errno or 0))
            continue
        shutil.rmtree(lock_path.with_suffix(""), ignore_errors=True)
        lock.remove()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
