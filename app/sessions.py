"""What the server keeps for each open page, and how it forgets: on leaving, by age, or when too much."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.memory import held_bytes
from app.service import Result


@dataclass
class Session:
    """One open page: its latest result, what that takes, and the uploads that must go with it."""

    used: float
    result: Result | None = None
    result_bytes: int = 0
    uploads: set[Path] = field(default_factory=set)


class SessionStore:
    """Sessions by their hash; one user's session is never handed to another.

    Args:
        upload_root: only files below this folder are ever deleted.
        max_sessions: when more are open, the longest unused is forgotten.
        max_mib: when all results together take more, the longest unused result goes; its session stays.
        max_age: seconds after which an unused session is forgotten.
        keep: files that are never deleted, wherever they lie.
        clock: tells the seconds.
    """

    def __init__(
        self,
        upload_root: Path,
        max_sessions: int = 256,
        max_mib: float = 1024.0,
        max_age: float = 3600.0,
        keep: Iterable[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ):
        self._upload_root = upload_root.resolve()
        self._max_sessions, self._max_bytes, self._max_age = max_sessions, max_mib * 2**20, max_age
        self._keep = {path.resolve() for path in keep}
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def open_sessions(self) -> frozenset[str]:
        """The hashes of the sessions that are open."""
        with self._lock:
            return frozenset(self._sessions)

    @property
    def result_mib(self) -> float:
        """What the results of all sessions take, in MiB."""
        with self._lock:
            return self._result_bytes() / 2**20

    def remember_uploads(self, session_hash: str, paths: Iterable[str | Path | None]) -> None:
        """Note uploaded files, so that they are deleted with the session; this opens one that is not open."""
        with self._lock:
            self._touch(session_hash).uploads.update(Path(path) for path in paths if path)
        self.forget_stale()

    def keep_result(self, session_hash: str, result: Result) -> None:
        """Replace the session's result, unless the session was closed while it was made."""
        taken = held_bytes(result)
        with self._lock:
            if session_hash not in self._sessions:
                return
            session = self._touch(session_hash)
            session.result, session.result_bytes = result, taken
        self.forget_stale()

    def result(self, session_hash: str) -> Result | None:
        """The session's result, or None if it has none or was forgotten."""
        with self._lock:
            if session_hash not in self._sessions:
                return None
            return self._touch(session_hash).result

    def close(self, session_hash: str) -> None:
        """Forget a session and delete its uploads."""
        with self._lock:
            session = self._sessions.pop(session_hash, None)
            if session is None:
                return
            # Equal uploads of two users are one file: it goes with the last of them.
            self._delete(session.uploads.difference(*(other.uploads for other in self._sessions.values())))

    def forget_stale(self) -> None:
        """Close sessions that are too old or too many, and drop results that take too much."""
        with self._lock:
            oldest = self._clock() - self._max_age
            stale = [key for key, session in self._sessions.items() if session.used < oldest]
            surplus = max(0, len(self._sessions) - len(stale) - self._max_sessions)
            stale += [key for key in self._sessions if key not in stale][:surplus]
        for key in stale:
            self.close(key)
        with self._lock:
            self._drop_results()

    def _drop_results(self) -> None:
        """The longest unused first; the latest used one stays, however large it is."""
        excess = self._result_bytes() - self._max_bytes
        for session in [held for held in self._sessions.values() if held.result is not None][:-1]:
            if excess <= 0:
                return
            excess -= session.result_bytes
            session.result, session.result_bytes = None, 0

    def _result_bytes(self) -> int:
        return sum(session.result_bytes for session in self._sessions.values())

    def _touch(self, session_hash: str) -> Session:
        session = self._sessions.setdefault(session_hash, Session(self._clock()))
        session.used = self._clock()
        self._sessions.move_to_end(session_hash)
        return session

    def _delete(self, uploads: set[Path]) -> None:
        for path in uploads:
            resolved = path.resolve()
            if self._upload_root in resolved.parents and resolved not in self._keep:
                resolved.unlink(missing_ok=True)
                if resolved.parent != self._upload_root:
                    with suppress(OSError):  # another upload lies there
                        resolved.parent.rmdir()
