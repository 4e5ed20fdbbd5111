"""Files that the API's answers link to: below unguessable addresses, for some minutes, bounded in size."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

LEAST_BYTES = 64 * 2**10
"""Counted for an answer besides its files, so that the number of answers is limited, too."""
NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
ENDED = "the session of this call has ended, so the files of its answer are not kept."


@dataclass(frozen=True)
class AnswerLimits:
    """Limits of linked files.

    Attributes:
        seconds: lifetime of the files of an answer.
        address_bytes, total_bytes: of one address, and in all; beyond them, the oldest answers of the address
            that has most are deleted. The newest answer of an address is not deleted for its address's limit.
        min_free_bytes: free disk space that the files must leave.
    """

    seconds: float = 600.0
    address_bytes: int = 256 * 2**20
    total_bytes: int = 2**30
    min_free_bytes: int = 256 * 2**20


@dataclass(eq=False)
class Answer:
    """The files of one answer.

    Attributes:
        key: 128 random bits in hexadecimal, the name of its folder and the secret part of its addresses.
        session, address: the caller's.
        goes: time of its deletion.
        bytes: of its files, and what every answer counts.
        files: name → path.
    """

    key: str
    session: str
    address: str
    goes: float
    bytes: int = LEAST_BYTES
    files: dict[str, Path] = field(default_factory=dict)


class AnswerFiles:
    """Writes the files of answers, and finds them again by the secret key of their answer.

    The files of an answer are deleted when its session ends, when their time is over, or beyond the limits.
    Whoever has the key can read them until then; nothing lists keys.

    Args:
        folder: their folder, of which no other route serves a file; it is made when it is needed.
        limits: see `AnswerLimits`.
        clock: returns seconds.
    """

    def __init__(
        self,
        folder: Path,
        limits: AnswerLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.limits = limits or AnswerLimits()
        self._folder, self._clock = folder, clock
        self._answers: OrderedDict[str, Answer] = OrderedDict()  # by key, the first to go first
        self._of_session: dict[str, list[Answer]] = {}
        self._taken: Counter[str] = Counter()  # bytes by address
        self._lock = threading.Lock()

    def begin(self, session: str, address: str) -> Answer:
        """A new answer without files, for a caller's session at an address."""
        self.forget_stale()
        answer = Answer(secrets.token_hex(16), session, address, self._clock() + self.limits.seconds)
        with self._lock:
            self._answers[answer.key] = answer
            self._of_session.setdefault(session, []).append(answer)
            self._taken[address] += answer.bytes
        return answer

    def write(self, answer: Answer, name: str, data: bytes) -> None:
        """Write a file of an answer, whose time begins anew.

        Raises:
            ValueError: the session has ended since the answer was begun.
            OSError: the disk is full.
        """
        assert NAME.fullmatch(name), name
        if shutil.disk_usage(self._folder.parent).free < len(data) + self.limits.min_free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path = self._path(answer) / name
        with self._lock:
            if answer.key not in self._answers:
                raise ValueError(ENDED)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            answer.files[name] = path
            answer.bytes += len(data)
            answer.goes = self._clock() + self.limits.seconds
            self._answers.move_to_end(answer.key)
            self._taken[answer.address] += len(data)
            surplus = self._surplus(answer)
        self._delete(surplus)
        with suppress(FileNotFoundError):  # the answer was deleted meanwhile
            path.write_bytes(data)
        with self._lock:
            is_kept = answer.key in self._answers
        if not is_kept:
            self._delete([answer])
            raise ValueError(ENDED)

    def find(self, key: str, name: str) -> Path | None:
        """The file of this name in the answer of this key; None if there is none, or not any more."""
        with self._lock:
            answer = self._answers.get(key)
            return answer.files.get(name) if answer and answer.goes > self._clock() else None

    def drop(self, answer: Answer) -> None:
        """Delete an answer that failed or has no files."""
        with self._lock:
            self._remove(answer)
        self._delete([answer])

    def end(self, session: str) -> None:
        """Delete all answers of a session, also those that are being written."""
        with self._lock:
            ended = list(self._of_session.get(session, ()))
            for answer in ended:
                self._remove(answer)
        self._delete(ended)

    def forget_stale(self) -> None:
        """Delete the answers whose time is over."""
        now, stale = self._clock(), []
        with self._lock:
            while self._answers and (first := next(iter(self._answers.values()))).goes <= now:
                self._remove(first)
                stale.append(first)
        self._delete(stale)

    def _surplus(self, spared: Answer) -> list[Answer]:
        """Remove, and return, the answers beyond the limits."""
        limits, gone, taken = self.limits, [], self._taken
        while (is_own := taken[spared.address] > limits.address_bytes) or taken.total() > limits.total_bytes:
            most = spared.address if is_own else max(taken, key=taken.__getitem__)
            found = (one for one in self._answers.values() if one.address == most and one is not spared)
            oldest = next(found, None)
            if oldest is None:
                break
            self._remove(oldest)
            gone.append(oldest)
        return gone

    def _remove(self, answer: Answer) -> None:
        if self._answers.pop(answer.key, None) is None:
            return
        own = self._of_session[answer.session]
        own.remove(answer)
        if not own:
            del self._of_session[answer.session]
        self._taken[answer.address] -= answer.bytes
        if not self._taken[answer.address]:
            del self._taken[answer.address]

    def _path(self, answer: Answer) -> Path:
        return self._folder / answer.key

    def _delete(self, answers: list[Answer]) -> None:
        for answer in answers:
            shutil.rmtree(self._path(answer), ignore_errors=True)
