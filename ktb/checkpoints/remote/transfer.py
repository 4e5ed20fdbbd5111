"""How far a download is, for whoever wants to see it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

EVERY_SECONDS = 10.0
"""Between two lines of the log."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transfer:
    """How much of one file is here.

    Attributes:
        done: bytes, those of an earlier try included.
        total: bytes; None if the server does not say.
        is_finished: nothing more will come.
    """

    name: str
    done: int
    total: int | None
    is_finished: bool = False

    def __str__(self) -> str:
        total = "" if self.total is None else f" of {self.total / 1e6:,.1f}"
        return f"{self.name}: {self.done / 1e6:,.1f}{total} MB"


Progress = Callable[[Transfer], object]


def logged() -> Progress:
    """A line in the log when a download starts and ends, and every few seconds."""
    last: float | None = None

    def tell(transfer: Transfer) -> None:
        nonlocal last
        now = time.monotonic()
        if last is None or transfer.is_finished or now - last >= EVERY_SECONDS:
            last = now
            _log.info("%s %s", "downloaded" if transfer.is_finished else "downloading", transfer)

    return tell
