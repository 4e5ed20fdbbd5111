"""A lock between processes that ends with its process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if os.name == "nt":
    import msvcrt
else:
    import fcntl


class FileLock:
    """Held by at most one process; the file itself means nothing.

    Raises OSError where the file cannot be made, or the file system has no locks.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None

    def acquire(self, wait: bool = True) -> bool:
        """Whether the lock is held now; without `wait` False if another has it."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file, wait)
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            os.close(self._file)  # which unlocks
            self._file = None

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


def _lock(file: int, wait: bool) -> None:
    """BlockingIOError if another process has it and nobody waits."""
    if os.name != "nt":
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return
    while True:
        try:
            msvcrt.locking(file, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            return
        except OSError as error:  # LK_LOCK gives up after ten seconds
            if not wait:
                raise BlockingIOError from error
