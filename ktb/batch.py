"""Many pairs through one function: files are read ahead and written behind by threads, failures recorded.

A folder of results holds the files, `results.jsonl` with a line for each pair (`ktb.journal`), and `run.json`
with the settings. A run that was cut short goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ktb.atomic import write_atomically
from ktb.file_pairs import FilePair
from ktb.journal import Journal, Record, is_complete, stamp

logger = logging.getLogger(__name__)

RESULTS, RUN = "results.jsonl", "run.json"
MAX_WORKERS = 64


class Made(NamedTuple):
    """What becomes of one pair: kind -> (path below the folder, contents), and what its record says."""

    files: Mapping[str, tuple[str, bytes]]
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Steps:
    """What is done with a pair, in three steps, each with what the one before returned.

    Attributes:
        read: pair -> anything; runs ahead, in threads.
        compute: (pair, that) -> anything; runs in the calling thread, one pair after the other.
        pack: (pair, that) -> `Made`; in threads. No two pairs may give the same path.
    """

    read: Callable[[FilePair], Any]
    compute: Callable[[FilePair, Any], Any]
    pack: Callable[[FilePair, Any], Made]


@dataclass(frozen=True)
class Running:
    """How a batch runs; nothing of it changes the results.

    Attributes:
        workers: threads that read ahead and write; `default_workers()` if None.
        resume: False does every pair again.
        notes: for JSON; what run.json shall say beside the settings.
        on_start: called with the number of pairs that are not complete.
        on_record: called with each pair's record, from any of the threads.
    """

    workers: int | None = None
    resume: bool = True
    notes: Mapping[str, Any] = field(default_factory=dict)
    on_start: Callable[[int], None] = lambda count: None
    on_record: Callable[[Record], None] = lambda record: None


DEFAULTS = Running()


@dataclass(frozen=True)
class Outcome:
    """How a batch ended: its pairs' records by name, and how many of them an earlier run had completed."""

    records: tuple[Record, ...]
    skipped: int

    @property
    def failed(self) -> tuple[Record, ...]:
        """The records of the pairs that failed."""
        return tuple(record for record in self.records if record["status"] == "failed")


class OutputError(OSError):
    """Results cannot be written: the batch has stopped."""


def default_workers() -> int:
    """Threads that help by default."""
    return min(4, os.cpu_count() or 1)


def run_batch(
    pairs: Sequence[FilePair],
    folder: Path,
    steps: Steps,
    settings: Mapping[str, Any],
    running: Running = DEFAULTS,
) -> Outcome:
    """Take every pair through the steps and write what comes of it.

    A pair that fails is recorded, and tried again by the next run; a pair that is complete with these
    settings and unchanged input files is skipped. Results do not depend on the number of workers.
    KeyboardInterrupt leaves complete files and their records.

    Args:
        folder: of the results, made if it is missing.
        settings: for JSON; all that the results depend on, beside the input files.

    Raises:
        OutputError: a folder or file of results cannot be written.
        ValueError: results.jsonl is not ours, or the number of workers is out of range.
    """
    workers = default_workers() if running.workers is None else running.workers
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"{workers} workers: give 1 to {MAX_WORKERS}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        about = {"settings": dict(settings), "pairs": len(pairs), **running.notes}
        _write(folder / RUN, (json.dumps(about, indent=2) + "\n").encode())
        journal = Journal(folder / RESULTS)
    except OSError as error:
        raise OutputError(
            f"the results cannot be written to {folder} ({error}); choose another folder"
        ) from error
    batch = _Batch(folder, steps, settings, journal, running.on_record)
    with journal:
        todo = [pair for pair in pairs if not (running.resume and batch.is_done(pair))]
        running.on_start(len(todo))
        batch.run(todo, workers)
    try:
        journal.rewrite()
    except OSError as error:
        raise batch.stopped(error) from error
    return Outcome(tuple(journal.records[pair.name] for pair in pairs), len(pairs) - len(todo))


class _Batch:
    def __init__(
        self,
        folder: Path,
        steps: Steps,
        settings: Mapping[str, Any],
        journal: Journal,
        on_record: Callable[[Record], None],
    ):
        self.folder, self.steps, self.settings = folder, steps, settings
        self.journal, self.on_record = journal, on_record

    def is_done(self, pair: FilePair) -> bool:
        try:
            expected = stamp(self.settings, pair.files)
        except OSError:  # the file went away since it was found: reading it will say so
            return False
        return is_complete(self.journal.records.get(pair.name), expected, self.folder)

    def run(self, pairs: Sequence[FilePair], workers: int) -> None:
        """At most `workers` pairs wait for the network and as many for being written: memory is bounded."""
        pool = ThreadPoolExecutor(workers, "ktb-batch")
        ahead: deque[tuple[FilePair, Future]] = deque()
        behind: deque[Future] = deque()
        submitted = _submitted(pool, self.read, pairs)
        try:
            ahead.extend(islice(submitted, workers))
            while ahead:
                pair, reading = ahead.popleft()
                ahead.extend(islice(submitted, 1))
                try:
                    before, found = reading.result()
                    computed = self.steps.compute(pair, found)
                except Exception as error:  # whatever one pair does must not end the others
                    self.fail(pair, error)
                    continue
                while len(behind) >= workers:
                    behind.popleft().result()
                behind.append(pool.submit(self.store, pair, before, computed))
            while behind:
                behind.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def read(self, pair: FilePair) -> tuple[Record, Any]:
        """The stamp is taken first: a file that changes afterwards is read again by the next run."""
        return stamp(self.settings, pair.files), self.steps.read(pair)

    def store(self, pair: FilePair, before: Record, computed: Any) -> None:
        """Write a pair's files, then its record."""
        try:
            made = self.steps.pack(pair, computed)
        except Exception as error:  # as above
            self.fail(pair, error)
            return
        if self.journal.records.get(pair.name, {}).get("status") == "done":
            self.record(pair, {"status": "replaced"})  # of other settings: its files change from here on
        try:
            for path, contents in made.files.values():
                _write(self.folder / path, contents)
        except OSError as error:
            raise self.stopped(error) from error
        files = {kind: path for kind, (path, _) in made.files.items()}
        self.record(pair, {"status": "done", "files": files, **made.report, "stamp": before})

    def fail(self, pair: FilePair, error: Exception) -> None:
        if not isinstance(error, ValueError | OSError):
            logger.warning("%s failed", pair.name, exc_info=error)
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        self.record(pair, {"status": "failed", "error": f"{kind}{error}"})

    def record(self, pair: FilePair, more: Record) -> None:
        rgb, x = None if pair.rgb is None else str(pair.rgb), [str(path) for path in pair.x]
        record = {"name": pair.name, "rgb": rgb, "x": x, **more}
        try:
            self.journal.add(record)
        except OSError as error:
            raise self.stopped(error) from error
        if record["status"] != "replaced":
            self.on_record(record)

    def stopped(self, error: OSError) -> OutputError:
        return OutputError(
            f"the results cannot be written to {self.folder} ({error}). What {RESULTS} lists is complete: "
            "make room, or give write access, and run the same command again to go on"
        )


def _submitted(
    pool: ThreadPoolExecutor, read: Callable[[FilePair], Any], pairs: Sequence[FilePair]
) -> Iterator[tuple[FilePair, Future]]:
    for pair in pairs:
        yield pair, pool.submit(read, pair)


def _write(path: Path, contents: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_bytes(contents))
