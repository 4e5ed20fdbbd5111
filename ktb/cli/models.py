"""Where the commands' models come from: names, files and addresses, with a bar during a download."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ktb.cli.progress import EVERY_SECONDS, clock

if TYPE_CHECKING:
    from ktb.checkpoints.remote import Transfer

WIDTH = 24
"""Characters of the bar."""
_REDRAWN_SECONDS = 0.1


def located(name: str | None) -> Path:
    """The file of a model (None: of the default one), downloaded if need be; ValueError as load_model."""
    from ktb.checkpoints.registry import DEFAULT_MODEL, resolve

    return resolve(name or DEFAULT_MODEL, progress=DownloadBar())


class DownloadBar:
    """Shows a download on stderr: on a terminal a line that is written over, elsewhere one every few seconds.

    To be given as `progress`; nothing is written unless something is downloaded.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream = sys.stderr if stream is None else stream
        self._is_terminal = self._stream.isatty()
        self._started: tuple[float, int] | None = None
        self._shown = float("-inf")

    def __call__(self, transfer: Transfer) -> None:
        now = time.monotonic()
        if self._started is None:
            self._started = now, transfer.done
        pause = _REDRAWN_SECONDS if self._is_terminal else EVERY_SECONDS
        if now - self._shown < pause and not transfer.is_finished:
            return
        self._shown = now
        line = self.text(transfer, now - self._started[0])
        if self._is_terminal:
            self._stream.write(f"\r\033[K{line}" + "\n" * transfer.is_finished)
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()
        if transfer.is_finished:
            self._started, self._shown = None, float("-inf")

    def text(self, transfer: Transfer, seconds: float) -> str:
        """Such as "model.safetensors: 5.3 of 10.6 MB [############            ] 2.1 MB/s, 0:03 left"."""
        parts = [str(transfer)]
        if transfer.total:
            filled = WIDTH * transfer.done // transfer.total
            parts.append(f"[{'#' * filled}{' ' * (WIDTH - filled)}]")
        arrived = transfer.done - (self._started[1] if self._started else 0)
        if arrived > 0 and seconds > 0:
            rate = arrived / seconds
            parts.append(f"{rate / 1e6:,.1f} MB/s")
            if transfer.total and not transfer.is_finished:
                parts[-1] += f", {clock((transfer.total - transfer.done) / rate)} left"
        return " ".join(parts)
