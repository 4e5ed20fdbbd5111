"""Many pairs through one function: files are read ahead and written behind by threads, failures recorded.

A folder of results holds the files, `results.jsonl` with a line for each pair (`ktb.batch.journal`), and
`run.json` with the settings. A run that was cut short goes on where it stopped. Several processes share the
pairs.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ktb.batch.journal import RESULTS, Journal, Record, is_complete, open_journal, stamp
from ktb.batch.prefetch import Prefetcher
from ktb.datasets.pairing import FilePair
from ktb.utils.distributed import Rank
from ktb.utils.files import write_atomically

logger = logging.getLogger(__name__)

RUN = "run.json"
MAX_WORKERS = 64
MAX_BATCH_SIZE = 256


class Made(NamedTuple):
    """What becomes of one pair: kind -> (path below the folder, contents), and what its record says."""

    files: Mapping[str, tuple[str, bytes]]
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Steps:
    """What is done with a pair, in three steps, each with what the one before returned.

    Attributes:
        read: pair -> anything; runs ahead, in threads.
        compute: some of that, of pairs of one `kind` -> as many of anything; runs in the calling thread, one
            group after the other.
        pack: (pair, one of that) -> `Made`; in threads. No two pairs may give the same path.
        kind: of what was read; only pairs of one kind are computed together.
        weigh: bytes of what was read; what waits is bounded by that.
    """

    read: Callable[[FilePair], Any]
    compute: Callable[[Sequence[Any]], Sequence[Any]]
    pack: Callable[[FilePair, Any], Made]
    kind: Callable[[Any], Hashable] = lambda found: None
    weigh: Callable[[Any], int] = lambda found: 0


@dataclass(frozen=True)
class Running:
    """How a batch runs; nothing of it changes the results.

    Attributes:
        workers: threads that read ahead and write; `default_workers()` if None.
        batch_size: pairs of one kind that are computed together, at most.
        rank: which process of several this is; each does its share of the pairs.
        resume: False does every pair again.
        notes: for JSON; what run.json shall say beside the settings.
        on_start: called with the number of pairs that are not complete.
        on_record: called with each pair's record, from any of the threads.
    """

    workers: int | None = None
    batch_size: int = 1
    rank: Rank = field(default_factory=Rank)
    resume: bool = True
    notes: Mapping[str, Any] = field(default_factory=dict)
    on_start: Callable[[int], None] = lambda count: None
    on_record: Callable[[Record], None] = lambda record: None


DEFAULTS = Running()


@dataclass(frozen=True)
class Outcome:
    """How a batch ended, or this process's share of it.

    Attributes:
        records: of its pairs, by name.
        skipped: how many of them an earlier run had completed.
        busy: share of the time in which something was computed, 0..1.
    """

    records: tuple[Record, ...]
    skipped: int
    busy: float = 0.0

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
    for count, most, what in (
        (workers, MAX_WORKERS, "workers"),
        (running.batch_size, MAX_BATCH_SIZE, "pairs at once"),
    ):
        if not 1 <= count <= most:
            raise ValueError(f"{count} {what}: give 1 to {most}")
    mine = running.rank.share(pairs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if running.rank.index == 0:
            about = {"settings": dict(settings), "pairs": len(pairs), **running.notes}
            _write(folder / RUN, (json.dumps(about, indent=2) + "\n").encode())
        with open_journal(folder, running.rank) as journal:
            batch = _Batch(folder, steps, settings, journal, running.on_record)
            todo = [pair for pair in mine if not (running.resume and batch.is_done(pair))]
            running.on_start(len(todo))
            busy = batch.run(todo, workers, running.batch_size)
            records = tuple(journal.records[pair.name] for pair in mine)
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(
            f"the results cannot be written to {folder} ({error}); choose another folder"
        ) from error
    return Outcome(records, len(mine) - len(todo), busy)


@dataclass(frozen=True)
class _Read:
    """A pair that was read: its stamp and what was found, or why not."""

    pair: FilePair
    before: Record = field(default_factory=dict)
    found: Any = None
    error: Exception | None = None


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

    def run(self, pairs: Sequence[FilePair], workers: int, batch_size: int) -> float:
        """Memory is bounded: by what waits for the network, and as many pairs for being written.

        Returns the share of the time that was spent in `compute`.
        """
        pool = ThreadPoolExecutor(workers, "ktb-batch")
        behind: deque[Future] = deque()
        started, computing = time.perf_counter(), 0.0
        ahead = Prefetcher(pool, self.read, pairs, workers + 2 * batch_size - 1, self._weight)
        try:
            while group := ahead.take(batch_size, self._kind):
                begun = time.perf_counter()
                results = self.compute(group)
                computing += time.perf_counter() - begun
                for read, computed in results:
                    while len(behind) >= min(workers + batch_size - 1, ahead.allowed):
                        behind.popleft().result()
                    behind.append(pool.submit(self.store, read.pair, read.before, computed))
            while behind:
                behind.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
        return computing / max(time.perf_counter() - started, 1e-9)

    def read(self, pair: FilePair) -> _Read:
        """The stamp is taken first: a file that changes afterwards is read again by the next run."""
        try:
            before = stamp(self.settings, pair.files)
            return _Read(pair, before, self.steps.read(pair))
        except Exception as error:  # whatever one pair does must not end the others
            return _Read(pair, error=error)

    def compute(self, group: Sequence[_Read]) -> list[tuple[_Read, Any]]:
        """Results of those that gave one; a group that fails is tried again one by one."""
        if group[0].error is not None:
            self.fail(group[0].pair, group[0].error)
            return []
        try:
            results = self.steps.compute([read.found for read in group])
        except Exception as error:  # as above
            if len(group) > 1:
                return [result for read in group for result in self.compute([read])]
            self.fail(group[0].pair, error)
            return []
        return list(zip(group, results, strict=True))

    def _kind(self, read: _Read) -> Hashable:
        return id(read) if read.error else (None, self.steps.kind(read.found))

    def _weight(self, read: _Read) -> int:
        return 0 if read.error else self.steps.weigh(read.found)

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
            "make room, or give write access, and run the same command again to resume"
        )


def _write(path: Path, contents: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_bytes(contents))
