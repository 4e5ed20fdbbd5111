"""What the server keeps for each open page, and how it forgets: on leaving, by age, or when too many."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from app.service import Result


@dataclass
class Session:
    """One open page: its latest result and the uploads that must go with it."""

    result: Result | None = None
    uploads: set[Path] = field(default_factory=set)
    used: float = field(default_factory=time.monotonic)


class SessionStore:
    """Sessions by their hash; one user's session is never handed to another.

    Args:
        upload_root: only files below this folder are ever deleted.
        max_sessions: when more are open, the longest unused is forgotten.
        max_age: seconds after which an unused session is forgotten.
        keep: files that are never deleted, wherever they lie.
    """

    def __init__(
        self,
        upload_root: Path,
        max_sessions: int = 64,
        max_age: float = 3600.0,
        keep: Iterable[Path] = (),
    ):
        self._upload_root = upload_root.resolve()
        self._max_sessions, self._max_age = max_sessions, max_age
        self._keep = {path.resolve() for path in keep}
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def remember_uploads(self, session_hash: str, paths: Iterable[str | Path | None]) -> None:
        """Note uploaded files, so that they are deleted with the session."""
        with self._lock:
            self._touch(session_hash).uploads.update(Path(path) for path in paths if path)
        self.forget_stale()

    def keep_result(self, session_hash: str, result: Result) -> None:
        """Replace the session's result."""
        with self._lock:
            self._touch(session_hash).result = result
        self.forget_stale()

    def result(self, session_hash: str) -> Result | None:
        """The session's result, or None if it has none or was forgotten."""
        with self._lock:
            session = self._sessions.get(session_hash)
            if session is None:
                return None
            return self._touch(session_hash).result

    def close(self, session_hash: str) -> None:
        """Forget a session and delete its uploads."""
        with self._lock:
            session = self._sessions.pop(session_hash, None)
            # Equal uploads of two users are one file: it goes with the last of them.
            in_use = set().union(*(other.uploads for other in self._sessions.values()))
            if session is not None:
                self._delete(session.uploads - in_use)

    def forget_stale(self) -> None:
        """Close sessions that are too old or too many."""
        with self._lock:
            oldest = time.monotonic() - self._max_age
            stale = [key for key, session in self._sessions.items() if session.used < oldest]
            surplus = max(0, len(self._sessions) - len(stale) - self._max_sessions)
            stale += [key for key in self._sessions if key not in stale][:surplus]
        for key in stale:
            self.close(key)

    def _touch(self, session_hash: str) -> Session:
        session = self._sessions.setdefault(session_hash, Session())
        session.used = time.monotonic()
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
