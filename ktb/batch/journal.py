"""The journal of a batch: results.jsonl, one JSON record a pair, also written by several processes.

Each of several processes writes a journal of its own and merges it into results.jsonl when it ends. The
journal of a killed process stays behind; the next process that starts in the folder merges it. No result is
lost, and the next run may use any number of processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ktb.utils.distributed import Rank
from ktb.utils.files import write_atomically
from ktb.utils.lock import FileLock, locked

RESULTS = "results.jsonl"
LOCK = ".results.lock"
_OWN = "results.rank-*.jsonl"

Record = dict[str, Any]


class Journal:
    """Records by name, written to the disk before `add` returns; the last line of a name is valid.

    Args:
        path: an existing file is read; a truncated last line is dropped.
        known: records of other files, which are not written to this one.

    Attributes: `records`, name -> its last record, including the known ones.

    Raises:
        ValueError: the file is not a journal.
        OSError: the file cannot be written.
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
        """Append a record with a `name`; thread-safe. The file is unchanged after an OSError."""
        line = (json.dumps(record) + "\n").encode()
        with self._lock:
            end = os.fstat(self._file.fileno()).st_size
            try:
                self._file.write(line)
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError:
                os.ftruncate(self._file.fileno(), end)  # a partial line would corrupt the next one
                raise
            self.records[record["name"]] = record

    def rewrite(self) -> None:
        """Rewrite the file with one line per name, sorted by name."""
        lines = [json.dumps(self.records[name]) + "\n" for name in sorted(self.records)]
        write_atomically(self.path, lambda path: path.write_text("".join(lines), encoding="utf-8"))

    def _read(self) -> None:
        *lines, last = self.path.read_bytes().split(b"\n")  # a complete file ends with a newline
        for number, line in enumerate(lines, 1):
            record = _parsed(line)
            if record is None:
                raise ValueError(
                    f"{self.path}: line {number} is not a record of a batch; choose another folder for the "
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
    """Stamp of a result's dependencies: settings, and path, size and mtime of its input files (OSError)."""
    text = json.dumps(settings, sort_keys=True)
    inputs = [[os.path.abspath(file), (s := file.stat()).st_size, s.st_mtime_ns] for file in files]
    return {"settings": hashlib.sha256(text.encode()).hexdigest(), "inputs": inputs}


def is_complete(record: Mapping[str, Any] | None, expected: Mapping[str, Any], folder: Path) -> bool:
    """Whether a record has the status "done" and this stamp, and its files exist."""
    if record is None or record["status"] != "done" or record.get("stamp") != expected:
        return False
    files = record.get("files")
    return isinstance(files, dict) and all((folder / str(file)).is_file() for file in files.values())


@contextmanager
def open_journal(folder: Path, rank: Rank) -> Iterator[Journal]:
    """The journal of a folder of results, or that of a rank, with the records of the others.

    Raises:
        ValueError: a file is not a journal, or another process runs as this rank.
        OSError: a journal cannot be written.
    """
    if rank.is_alone and not list(folder.glob(_OWN)):
        with Journal(folder / RESULTS) as journal:
            yield journal
            journal.rewrite()
        return
    own = folder / _OWN.replace("*", str(rank.index))
    lock = FileLock(own.with_suffix(".lock"))
    with locked(folder / LOCK):
        known = _take_over(folder)
        if not lock.acquire(wait=False):
            raise ValueError(
                f"another process is writing to {folder} as number {rank.index}; wait until it ends"
            )
    try:
        with Journal(own, known) as journal:
            yield journal
    finally:
        with locked(folder / LOCK):  # journals that cannot be merged now remain for the next run
            lock.release()
            _take_over(folder)


def _take_over(folder: Path) -> dict:
    """Merge the journals of all ended processes into results.jsonl; returns its records."""
    ended = []
    for path in sorted(folder.glob(_OWN)):
        lock = FileLock(path.with_suffix(".lock"))
        if lock.acquire(wait=False):
            lock.release()  # no process can start while LOCK is held
            ended.append(path)
    with Journal(folder / RESULTS) as results:
        for path in ended:
            with Journal(path) as journal:
                results.records |= journal.records
        results.rewrite()
        for path in ended:
            path.unlink()
            path.with_suffix(".lock").unlink(missing_ok=True)
        return dict(results.records)
