"""The list of results that a batch writes beside its files: one JSON object a line, one line a pair."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ktb.utils.files import write_atomically

Record = dict[str, Any]


class Journal:
    """Records by name, each on the disk before `add` returns; the last line of a name counts.

    Args:
        path: an existing file is read; a last line that was cut off is dropped, the others must be ours.
        known: records of other files, which stay there.

    Attributes: `records`, name -> its last record, known ones included.

    Raises:
        ValueError: the file holds something else.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path, known: Mapping[str, Record] | None = None):
        self.path = path
        self.records: dict[str, Record] = {}
        self._lock = threading.Lock()
        if path.exists():
            self._read()
            self.rewrite()
        self.records = {**(known or {}), **self.records}
        self._file = path.open("ab")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, record: Record) -> None:
        """Append a record with a `name`; safe from several threads. OSError leaves the file as it was."""
        line = (json.dumps(record) + "\n").encode()
        with self._lock:
            end = os.fstat(self._file.fileno()).st_size
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError:
                os.ftruncate(self._file.fileno(), end)  # half a line would spoil the next one
                raise
            self.records[record["name"]] = record

    def rewrite(self) -> None:
        """Write the file anew with one line a name, in order of the names."""
        lines = [json.dumps(self.records[name]) + "\n" for name in sorted(self.records)]
        write_atomically(self.path, lambda path: path.write_text("".join(lines), encoding="utf-8"))

    def _read(self) -> None:
        *lines, last = self.path.read_bytes().split(b"\n")  # a complete file ends with a line break
        for number, line in enumerate(lines, 1):
            record = _parsed(line)
            if record is None:
                raise ValueError(
                    f"{self.path}: line {number} is no record of a batch; choose another folder for the "
                    "results, or move this file away"
                )
            self.records[record["name"]] = record
        if (record := _parsed(last)) is not None:
            self.records[record["name"]] = record


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    named = isinstance(record, dict) and isinstance(record.get("name"), str) and "status" in record
    return record if named else None


def stamp(settings: Mapping[str, Any], files: Iterable[Path]) -> Record:
    """What a result depends on: settings, and path, size and time of change of its input files (OSError)."""
    text = json.dumps(settings, sort_keys=True)
    inputs = [[os.path.abspath(file), (s := file.stat()).st_size, s.st_mtime_ns] for file in files]
    return {"settings": hashlib.sha256(text.encode()).hexdigest(), "inputs": inputs}


def is_complete(record: Mapping[str, Any] | None, expected: Mapping[str, Any], folder: Path) -> bool:
    """Whether a record tells of a success with this stamp, and its files are there."""
    if record is None or record["status"] != "done" or record.get("stamp") != expected:
        return False
    files = record.get("files")
    return isinstance(files, dict) and all((folder / str(file)).is_file() for file in files.values())
