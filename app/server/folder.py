"""A server's own folder for what visitors send and get: two servers share none, a dead one leaves none."""

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
    """A new folder below `parent`, held by a lock that ends with this process, however that ends.

    Making one deletes what servers left there that were killed: folders of this kind whose lock nobody
    holds. The age of files does not count, so no clock can deceive it.

    Attributes:
        path: the folder; nobody guesses its name.

    Raises OSError where no folder can be made.
    """

    def __init__(self, parent: Path):
        parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(parent)
        self.path = parent.resolve() / f"{PREFIX}{secrets.token_hex(16)}"
        self._lock: FileLock | None = FileLock(_lock_of(self.path))
        try:
            self._lock.acquire(wait=False)  # before there is a folder that others might take for left over
        except OSError as error:
            self._lock = None
            _log.warning("Files in %s cannot be locked (%s): leftovers stay there.", parent, error.strerror)
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Delete it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock:
            self._lock.remove()
            self._lock = None


def remove_leftovers(parent: Path) -> None:
    """Delete the folders below `parent` of servers that do not run any more."""
    for place in parent.glob(f"{PREFIX}*.lock"):
        lock = FileLock(place)
        try:
            if not lock.acquire(wait=False):
                continue
        except OSError as error:  # of another user, or just deleted by another server that starts
            _log.debug("%s is left alone: %s", place.name, os.strerror(error.errno or 0))
            continue
        shutil.rmtree(place.with_suffix(""), ignore_errors=True)
        lock.remove()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
