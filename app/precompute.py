"""Precompute a result's maps in the background, so that tabs open instantly."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence

from app.results import Result
from app.scheduler import FairScheduler
from app.server.memory import give_back

DELAY_SECONDS = 0.3  # after a run, so that its response is sent first
Step = Callable[[Result], object]
_log = logging.getLogger(__name__)


def precompute_maps(scheduler: FairScheduler, result: Result, *draw: Step) -> None:
    """Call `draw` and compute the result's maps shortly after, while the network is idle; free memory."""
    # Not a daemon thread: a process that exits while a thread is inside torch is aborted.
    threading.Timer(DELAY_SECONDS, _precompute, [scheduler, weakref.ref(result), (*draw, _all_maps)]).start()


def _all_maps(result: Result) -> object:
    return result.inspection and result.inspection.all_maps()


def _precompute(scheduler: FairScheduler, kept: weakref.ref[Result], steps: Sequence[Step]) -> None:
    for step in steps:
        result = kept()
        if result is None or not scheduler.is_free:
            break
        try:
            step(result)
        except (MemoryError, RuntimeError):  # the same step raises again when its tab is opened
            _log.debug("a result was not precomputed", exc_info=True)
    give_back()  # temporary memory of the run, and the result that it replaced
