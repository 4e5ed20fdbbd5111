"""Session store: results and uploads of each open page, removed on leaving, by age, or by total size."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from app.results import Result
from app.server.answer_files import AnswerFiles
from app.server.memory import held_bytes
from app.server.uploads import UploadLimits, Uploads

current_address: ContextVar[str] = ContextVar("current_address", default="")
"""The client address of the current event."""
current_session: ContextVar[str] = ContextVar("current_session", default="")
"""The session hash of the current event, also in its worker threads."""
current_root: ContextVar[str] = ContextVar("current_root", default="")
"""The address of the page as the caller of the current event sees it, without a slash at the end."""


@dataclass
class Session:
    """One open page: its latest result with its size, and the uploads that are deleted with it.

    `uploads`: path → bytes, least recently used first; `address`: the client address of its first event.
    """

    used: float
    address: str = ""
    result: Result | None = None
    result_bytes: int = 0
    is_shared: bool = False
    uploads: dict[Path, int] = field(default_factory=dict)


class SessionStore:
    """Sessions by their hash; a session is never visible to another user.

    Args:
        upload_root: only files below this folder are ever deleted.
        max_sessions: beyond this number, the least recently used session of the address with most is closed.
        max_mib: beyond this total, the least recently used result of the address with the largest total is
            dropped; its session stays open.
        max_age: seconds after which an unused session is closed.
        keep: files and folders that are never deleted and that every session may use.
        clock: returns seconds.
        limits: limits of uploads.

    Attributes:
        uploads: the files below `upload_root` and their owners.
        answers: the files that the API's answers link to, below the same folder.
    """

    def __init__(
        self,
        upload_root: Path,
        max_sessions: int = 256,
        max_mib: float = 1024.0,
        max_age: float = 3600.0,
        keep: Iterable[Path] = (),
        clock: Callable[[], float] = time.monotonic,
        limits: UploadLimits | None = None,
    ):
        answers = upload_root / "answers"
        self.uploads = Uploads(upload_root, keep, limits, clock, hidden=answers)
        self.answers = AnswerFiles(answers, clock=clock)
        self._max_sessions, self._max_bytes, self._max_age = max_sessions, max_mib * 2**20, max_age
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._holders: Counter[Path] = Counter()  # upload → number of sessions that hold it
        self._on_close: list[Callable[[str], object]] = []
        self._lock = threading.Lock()

    def on_close(self, callback: Callable[[str], object]) -> None:
        """Call `callback` with the hash of every session that is closed."""
        self._on_close.append(callback)

    @property
    def open_sessions(self) -> frozenset[str]:
        """The hashes of the open sessions."""
        with self._lock:
            return frozenset(self._sessions)

    @property
    def result_mib(self) -> float:
        """The size of all results in MiB, including their cached pictures."""
        self.recount()
        with self._lock:
            return self._result_bytes() / 2**20

    def own_file(self, named: str | Path) -> Path | None:
        """The file of this name if the current event's session owns it or it is offered to all; else None."""
        return self.uploads.own(current_session.get(), named)

    def remember_uploads(self, session_hash: str, paths: Iterable[str | Path | None]) -> None:
        """Record uploaded files, so that they are deleted with the session; opens the session if necessary.

        Beyond a session's limits, its least recently used files are deleted at once.
        """
        named = [Path(path) for path in paths if path]
        with self._lock:
            session = self._touch(session_hash)
            for path in named:
                if session.uploads.pop(path, None) is None:
                    self._holders[path] += 1
                session.uploads[path] = self.uploads.use(session_hash, path)
            self._let_go(self._surplus(session, set(named)))
        self.forget_stale()

    def keep_open(self, sessions: Iterable[str]) -> None:
        """Mark those of these sessions that are open as used, because their events wait."""
        with self._lock:
            for session_hash in sessions:
                if session_hash in self._sessions:
                    self._touch(session_hash)

    def keep_result(self, session_hash: str, result: Result, is_shared: bool = False) -> None:
        """Replace the session's result, unless the session was closed during the run.

        is_shared: other sessions hold the same result, so that its size does not count.
        """
        taken = 0 if is_shared else held_bytes(result)
        with self._lock:
            if session_hash not in self._sessions:
                return
            session = self._touch(session_hash)
            session.result, session.result_bytes, session.is_shared = result, taken, is_shared
        self.forget_stale()

    def result(self, session_hash: str) -> Result | None:
        """The session's result, or None if there is none or it was dropped.

        Its size is updated by the pictures drawn since its last use, and other results are dropped if the
        total is too large.
        """
        with self._lock:
            if session_hash not in self._sessions:
                return None
            session = self._touch(session_hash)
            result = session.result
        if result is not None:
            self._count([session])
        return result

    def recount(self) -> None:
        """Update the size of all results, and drop results if the total is too large."""
        with self._lock:
            sessions = list(self._sessions.values())
        self._count(sessions)

    def close(self, session_hash: str) -> None:
        """Remove a session and delete its uploads and the files of its answers."""
        self.answers.end(session_hash)
        with self._lock:
            session = self._sessions.pop(session_hash, None)
            if session is None:
                return
            self._let_go(session.uploads)
        for callback in self._on_close:
            callback(session_hash)

    def forget_stale(self) -> None:
        """Close sessions beyond the maximum age or number, and drop results beyond the maximum size."""
        with self._lock:
            oldest = self._clock() - self._max_age
            stale = [key for key, session in self._sessions.items() if session.used < oldest]
            left = {key: one.address for key, one in self._sessions.items() if key not in stale}
            counts = Counter(left.values())
            while len(left) > self._max_sessions:
                most = max(counts.values())
                key = next(key for key, address in left.items() if counts[address] == most)
                counts[left.pop(key)] -= 1
                stale.append(key)
        for key in stale:
            self.close(key)
        self.answers.forget_stale()
        self.uploads.forget_unused()
        with self._lock:
            self._drop_results()

    def _count(self, sessions: Iterable[Session]) -> None:
        for session in sessions:
            result = session.result
            taken = 0 if session.is_shared else held_bytes(result)  # takes a millisecond
            with self._lock:
                if session.result is result:
                    session.result_bytes = taken
        with self._lock:
            self._drop_results()

    def _drop_results(self) -> None:
        """Drop the least recently used results of the largest addresses; the most recent one always stays."""
        held = [session for session in self._sessions.values() if session.result is not None]
        taken: Counter[str] = Counter()
        for session in held:
            taken[session.address] += session.result_bytes
        while len(held) > 1 and taken.total() > self._max_bytes:
            most = max(taken[session.address] for session in held[:-1])
            session = next(session for session in held if taken[session.address] == most)
            held.remove(session)
            taken[session.address] -= session.result_bytes
            session.result, session.result_bytes = None, 0

    def _result_bytes(self) -> int:
        return sum(session.result_bytes for session in self._sessions.values())

    def _touch(self, session_hash: str) -> Session:
        session = self._sessions.setdefault(session_hash, Session(self._clock(), current_address.get()))
        session.used = self._clock()
        self._sessions.move_to_end(session_hash)
        return session

    def _surplus(self, session: Session, kept: set[Path]) -> list[Path]:
        """Remove from the session's list, and return, the files beyond its limits."""
        limits, gone = self.uploads.limits, []
        held, count = sum(session.uploads.values()), len(session.uploads)
        for path in [path for path in session.uploads if path not in kept]:
            if held <= limits.session_bytes and count <= limits.session_files:
                break
            held, count = held - session.uploads.pop(path), count - 1
            gone.append(path)
        return gone

    def _let_go(self, uploads: Iterable[Path]) -> None:
        """Delete the uploads that no session holds: an API call shares files with its session."""
        gone = []
        for path in uploads:
            self._holders[path] -= 1
            if not self._holders[path]:
                del self._holders[path]
                gone.append(path)
        self.uploads.delete(gone)
