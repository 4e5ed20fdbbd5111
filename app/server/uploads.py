"""Files that visitors sent: whose they are, how much there may be, and when they go."""

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
    """How much may lie on the disk.

    Attributes:
        session_files, session_bytes: of one page; beyond them its longest unused files go.
        address_bytes: of all uploads that came from one address; beyond it that address sends no more.
        total_bytes: of all uploads; beyond it no more are taken.
        min_free_bytes: of the disk, which uploads leave to everything else.
        unused_seconds: after which an upload goes that no page and no call has used.
        waiting_seconds: for so long an event that waits in the queue keeps the uploads that it names.
        idle_seconds: an upload that sends no byte for so long is cut off.
        start_seconds, bytes_per_second: so is one that has not sent this much a second on average, after a
            while in which it may be slower.
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
    """An upload is not taken; the text says why.

    `too_much`: it never would be.
    """

    def __init__(self, said: str, too_much: bool = False):
        super().__init__(said)
        self.too_much = too_much


class Incoming:
    """An upload that comes in; what has come takes room, what was only announced takes none.

    Attributes:
        folder: where its files are written.
    """

    def __init__(self, uploads: Uploads, folder: Path, address: str):
        self.folder, self._uploads, self._address = folder, uploads, address
        self._bytes = 0

    def take(self, count: int) -> None:
        """Note bytes that came; NoRoom if they are too much."""
        self._uploads._reserve(self._address, count)
        self._bytes += count

    def arrive(self, paths: Iterable[str | Path]) -> None:
        """Note the files that came in whole; nobody has used them yet."""
        self._uploads._arrive(self._address, paths)

    def _release(self) -> None:
        self._uploads._reserve(self._address, -self._bytes)


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
        self._on_delete: list[Callable[[Path], object]] = []
        self._lock = threading.Lock()
        self._sizes: dict[Path, int] = {}
        self._owners: dict[Path, str] = {}
        self._addresses: dict[Path, str] = {}
        self._unused: dict[Path, float] = {}  # when it goes, unless it is used
        self._held = 0  # sum of the sizes
        self._coming = 0
        self._by_address: Counter[str] = Counter()  # bytes that lie here or come in

    def on_delete(self, callback: Callable[[Path], object]) -> None:
        """Let `callback` be told every file that was deleted."""
        self._on_delete.append(callback)

    @property
    def total_bytes(self) -> int:
        """Of all uploads, with what has come of those that are coming in."""
        with self._lock:
            return self._held + self._coming

    @contextmanager
    def room(self, announced: int, address: str = "") -> Iterator[Incoming]:
        """A new folder for an upload of so many bytes; it goes if the upload fails.

        Raises:
            NoRoom: it would be too much, now or (of `Incoming.take`) after a part of it.
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
            for path in incoming.folder.rglob("*"):  # an open one would take its room until it is closed
                with suppress(OSError):
                    os.truncate(path, 0)
            shutil.rmtree(incoming.folder, ignore_errors=True)
            raise
        finally:
            incoming._release()

    def keep_waiting(self, session: str, paths: Iterable[str]) -> None:
        """Keep what an event names that waits in the queue: its own session's, or what nobody owns yet."""
        named, goes = set(paths), self._clock() + self.limits.unused_seconds
        with self._lock:
            for path in self._unused:
                if str(path) in named and self._owners.get(path, session) == session:
                    self._unused[path] = goes

    def claim(self, session: str, named: Sequence[str | Path]) -> list[Path] | None:
        """The files that a session names, its own from now on; None if one of them is not to be had.

        To be had are files that are offered, and uploads that no other session claimed; a session without a
        name has none. What lies elsewhere is never looked up on the disk, so that neither the answer nor its
        time tells whether it exists.
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
        """The file that a session names, if it is offered or was claimed by it; this claims nothing."""
        path = self._known(named)
        if path is None or self._is_offered(path):
            return path
        with self._lock:
            return path if session and self._owners.get(path) == session else None

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
                    self._held += self._sizes[resolved]
            return self._sizes.get(resolved, 0)

    def serves(self, named: str | Path) -> bool:
        """Whether anybody who knows its path may fetch a file."""
        return self._known(named) is not None

    def delete(self, paths: Iterable[Path]) -> None:
        """Delete files, and the folders that they leave empty; not what lies elsewhere, or is offered."""
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
            with suppress(OSError):  # another upload lies there
                while (resolved := resolved.parent) != self.root:
                    resolved.rmdir()

    def forget_unused(self) -> None:
        """Delete what came in and was not used in time."""
        now = self._clock()
        with self._lock:
            stale = [path for path, goes in self._unused.items() if goes <= now]
        self.delete(stale)

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
        """The one name of a file that lies below the root or is offered, None of any other.

        Only what does so by its name alone is looked up, for links that lead elsewhere.
        """
        try:
            path = Path(os.path.abspath(named))
            if not self._is_inside(path):
                return None
            path = path.resolve()
        except (OSError, ValueError, RuntimeError):  # no name of a file, or links that lead in a circle
            return None
        return path if self._is_inside(path) else None

    def _is_inside(self, path: Path) -> bool:
        return self.root in path.parents or self._is_offered(path)

    def _is_offered(self, path: Path) -> bool:
        return any(path == offered or offered in path.parents for offered in self._offered)
