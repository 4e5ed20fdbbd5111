"""Unread responses: size and age limits, with large responses stored in files."""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
from gradio.server_messages import ProcessCompletedMessage, ProcessGeneratingMessage
from pydantic import PrivateAttr

LARGE_BYTES = 256 * 2**10
"""Size in bytes beyond which a response is stored in a file."""
UNREAD_SECONDS = 300.0
ADDRESS_BYTES = 128 * 2**20
"""Maximum total of unread responses to one address, beyond a single larger one: arrays of 12 megapixels."""
TOTAL_BYTES = 512 * 2**20
SESSION_BYTES = 512 * 2**10
"""Added per session with unread responses: Gradio keeps 2,000 sessions, then it drops the oldest."""
_log = logging.getLogger(__name__)
Message = TypeVar("Message", ProcessCompletedMessage, ProcessGeneratingMessage)


@dataclass
class _Unread:
    address: str
    since: float
    count: int = 0
    files: list[Path] = field(default_factory=list)


class UnreadAnswers:
    """Responses to sessions that may not have been read; dropping a session deletes its files.

    Args:
        folder: the folder of the files.
        clock: returns seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic):
        self._folder, self._clock = folder, clock
        self._held: OrderedDict[str, _Unread] = OrderedDict()
        self._by_address: Counter[str] = Counter()

    @property
    def sessions(self) -> list[str]:
        """The sessions with unread responses, the one with the oldest first."""
        return list(self._held)

    @property
    def is_full(self) -> bool:
        """Whether a limit is exceeded, so that sessions must be dropped."""
        return self._is_total_full or any(count > ADDRESS_BYTES for count in self._by_address.values())

    @property
    def _is_total_full(self) -> bool:
        return self._by_address.total() > TOTAL_BYTES

    def keep(self, session: str, address: str, response: bytes) -> Path | None:
        """Store a response (JSON); a large one is written to the returned file, if the disk has room."""
        if session not in self._held:
            self._held[session] = _Unread(address, self._clock(), SESSION_BYTES)
            self._by_address[address] += SESSION_BYTES
        held = self._held[session]
        held.count += len(response)
        self._by_address[held.address] += len(response)
        if len(response) < LARGE_BYTES:
            return None
        path = self._folder / f"response-{secrets.token_hex(16)}.json"
        try:
            path.write_bytes(response)
        except OSError as error:  # a full disk must not keep the response from the caller who waits for it
            _log.warning("A large response stays in memory, as it cannot be written: %s.", error.strerror)
            path.unlink(missing_ok=True)
            return None
        held.files.append(path)
        return path

    def note_read(self, session: str) -> None:
        """Record that a session has no unread response; the file of one that is being read remains."""
        if held := self._held.get(session):
            held.files = [path for path in held.files if path.exists()]
            if not held.files:
                self.drop(session)

    def drop(self, session: str) -> None:
        """Drop a session's responses, read or not."""
        if held := self._held.pop(session, None):
            self._by_address[held.address] -= held.count
            if not self._by_address[held.address]:
                del self._by_address[held.address]
            for path in held.files:
                path.unlink(missing_ok=True)

    def surplus(self, spared: str | None = None) -> Iterator[str]:
        """Sessions to drop in order: those that are too old, then those beyond the size limits.

        Of the address with the most unread responses, the oldest session is dropped first. A limit of an
        address drops neither its newest session nor the session `spared`, whose response has only just
        been kept: one response may be larger than the limit, and its reader may be waiting.
        """
        oldest = self._clock() - UNREAD_SECONDS
        yield from [session for session, held in self._held.items() if held.since < oldest]
        for address in sorted(self._by_address, key=self._by_address.__getitem__, reverse=True):
            sessions = [name for name, held in self._held.items() if held.address == address]
            for session in sessions:
                too_much = session != sessions[-1] and self._by_address[address] > ADDRESS_BYTES
                if session != spared and (too_much or self._is_total_full):
                    yield session


def in_file(message: Message, path: Path) -> Message:
    """A message without its output, which is read from the file (once) when the message is sent."""
    kind = _StoredEnd if isinstance(message, ProcessCompletedMessage) else _StoredStep
    stored = kind(**message.model_copy(update={"output": {}}).model_dump())
    stored._path = path
    return stored  # type: ignore[return-value]


class _Stored:
    """A mixin for messages whose output is stored in a file."""

    _path: Path = PrivateAttr()

    def model_dump(self, **options: Any) -> dict[str, Any]:
        dumped = super().model_dump(**options)  # type: ignore[misc]
        try:
            dumped["output"] = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:  # the response was dropped meanwhile
            dumped["output"], dumped["success"] = {"error": "This response was not fetched in time."}, False
        self._path.unlink(missing_ok=True)
        return dumped


class _StoredEnd(_Stored, ProcessCompletedMessage):
    pass


class _StoredStep(_Stored, ProcessGeneratingMessage):
    pass
