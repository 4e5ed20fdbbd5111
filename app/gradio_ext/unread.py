"""Answers that nobody has read yet: how much they take, how long they stay, and large ones in files."""

from __future__ import annotations

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
"""An answer that is longer lies in a file."""
UNREAD_SECONDS = 300.0
ADDRESS_BYTES = 128 * 2**20
"""Of all unread answers to one address; the longest answer, of a recording, has about 90 MiB."""
TOTAL_BYTES = 512 * 2**20
Message = TypeVar("Message", ProcessCompletedMessage, ProcessGeneratingMessage)


@dataclass
class _Unread:
    address: str
    since: float
    count: int = 0
    files: list[Path] = field(default_factory=list)


class UnreadAnswers:
    """What was answered to sessions and may not have been read; dropping a session deletes its files.

    Args:
        folder: for the files.
        clock: tells the seconds.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic):
        self._folder, self._clock = folder, clock
        self._held: OrderedDict[str, _Unread] = OrderedDict()
        self._by_address: Counter[str] = Counter()

    @property
    def sessions(self) -> list[str]:
        """That have answers here, the one with the oldest first."""
        return list(self._held)

    @property
    def is_full(self) -> bool:
        """Whether there is more than there may be, so that some has to go."""
        return self._by_address.total() > TOTAL_BYTES or any(
            count > ADDRESS_BYTES for count in self._by_address.values()
        )

    def keep(self, session: str, address: str, answer: bytes) -> Path | None:
        """Note an answer (JSON); a large one is written to the file that is returned."""
        held = self._held.setdefault(session, _Unread(address, self._clock()))
        held.count += len(answer)
        self._by_address[held.address] += len(answer)
        if len(answer) < LARGE_BYTES:
            return None
        path = self._folder / f"answer-{secrets.token_hex(16)}.json"
        path.write_bytes(answer)
        held.files.append(path)
        return path

    def note_read(self, session: str) -> None:
        """Note that no answer waits for a session; one that is being read still has its file."""
        if held := self._held.get(session):
            held.files = [path for path in held.files if path.exists()]
            if not held.files:
                self.drop(session)

    def drop(self, session: str) -> None:
        """Forget a session's answers, read or not."""
        if held := self._held.pop(session, None):
            self._by_address[held.address] -= held.count
            if not self._by_address[held.address]:
                del self._by_address[held.address]
            for path in held.files:
                path.unlink(missing_ok=True)

    def surplus(self) -> Iterator[str]:
        """Sessions to drop, one after the other: those that are too old, then the oldest of who has most."""
        oldest = self._clock() - UNREAD_SECONDS
        yield from [session for session, held in self._held.items() if held.since < oldest]
        while self.is_full and len(self._held) > 1:
            most = max(self._by_address, key=self._by_address.__getitem__)
            yield next(session for session, held in self._held.items() if held.address == most)


def in_file(message: Message, path: Path) -> Message:
    """The message without its output, which is read from the file (once) when it is sent."""
    kind = _StoredEnd if isinstance(message, ProcessCompletedMessage) else _StoredStep
    stored = kind(**message.model_copy(update={"output": {}}).model_dump())
    stored._path = path
    return stored  # type: ignore[return-value]


class _Stored:
    """Adds to a message that its output lies in a file."""

    _path: Path = PrivateAttr()

    def model_dump(self, **options: Any) -> dict[str, Any]:
        told = super().model_dump(**options)  # type: ignore[misc]
        try:
            told["output"] = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:  # it was dropped meanwhile
            told["output"], told["success"] = {"error": "This answer was not fetched in time."}, False
        self._path.unlink(missing_ok=True)
        return told


class _StoredEnd(_Stored, ProcessCompletedMessage):
    pass


class _StoredStep(_Stored, ProcessGeneratingMessage):
    pass
