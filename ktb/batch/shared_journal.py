"""The list of results of several processes: each writes its own, and adds it to results.jsonl at its end.

A process that was killed leaves its list behind; whichever starts next in the folder takes it over. So
nothing is lost, and the next run may have any number of processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktb.batch.journal import Journal
from ktb.utils.distributed import Rank
from ktb.utils.lock import FileLock, locked

RESULTS = "results.jsonl"
LOCK = ".results.lock"
_OWN = "results.rank-*.jsonl"


@contextmanager
def open_journal(folder: Path, rank: Rank) -> Iterator[Journal]:
    """The journal of a folder of results, or that of a rank, which knows the records of the others.

    Raises:
        ValueError: a list is not ours, or another process is at work as this rank.
        OSError: a list cannot be written.
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
        with locked(folder / LOCK):  # what cannot be added now stays behind, for the next run
            lock.release()
            _take_over(folder)


def _take_over(folder: Path) -> dict:
    """Add to results.jsonl the lists of all processes that have ended; returns its records."""
    ended = []
    for path in sorted(folder.glob(_OWN)):
        lock = FileLock(path.with_suffix(".lock"))
        if lock.acquire(wait=False):
            lock.release()  # nobody else starts: LOCK is held
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
