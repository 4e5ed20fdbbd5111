"""A lock between processes that ends with its process, however that ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import filelock


class FileLock:
    """Held by at most one process, as long as the object lives; the file itself means nothing.

    Raises OSError where the file cannot be made or locked. On a file system without locks filelock makes the
    file itself the lock.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = filelock.FileLock(path, thread_local=False)  # any thread may release it

    def acquire(self, wait: bool = True) -> bool:
        """Whether the lock is held now; without `wait` False if another has it."""
        try:
            self._lock.acquire(timeout=-1 if wait else 0)
        except filelock.Timeout:
            return False
        return True

    def release(self) -> None:
        """Let others have it."""
        self._lock.release()

    def remove(self) -> None:
        """Delete the file and let go of it: for locks whose name nobody uses again."""
        with suppress(OSError):  # an open file stays on Windows
            self.path.unlink()
        self.release()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock, and hold it."""
    lock = FileLock(path)
    lock.acquire()
    try:
        yield
    finally:
        lock.release()
