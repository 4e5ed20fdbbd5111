"""What the readers say of the X files of a dataset: unit, surety, and warnings with counts."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ktb.inputs import EncodedX

EXAMINED = 16
"""Pairs from which a run and a dry run count the readers' warnings."""
_FACTS = ("unit", "columns", "time unit", "sensor", "black to white")
"""Facts that say how a file was read."""
_MOST = 20  # different texts of a fact that a report lists
_NUMBER = re.compile(r"\d[\d,.]*")


class XTally:
    """Counts of facts and warnings; each file counts once, however often it is read."""

    def __init__(self) -> None:
        self._seen: set[Path] = set()
        self._facts: dict[str, Counter[str]] = {}
        self._warnings: dict[str, tuple[str, int]] = {}  # without numbers -> (the first one, files)
        self._lock = threading.Lock()

    def add(self, path: Path, encoded: EncodedX) -> None:
        """Count a file. Warnings that differ in their numbers count as one."""
        with self._lock:
            if path in self._seen:
                return
            self._seen.add(path)
            for title in _FACTS:
                if text := encoded.facts.get(title):
                    self._facts.setdefault(title, Counter())[text] += 1
            for warning in dict.fromkeys(encoded.warnings):
                self._warn(warning, 1)

    def merge(self, other: XTally) -> None:
        """Add the counts of other files, such as those of another split."""
        self._seen |= other._seen
        for title, texts in other._facts.items():
            self._facts.setdefault(title, Counter()).update(texts)
        for first, count in other._warnings.values():
            self._warn(first, count)

    def _warn(self, warning: str, count: int) -> None:
        key = _NUMBER.sub("#", warning)
        first, before = self._warnings.get(key, (warning, 0))
        self._warnings[key] = first, before + count

    def report(self) -> dict[str, Any]:
        """As JSON: `files`: their number; `read_as`: fact -> text -> files; `warnings`: text -> files."""
        ordered = sorted(self._warnings.values(), key=lambda entry: -entry[1])
        facts = {title: dict(texts.most_common(_MOST)) for title, texts in self._facts.items()}
        return {"files": len(self._seen), "read_as": facts, "warnings": dict(ordered)}


def describe(reading: Mapping[str, Any]) -> Iterator[str]:
    """Lines for the terminal about `PairDataset.x_reading`, with the counts of a tally if there are any."""
    if unit := reading.get("unit"):
        why = f": {reading['why']}" if reading.get("why") else ""
        yield f"X is read as {unit} ({reading['surety']}){why}"
    count = reading.get("files", 0)
    for title, texts in reading.get("read_as", {}).items():
        for text, number in list(texts.items())[:5]:
            if title != "unit" or not unit or number < count:
                yield f"  {title}: {text} in {number} of {count} files"
    for warning, number in reading.get("warnings", {}).items():
        yield f"X WARNING in {number} of {count} files: {warning}"
