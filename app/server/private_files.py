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

    def write(self, session: str, name: str, data: bytes) -> Path:
        """Write a file; it replaces the session's earlier file of the same name."""
        secret = hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()
        path = self._folder / f"export-{secret[:32]}" / name
        self._store.remember_uploads(session, [path])
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, lambda temporary: temporary.write_bytes(data))
        return path
