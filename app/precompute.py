"""What is worked out of a run before anybody looks, so that tabs open at once."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Sequence

from app.results import Result
from app.scheduler import FairScheduler
from app.server.memory import give_back

AHEAD_SECONDS = 0.3  # after a run: its answer is on the way by then
Step = Callable[[Result], object]
_log = logging.getLogger(__name__)


def precompute_maps(turns: FairScheduler, result: Result, *draw: Step) -> None:
    """Draw, and work out a run's maps, a moment later and while nothing runs; then give memory back."""
    # No daemon: the process waits for it at its end, because one that ends inside torch is aborted.
    threading.Timer(AHEAD_SECONDS, _work_out, [turns, weakref.ref(result), (*draw, _all_maps)]).start()


def _all_maps(result: Result) -> object:
    return result.inspection and result.inspection.all_maps()


def _work_out(turns: FairScheduler, kept: weakref.ref[Result], steps: Sequence[Step]) -> None:
    for step in steps:
        result = kept()
        if result is None or not turns.is_free:
            break
        try:
            step(result)
        except (MemoryError, RuntimeError):  # whoever looks at it is told
            _log.debug("a result was not worked out ahead", exc_info=True)
    give_back()  # what the run took besides, and what it replaced
