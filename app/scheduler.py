"""Who may use the network next: two visitors' single runs at most go before a recording's next frame."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

SINGLES_FIRST = 2
"""Single runs that may go before a frame that waits; any number would hold a recording up for ever."""


class FairScheduler:
    """One run at a time; a recording waits between two frames while single runs wait, but not for all."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._is_busy = False
        self._singles = self._frames = 0  # that wait
        self._went_first = 0  # single runs since a frame waits

    @property
    def waiting(self) -> int:
        """Single runs that wait."""
        with self._condition:
            return self._singles

    @property
    def is_free(self) -> bool:
        """Whether nothing runs or waits."""
        with self._condition:
            return not self._is_busy and not self._singles

    @contextmanager
    def single(self) -> Iterator[None]:
        """The turn of a visitor's run: waits for one frame at most, and for single runs before it."""
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
        """The turn of a recording's frame: waits while single runs are there, for SINGLES_FIRST of them."""
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
