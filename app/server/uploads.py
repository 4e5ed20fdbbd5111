"""Files that visitors sent: whose they are, how much there may be, and when they go."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ktb.inputs.limits import MAX_FILE_BYTES

_NAME = re.compile(rb"[0-9a-f]{32}")  # of an upload's folder


@dataclass(frozen=True)
class UploadLimits:
    """How much may lie on the disk.

    Attributes:
        session_files, session_bytes: of one page; beyond them its longest unused files go.
        total_bytes: of all uploads; beyond it no more are taken.
        min_free_bytes: of the disk, which uploads leave to everything else.
        unused_seconds: after which an upload goes that no page and no call has named.
        waiting_seconds: the same for one that a waiting call has named.
    """

    session_files: int = 64
    session_bytes: int = 3 * MAX_FILE_BYTES
    total_bytes: int = 16 * MAX_FILE_BYTES
    min_free_bytes: int = 256 * 2**20
    unused_seconds: float = 300.0
    waiting_seconds: float = 2 * 3600.0


class NoRoom(Exception):
    """An upload is not taken; the text says why.

    `too_much`: it never would be.
    """

    def __init__(self, said: str, too_much: bool = False):
        super().__init__(said)
        self.too_much = too_much


class Uploads:
    """The files below a folder. Each belongs to the session that named it first; no other can name it.

    Args:
        root: only files below it are ever deleted.
        offered: files and folders that everybody may name and fetch; they are never deleted.
        limits: see `UploadLimits`.
        clock: tells the seconds.
    """

    def __init__(
        self,
        root: Path,
        offered: Iterable[Path] = (),
        limits: UploadLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.root, self.limits = root.resolve(), limits or UploadLimits()
        self._offered = [path.resolve() for path in offered]
        self._clock = clock
        self._lock = threading.Lock()
        self._sizes: dict[Path, int] = {}
        self._owners: dict[Path, str] = {}
        self._unused: dict[Path, float] = {}  # when it goes, unless it is used
        self._coming = 0

    @property
    def total_bytes(self) -> int:
        """Of all uploads, with those that are coming in."""
        with self._lock:
            return sum(self._sizes.values()) + self._coming

    @contextmanager
    def room(self, coming: int) -> Iterator[Path]:
        """A new folder for an upload of so many bytes; it goes if the upload fails.

        Raises:
            NoRoom: it would be too much.
        """
        self._require_room(coming)
        folder = self.root / secrets.token_hex(16)
        try:
            folder.mkdir(mode=0o700)
            yield folder
        except BaseException:
            for path in folder.rglob("*"):  # one that is still open would take its room until it is closed
                with suppress(OSError):
                    os.truncate(path, 0)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._lock:
                self._coming -= coming

    def arrive(self, paths: Iterable[str | Path]) -> None:
        """Note files that came in and that nobody has used yet."""
        goes = self._clock() + self.limits.unused_seconds
        with self._lock:
            for path in (Path(path).resolve() for path in paths):
                self._sizes[path] = path.stat().st_size
                self._unused[path] = goes

    def wait_for(self, call: bytes) -> None:
        """Keep what a call names for as long as it may have to wait."""
        goes = self._clock() + self.limits.waiting_seconds
        named = set(_NAME.findall(call))
        with self._lock:
            for path in self._unused:
                if path.relative_to(self.root).parts[0].encode() in named:
                    self._unused[path] = goes

    def start(self, paths: Iterable[str]) -> None:
        """Note that the call that names these files waits no longer: it uses them now, or never."""
        named, goes = set(paths), self._clock() + self.limits.unused_seconds
        with self._lock:
            for path in self._unused:
                if str(path) in named:
                    self._unused[path] = goes

    def claim(self, session: str, path: Path) -> bool:
        """Whether a session may use a file: it is offered to all, or nobody else was before it."""
        path = path.resolve()
        if self._is_offered(path):
            return True
        if self.root not in path.parents or not path.is_file():
            return False
        with self._lock:
            return self._owners.setdefault(path, session) == session

    def use(self, session: str, path: Path) -> int:
        """Note that a session uses a file, which is its own from now on; the file's bytes, 0 if not below."""
        resolved = path.resolve()
        if self.root not in resolved.parents or self._is_offered(resolved):
            return 0
        with self._lock:
            self._owners.setdefault(resolved, session)
            self._unused.pop(resolved, None)
            if resolved not in self._sizes:
                with suppress(OSError):  # is only about to be written
                    self._sizes[resolved] = resolved.stat().st_size
            return self._sizes.get(resolved, 0)

    def serves(self, path: Path) -> bool:
        """Whether anybody who knows its path may fetch a file."""
        path = path.resolve()
        return self._is_offered(path) or self.root in path.parents

    def delete(self, paths: Iterable[Path]) -> None:
        """Delete files, and the folders that they leave empty; not what lies elsewhere, or is offered."""
        for path in paths:
            resolved = path.resolve()
            if self.root not in resolved.parents or self._is_offered(resolved):
                continue
            with self._lock:
                for known in (self._sizes, self._owners, self._unused):
                    known.pop(resolved, None)
            resolved.unlink(missing_ok=True)
            with suppress(OSError):  # another upload lies there
                while (resolved := resolved.parent) != self.root:
                    resolved.rmdir()

    def forget_unused(self) -> None:
        """Delete what came in and was not used in time."""
        now = self._clock()
        with self._lock:
            stale = [path for path, goes in self._unused.items() if goes <= now]
        self.delete(stale)

    def _require_room(self, coming: int) -> None:
        limits = self.limits
        if coming > limits.session_bytes:
            raise NoRoom(f"At most {limits.session_bytes >> 20:,} MiB may be sent at once.", too_much=True)
        free = shutil.disk_usage(self.root).free
        with self._lock:
            held = sum(self._sizes.values()) + self._coming
            if held + coming > limits.total_bytes or free < coming + limits.min_free_bytes:
                raise NoRoom(
                    "The server has no room for this file now. Files of pages that are closed make room: try "
                    "again in a few minutes."
                )
            self._coming += coming

    def _is_offered(self, path: Path) -> bool:
        return any(path == offered or offered in path.parents for offered in self._offered)
