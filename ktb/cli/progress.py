"""How far a batch is, in one line on stderr."""

import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, TextIO

EVERY_SECONDS = 10.0
"""Between two lines where stderr is no terminal."""


def clock(seconds: float) -> str:
    """Such as 0:11 or 1:02:03."""
    left = round(seconds)
    hours, minutes = divmod(left // 60, 60)
    return f"{hours}:{minutes:02}:{left % 60:02}" if hours else f"{minutes}:{left % 60:02}"


class Progress:
    """Counts pairs; on a terminal one line that is written over, elsewhere a line every few seconds.

    Args:
        stream: stderr if None.
        label: what every line begins with. With one, lines are never written over: others write there, too.

    Attributes: `total`, the pairs that are to be done; `done` and `failed`, how many are.
    """

    def __init__(self, stream: TextIO | None = None, label: str = ""):
        self.total = self.done = self.failed = 0
        self._stream = sys.stderr if stream is None else stream
        self._label = label
        self._is_terminal = self._stream.isatty() and not label
        self._started = self._shown = time.monotonic()
        self._lock = threading.Lock()

    def start(self, total: int) -> None:
        """So many pairs are to be done."""
        self.total, self._started = total, time.monotonic()

    def count(self, record: Mapping[str, Any]) -> None:
        """A pair ended; safe from several threads."""
        with self._lock:
            self.done += 1
            is_failure = record["status"] == "failed"
            self.failed += is_failure
            if is_failure:
                self._line(f"failed: {record['name']}: {record['error']}")
            now = time.monotonic()
            if self._is_terminal:
                self._stream.write(f"\r\033[K{self.text(now - self._started)}")
                self._stream.flush()
            elif now - self._shown >= EVERY_SECONDS:
                self._shown = now
                self._line(self.text(now - self._started))

    def close(self) -> None:
        """Leave the line that is written over."""
        if self._is_terminal and self.done:
            self._stream.write("\n")

    def text(self, seconds: float) -> str:
        """Such as "12 of 40 pairs, 1 failed, 2.5 a second, 0:11 left"."""
        rate = self.done / seconds if seconds > 0 else 0.0
        parts = [f"{self.done} of {self.total}", *([f"{self.failed} failed"] if self.failed else [])]
        if rate:
            parts.append(f"{rate:.1f} a second" if rate >= 1 else f"{1 / rate:.1f} s each")
            parts.append(f"{clock((self.total - self.done) / rate)} left")
        return ", ".join(parts)

    def _line(self, text: str) -> None:
        self._stream.write(f"\r\033[K{text}\n" if self._is_terminal else f"{self._label}{text}\n")
        self._stream.flush()
