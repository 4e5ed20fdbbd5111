"""Batch runner: threads prefetch and write the files of many pairs, and failures are recorded.

A folder of results contains the files, `results.jsonl` with a line per pair (`ktb.batch.journal`), and
`run.json` with the settings. An interrupted run resumes where it stopped. Several processes can share the
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
    """Outputs of one pair: kind -> (path below the folder, contents), and the entries of its record."""

    files: Mapping[str, tuple[str, bytes]]
    report: Mapping[str, Any]


@dataclass(frozen=True)
class Steps:
    """The three steps of processing a pair; each takes the result of the previous one.

    Attributes:
        read: pair -> item; prefetched in threads.
        compute: items of pairs of one `kind` -> a result each; runs in the calling thread, group by group.
        pack: (pair, result) -> `Made`; runs in threads. Paths must be unique to a pair.
        kind: key of an item; only items with equal keys are computed together.
        weigh: size of an item in bytes; bounds the memory of waiting items.
    """

    read: Callable[[FilePair], Any]
    compute: Callable[[Sequence[Any]], Sequence[Any]]
    pack: Callable[[FilePair, Any], Made]
    kind: Callable[[Any], Hashable] = lambda found: None
    weigh: Callable[[Any], int] = lambda found: 0


@dataclass(frozen=True)
class Running:
    """Execution options of a batch; they do not affect the results.

    Attributes:
        workers: threads that prefetch and write; `default_workers()` if None.
        batch_size: maximum number of pairs of one kind that are computed together.
        rank: rank of this process; each process has its shard of the pairs.
        resume: skip complete pairs; False repeats every pair.
        notes: JSON-compatible entries of run.json in addition to the settings.
        on_start: called with the number of incomplete pairs.
        on_record: called with each pair's record, from any thread.
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
    """Outcome of a batch, or of this process's shard.

    Attributes:
        records: records of the pairs.
        skipped: number of pairs that an earlier run completed.
        busy: fraction of the time spent computing, 0..1.
    """

    records: tuple[Record, ...]
    skipped: int
    busy: float = 0.0

    @property
    def failed(self) -> tuple[Record, ...]:
        """Records of the failed pairs."""
        return tuple(record for record in self.records if record["status"] == "failed")


class OutputError(OSError):
    """The results cannot be written, so the batch has stopped."""


def default_workers() -> int:
    """Default number of worker threads."""
    return min(4, os.cpu_count() or 1)


def run_batch(
    pairs: Sequence[FilePair],
    folder: Path,
    steps: Steps,
    settings: Mapping[str, Any],
    running: Running = DEFAULTS,
) -> Outcome:
    """Run the steps on every pair and write the results.

    A failed pair is recorded, and retried by the next run. A pair that is complete with these settings and
    unchanged input files is skipped. Results do not depend on the number of workers. KeyboardInterrupt leaves
    complete files and their records.

    Args:
        folder: folder of the results, created if necessary.
        settings: JSON-compatible; everything except the input files that the results depend on.

    Raises:
        OutputError: the results cannot be written.
        ValueError: results.jsonl is not a journal, or an option is out of range.
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
    """A pair after reading: its stamp, and its item or the error."""

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
        except OSError:  # the file has been deleted since the scan; reading it reports the error
            return False
        return is_complete(self.journal.records.get(pair.name), expected, self.folder)

    def run(self, pairs: Sequence[FilePair], workers: int, batch_size: int) -> float:
        """Run all pairs with bounded numbers of items that wait for the network and for writing.

        Returns the fraction of the time spent in `compute`.
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
        """Read a pair; the stamp comes first, so that the next run detects a later change of a file."""
        try:
            before = stamp(self.settings, pair.files)
            return _Read(pair, before, self.steps.read(pair))
        except Exception as error:  # an error of one pair must not stop the others
            return _Read(pair, error=error)

    def compute(self, group: Sequence[_Read]) -> list[tuple[_Read, Any]]:
        """Compute a group; a failing group is retried one by one. Yields the successful results."""
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
            self.record(
                pair, {"status": "replaced"}
            )  # the files of other settings are overwritten from here on
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
            "free disk space or grant write access, and run the same command again to resume"
        )


def _write(path: Path, contents: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_bytes(contents))
