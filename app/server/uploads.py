"""Uploaded files: ownership, limits, and deletion."""

from __future__ import annotations

import os
import secrets
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ktb.inputs.limits import MAX_FILE_BYTES

NOT_HERE = "a file is not here, or not any more. Upload it (again); other files of this machine are not read."


@dataclass(frozen=True)
class UploadLimits:
    """Limits of uploads on disk.

    Attributes:
        session_files, session_bytes: per page; beyond them, its least recently used files are deleted.
        address_bytes: all uploads of one address; beyond it, the address's uploads are refused.
        total_bytes: all uploads; beyond it, uploads are refused.
        min_free_bytes: free disk space that uploads must leave.
        unused_seconds: time after which an upload that no page and no call has used is deleted.
        waiting_seconds: time for which an event in the queue keeps the uploads that it names.
        idle_seconds: an upload without a byte for this time is aborted.
        start_seconds, bytes_per_second: minimum average rate of an upload after an initial period; a slower
            one is aborted.
    """

    session_files: int = 64
    session_bytes: int = 3 * MAX_FILE_BYTES
    address_bytes: int = 4 * MAX_FILE_BYTES
    total_bytes: int = 16 * MAX_FILE_BYTES
    min_free_bytes: int = 256 * 2**20
    unused_seconds: float = 300.0
    waiting_seconds: float = 2 * 3600.0
    idle_seconds: float = 20.0
    start_seconds: float = 60.0
    bytes_per_second: float = 64 * 2**10


class NoRoom(Exception):
    """An upload is refused; the message gives the reason.

    `too_much`: whether it exceeds a limit of its own, so that trying again cannot help.
    """

    def __init__(self, message: str, too_much: bool = False):
        super().__init__(message)
        self.too_much = too_much


class Incoming:
    """An upload in progress; received bytes count against the limits, announced ones do not.

    Attributes:
        folder: the folder of its files.
    """

    def __init__(self, uploads: Uploads, folder: Path, address: str):
        self.folder, self._uploads, self._address = folder, uploads, address
        self._bytes = 0

    def take(self, count: int) -> None:
        """Count received bytes; NoRoom if they exceed a limit."""
        self._uploads._reserve(self._address, count)
        self._bytes += count

    def arrive(self, paths: Iterable[str | Path]) -> None:
        """Record the completely received files, which nobody has used yet."""
        self._uploads._arrive(self._address, paths)

    def _release(self) -> None:
        self._uploads._reserve(self._address, -self._bytes)


class Uploads:
    """The files below a folder. Each belongs to the session that first names it; no other may name it.

    Args:
        root: only files below it are ever deleted.
        offered: files and folders that every session may name and fetch; they are never deleted.
        limits: see `UploadLimits`.
        clock: returns seconds.
        hidden: a folder below root whose files are no uploads: no session may name or fetch them here.
    """

    def __init__(
        self,
        root: Path,
        offered: Iterable[Path] = (),
        limits: UploadLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
        hidden: Path | None = None,
    ):
        self.root, self.limits = root.resolve(), limits or UploadLimits()
        self._hidden = hidden and self.root / hidden.name
        self._offered = [path.resolve() for path in offered]
        self._clock = clock
        self._on_delete: list[Callable[[Path], object]] = []
        self._lock = threading.Lock()
        self._sizes: dict[Path, int] = {}
        self._owners: dict[Path, str] = {}
        self._addresses: dict[Path, str] = {}
        self._unused: dict[Path, float] = {}  # file → time of its deletion unless it is used
        self._held = 0  # sum of the sizes
        self._coming = 0
        self._by_address: Counter[str] = Counter()  # stored and incoming bytes

    def on_delete(self, callback: Callable[[Path], object]) -> None:
        """Call `callback` with every file that is deleted."""
        self._on_delete.append(callback)

    @property
    def total_bytes(self) -> int:
        """Bytes of all uploads, including the received part of those in progress."""
        with self._lock:
            return self._held + self._coming

    @contextmanager
    def room(self, announced: int, address: str = "") -> Iterator[Incoming]:
        """A new folder for an upload of `announced` bytes; it is deleted if the upload fails.

        Raises:
            NoRoom: the upload would exceed a limit, now or (from `Incoming.take`) after a part of it.
        """
        if announced > self.limits.session_bytes:
            most = self.limits.session_bytes >> 20
            raise NoRoom(f"At most {most:,} MiB may be sent at once.", too_much=True)
        self._check_room(address, announced)
        incoming = Incoming(self, self.root / secrets.token_hex(16), address)
        try:
            incoming.folder.mkdir(mode=0o700)
            yield incoming
        except BaseException:
            for path in incoming.folder.rglob("*"):  # an open file would occupy the disk until it is closed
                with suppress(OSError):
                    os.truncate(path, 0)
            shutil.rmtree(incoming.folder, ignore_errors=True)
            raise
        finally:
            incoming._release()

    def keep_waiting(self, session: str, paths: Iterable[str]) -> None:
        """Keep the files named by an event in the queue: those of its session, or without an owner."""
        named, goes = set(paths), self._clock() + self.limits.unused_seconds
        with self._lock:
            for path in self._unused:
                if str(path) in named and self._owners.get(path, session) == session:
                    self._unused[path] = goes

    def claim(self, session: str, named: Sequence[str | Path]) -> list[Path] | None:
        """Claim the files that a session names; None if one of them is not available to it.

        Available are offered files, and uploads that no other session claimed; nothing is available to a
        session without a name. Other paths are never looked up on disk, so that neither the response nor its
        time reveals whether they exist.
        """
        paths = [self._known(name) for name in named]
        found = [path for path in paths if path is not None]
        uploads = [path for path in found if not self._is_offered(path)]
        if len(found) < len(paths) or (uploads and not session) or not all(map(Path.is_file, uploads)):
            return None
        with self._lock:
            if any(self._owners.get(path, session) != session for path in uploads):
                return None
            self._owners.update(dict.fromkeys(uploads, session))
        return found

    def own(self, session: str, named: str | Path) -> Path | None:
        """The file that a session names if it is offered or claimed by it, without claiming it."""
        path = self._known(named)
        if path is None or self._is_offered(path):
            return path
        with self._lock:
            return path if session and self._owners.get(path) == session else None

    def use(self, session: str, path: Path) -> int:
        """Record that a session uses, and thereby owns, a file; returns its bytes, 0 for one elsewhere."""
        resolved = path.resolve()
        if self.root not in resolved.parents or self._is_offered(resolved):
            return 0
        with self._lock:
            self._owners.setdefault(resolved, session)
            self._unused.pop(resolved, None)
            if resolved not in self._sizes:
                with suppress(OSError):  # not written yet
                    self._sizes[resolved] = resolved.stat().st_size
                    self._held += self._sizes[resolved]
            return self._sizes.get(resolved, 0)

    def serves(self, named: str | Path) -> bool:
        """Whether a file may be fetched by everyone who knows its path."""
        return self._known(named) is not None

    def delete(self, paths: Iterable[Path]) -> None:
        """Delete files and folders that become empty; ignores files elsewhere, and offered ones."""
        for path in paths:
            resolved = path.resolve()
            if self.root not in resolved.parents or self._is_offered(resolved):
                continue
            with self._lock:
                size, address = self._sizes.pop(resolved, 0), self._addresses.pop(resolved, None)
                self._held -= size
                if address is not None:
                    self._count(address, -size)
                for known in (self._owners, self._unused):
                    known.pop(resolved, None)
            resolved.unlink(missing_ok=True)
            for callback in self._on_delete:
                callback(resolved)
            with suppress(OSError):  # it contains another upload
                while (resolved := resolved.parent) != self.root:
                    resolved.rmdir()

    def forget_unused(self) -> None:
        """Delete uploads that were not used in time."""
        now = self._clock()
        with self._lock:
            stale = [path for path, goes in self._unused.items() if goes <= now]
        self.delete(stale)

    def require_disk(self) -> None:
        """ValueError with a remedy if the disk has no room for any upload."""
        free, least = shutil.disk_usage(self.root).free, self.limits.min_free_bytes
        if free <= least:
            raise ValueError(
                f"{self.root} has {free >> 20:,} MiB free, and the page keeps {least >> 20:,} MiB free: free "
                "some, or let GRADIO_TEMP_DIR name a folder on another disk."
            )

    def _arrive(self, address: str, paths: Iterable[str | Path]) -> None:
        goes = self._clock() + self.limits.unused_seconds
        with self._lock:
            for path in (Path(path).resolve() for path in paths):
                size = self._sizes[path] = path.stat().st_size
                self._unused[path], self._addresses[path] = goes, address
                self._held += size
                self._count(address, size)

    def _check_room(self, address: str, coming: int) -> None:
        limits = self.limits
        free = shutil.disk_usage(self.root).free
        with self._lock:
            if self._by_address[address] + coming > limits.address_bytes:
                raise NoRoom(
                    f"Uploads from your address may take {limits.address_bytes >> 20:,} MiB together. Close "
                    "pages that you do not need, or try again in a few minutes."
                )
            held = self._held + self._coming
            if held + coming > limits.total_bytes or free < coming + limits.min_free_bytes:
                raise NoRoom(
                    "The server has no room for this file now. Files of pages that are closed make room: try "
                    "again in a few minutes."
                )

    def _reserve(self, address: str, count: int) -> None:
        if count > 0:
            self._check_room(address, count)
        with self._lock:
            self._coming += count
            self._count(address, count)

    def _count(self, address: str, count: int) -> None:
        self._by_address[address] += count
        if not self._by_address[address]:
            del self._by_address[address]

    def _known(self, named: str | Path) -> Path | None:
        """The resolved path of a file below the root or offered; None for any other.

        Only a path that lies there by name is resolved on disk, to detect links that lead elsewhere.
        """
        try:
            path = Path(os.path.abspath(named))
            if not self._is_inside(path):
                return None
            path = path.resolve()
        except (OSError, ValueError, RuntimeError):  # an invalid file name, or a loop of links
            return None
        return path if self._is_inside(path) else None

    def _is_inside(self, path: Path) -> bool:
        if self._hidden and self._hidden in (path, *path.parents):
            return False
        return self.root in path.parents or self._is_offered(path)

    def _is_offered(self, path: Path) -> bool:
        return any(path == offered or offered in path.parents for offered in self._offered)
