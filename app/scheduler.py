"""Fair scheduling of the model: interactive runs go first, at most two in a row before a video frame."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

SINGLES_FIRST = 2
"""Single runs that may go before a waiting frame; without a bound, a video could wait forever."""


class FairScheduler:
    """One run at a time; between two frames, a video yields to at most SINGLES_FIRST waiting single runs."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._is_busy = False
        self._singles = self._frames = 0  # waiting
        self._went_first = 0  # single runs since a frame began to wait

    @property
    def waiting(self) -> int:
        """The number of waiting single runs."""
        with self._condition:
            return self._singles

    @property
    def is_free(self) -> bool:
        """Whether nothing runs or waits."""
        with self._condition:
            return not self._is_busy and not self._singles

    @contextmanager
    def single(self) -> Iterator[None]:
        """Hold the model for a single run; waits for at most one frame, and for earlier single runs."""
        with self._condition:
            self._singles += 1
            try:
                self._condition.wait_for(lambda: not self._is_busy and not self._frame_is_next)
                self._is_busy = True
                self._went_first += 1 if self._frames else 0
            finally:
                self._singles -= 1
        yield from self._turn()

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Hold the model for a video frame; waits for at most SINGLES_FIRST single runs."""
        with self._condition:
            self._frames += 1
            try:
                self._condition.wait_for(
                    lambda: not self._is_busy and (not self._singles or self._frame_is_next)
                )
                self._is_busy, self._went_first = True, 0
            finally:
                self._frames -= 1
        yield from self._turn()

    @property
    def _frame_is_next(self) -> bool:
        return bool(self._frames) and self._went_first >= SINGLES_FIRST

    def _turn(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._condition:
                self._is_busy = False
                self._condition.notify_all()
