"""The table of a video: a row of metrics per frame, written frame by frame."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from ktb.utils.text import as_text

FIXED_COLUMNS = ("frame", "name", "status", "error", "seconds", "mean_confidence", "changed_share")
SHARE, BALANCE = "share: ", "balance_level_"


@dataclass(frozen=True, eq=False)
class FrameRecord:
    """Outcome of one frame; a row of the table.

    Attributes:
        error: None if the frame succeeded; otherwise the metrics below are None or empty.
        seconds: duration from reading to drawing.
        shares: (K,) fraction of each class in the fused mask; they sum to 1.
        mean_confidence: mean over all pixels, 0..1.
        changed_share: fraction of the pixels whose class differs from the previous frame; None if that frame
            failed or has another size.
        balance: mean balance per level, 0..1; above 0.5 more attention is on X.
        picture: (H, W, 3) uint8 RGB, the image in the video.
    """

    index: int
    name: str
    error: str | None
    seconds: float
    shares: np.ndarray | None
    mean_confidence: float | None
    changed_share: float | None
    balance: tuple[float, ...]
    picture: np.ndarray


class Table:
    """The CSV file, written row by row: FIXED_COLUMNS, balance_level_0 ..., "share: CLASS" per class."""

    def __init__(self, file: IO[str], classes: tuple[str, ...], levels: int):
        self._file, self._writer = file, csv.writer(file)
        self._levels, self._classes = levels, len(classes)
        columns = [
            *FIXED_COLUMNS,
            *(f"{BALANCE}{i}" for i in range(levels)),
            *(SHARE + name for name in classes),  # the prefix starts with a letter, whatever the class name
        ]
        self._writer.writerow(columns)
        file.flush()

    def write(self, record: FrameRecord) -> None:
        """Append a frame and flush."""
        shares = [""] * self._classes if record.shares is None else [f"{s:.9g}" for s in record.shares]
        balance = [f"{value:.6f}" for value in record.balance] or [""] * self._levels
        figures = [
            "" if value is None else f"{value:.9g}"
            for value in (record.mean_confidence, record.changed_share)
        ]
        status = "done" if record.error is None else "failed"
        texts = as_text(record.name), status, as_text(record.error or "")
        start = [record.index, *texts, f"{record.seconds:.3f}"]
        self._writer.writerow([*start, *figures, *balance, *shares])
        self._file.flush()


def read_shares(table: Path) -> tuple[list[str], np.ndarray]:
    """Class names and their shares over time, (frames, K) float32, from a table; NaN for failed frames."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        header = next(rows)
        first = next((i for i, name in enumerate(header) if name.startswith(SHARE)), len(header))
        values = [[float(cell) if cell else math.nan for cell in row[first:]] for row in rows]
    names = [name.removeprefix(SHARE) for name in header[first:]]
    return names, np.array(values, np.float32).reshape(-1, len(names))
