"""Model arguments of the commands: names, files and addresses, with a progress bar for downloads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm

    from ktb.checkpoints.remote import Transfer


def located(name: str | None) -> Path:
    """The file of a model (None: the default), downloaded if necessary; ValueError as for load_model."""
    from ktb.checkpoints.registry import DEFAULT_MODEL, resolve

    return resolve(name or DEFAULT_MODEL, progress=DownloadBar())


class DownloadBar:
    """Shows a download on stderr, for use as `progress`; writes nothing without a download."""

    def __init__(self, stream: TextIO | None = None):
        self._stream = stream
        self._bar: tqdm | None = None

    def __call__(self, transfer: Transfer) -> None:
        from ktb.cli.progress import bar  # tqdm takes a tenth of a second

        if self._bar is None:
            self._bar = bar(self._stream, total=transfer.total, desc=transfer.name, unit="B", unit_scale=True)
        self._bar.update(transfer.done - self._bar.n)
        if transfer.is_finished:
            self._bar.close()
            self._bar = None
