"""Files that the server writes for one session: in a folder with a secret name, deleted with the session."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

from app.server.sessions import SessionStore
from ktb.utils.files import write_atomically


class PrivateFiles:
    """Writes files for sessions.

    Args:
        folder: the server's folder.
        store: records every file, so that it is served to its session only and deleted with it.
    """

    def __init__(self, folder: Path, store: SessionStore):
        self._folder, self._store = folder, store
        self._key = secrets.token_bytes(32)

    def write_if_open(self, session: str, name: str, data: bytes) -> Path | None:
        """As `write` for an open session; None for one that was closed meanwhile."""
        return self.write(session, name, data) if session in self._store.open_sessions else None

    def write(self, session: str, name: str, data: bytes) -> Path:
        """Write a file; it replaces the session's earlier file of the same name."""
        secret = hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()
        path = self._folder / f"export-{secret[:32]}" / name
        self._store.remember_uploads(session, [path])
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, lambda temporary: temporary.write_bytes(data))
        if session not in self._store.open_sessions:  # closed meanwhile, before there was a file to delete
            path.unlink(missing_ok=True)
        return path
