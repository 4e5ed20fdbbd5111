"""Progress on stderr: a tqdm bar on a terminal, elsewhere a line every ten seconds and at the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any, TextIO

from tqdm import tqdm

EVERY_SECONDS = 10.0
"""Seconds between two lines if stderr is not a terminal."""


class _Lines:
    """A stream that writes each state of tqdm as a separate line."""

    def __init__(self, stream: TextIO, label: str):
        self._stream, self._label = stream, label
        self.encoding = getattr(stream, "encoding", None)

    def write(self, text: str) -> None:
        if state := text.strip():
            self._stream.write(f"{self._label}{state}\n")

    def flush(self) -> None:
        self._stream.flush()


def bar(stream: TextIO | None = None, label: str = "", **options: Any) -> tqdm:
    """A tqdm progress bar.

    Args:
        stream: stderr if None.
        label: prefix of every line. With a label, lines are never overwritten, as other processes write too.
    """
    stream = sys.stderr if stream is None else stream
    if stream.isatty() and not label:
        return tqdm(file=stream, miniters=1, dynamic_ncols=True, **options)
    return tqdm(file=_Lines(stream, label), miniters=1, mininterval=EVERY_SECONDS, **options)


class Progress:
    """Counts pairs or frames and names the failed ones. Arguments as for `bar`, which `start` creates."""

    def __init__(self, stream: TextIO | None = None, label: str = "", unit: str = "pair"):
        self._stream = sys.stderr if stream is None else stream
        self._label, self._unit = label, unit
        self._bar: tqdm | None = None
        self._failed = 0
        self._lock = threading.Lock()

    def start(self, total: int | None) -> None:
        """Start with the total number of items; None if unknown."""
        self._bar = bar(self._stream, self._label, total=total, unit=self._unit, disable=total == 0)

    def count(self, record: Mapping[str, Any]) -> None:
        """Count a finished item; thread-safe."""
        assert self._bar is not None, "start comes first"
        with self._lock:
            if record["status"] == "failed":
                self._failed += 1
                self._bar.set_postfix_str(f"{self._failed} failed", refresh=False)
                self._bar.write(
                    f"{self._label}failed: {record['name']}: {record['error']}", file=self._stream
                )
            self._bar.update()

    def close(self) -> None:
        """Write the final state."""
        if self._bar is not None:
            self._bar.close()
