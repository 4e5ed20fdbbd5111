"""A lock between processes, released when its process ends in any way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock


class FileLock:
    """A lock held by at most one process, during the object's lifetime; the file's existence has no meaning.

    Raises OSError if the file cannot be created or locked. On a file system without locks, filelock uses the
    file's existence as the lock.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = filelock.FileLock(path, thread_local=False)  # any thread may release the lock

    def acquire(self, wait: bool = True, timeout: float | None = None) -> bool:
        """Acquire the lock; returns False if another process still holds it after the wait.

        Args:
            wait: False: not at all.
            timeout: seconds to wait; None: no limit.
        """
        try:
            self._lock.acquire(timeout=(-1 if timeout is None else timeout) if wait else 0)
        except filelock.Timeout:
            return False
        return True

    def release(self) -> None:
        """Release the lock."""
        self._lock.release()

    def remove(self) -> None:
        """Delete the file and release the lock, for locks whose name is not used again."""
        with suppress(OSError):  # Windows cannot delete open files
            self.path.unlink()
        self.release()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Context that waits for the lock and holds it."""
    lock = FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
