"""What happens without a visitor: a first run, and every minute a look for what nobody needs any more."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Container
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import gradio as gr

from app.gradio_ext.answering import Answering
from app.gradio_ext.fair_queue import FairQueue, paths_in
from app.server.folder import ServerFolder
from app.server.memory import give_back
from app.server.sessions import SessionStore
from app.service import Service

LOOK_EVERY = 60.0  # seconds
IDLE = timedelta(seconds=60)
WARM_UP_AFTER = 1.0  # seconds in which nobody asked for anything: a page that is being opened comes first
WARM_UP_WITHIN = 15.0  # seconds of the start, whatever is asked
_log = logging.getLogger(__name__)


class Page(Answering):
    """The page with the sessions that are open on it, and the folder in which all their files lie.

    `asked_at` is when somebody last asked the server for anything, in seconds of `time.monotonic`.
    """

    asked_at: float = 0.0
    store: SessionStore
    service: Service
    folder: ServerFolder
    forget_offered: Callable[[], None]

    def queue(self, *args: Any, **options: Any) -> Page:
        """As Gradio's; the queue gives each address its turns."""
        super().queue(*args, **options)
        if hasattr(self, "folder"):  # Gradio makes a queue before there is anything else
            self._queue = FairQueue(self._queue, self.folder.path)
        return self

    async def leave(self, session: str) -> None:
        """Forget a session whose page was closed, with its files and what it was answered."""
        self._queue.leave(session)
        await asyncio.to_thread(self.store.close, session)


@asynccontextmanager
async def housekeeping(app: gr.routes.App) -> AsyncIterator[None]:
    """Keep house as long as the server of a `Page` runs."""
    page = app.get_blocks()
    assert isinstance(page, Page)
    tasks = [asyncio.create_task(_keep_house(page)), asyncio.create_task(_warm_up(page))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        page.forget_offered()
        await asyncio.to_thread(page.folder.remove)


async def _warm_up(page: Page) -> None:
    await _quiet(page)
    try:
        await asyncio.to_thread(page.service.warm_up)
    except Exception:  # a visitor's run will say what is wrong
        _log.exception("The first model could not be run at the start.")


async def _quiet(page: Page) -> None:
    begun = now = time.monotonic()
    while (rest := max(begun, page.asked_at) + WARM_UP_AFTER - now) > 0 and now < begun + WARM_UP_WITHIN:
        await asyncio.sleep(rest)
        now = time.monotonic()


async def _keep_house(page: Page) -> None:
    idle = IdleStates()
    while True:
        await asyncio.sleep(LOOK_EVERY)
        await tidy(page, idle)


async def tidy(page: Page, idle: IdleStates) -> None:
    """Forget sessions that nobody uses, here and in Gradio, and give the memory back to the system."""
    page.store.keep_open(session for session, events in _pending(page).items() if events)
    queue = page._queue
    since = time.monotonic() - page.uploads.limits.waiting_seconds
    for event in queue.waiting:
        if event.data is not None and event.enqueue_time > since:
            page.uploads.keep_waiting(event.session_hash, paths_in(event.data.data))
    queue.forget_unread()
    await asyncio.to_thread(page.store.forget_stale)
    await asyncio.to_thread(page.store.recount)
    idle.forget(page.state_holder, page.store.open_sessions)
    for files in page.temp_file_sets:  # paths that Gradio would collect for ever; the store deletes the files
        files.clear()
    await asyncio.to_thread(give_back)


def _pending(page: Page) -> dict[str, set[str]]:
    """Session → its events that wait or run."""
    return dict(page._queue.pending_event_ids_session)


class IdleStates:
    """Which of Gradio's sessions were not used between two looks. What a wall clock says does not matter.

    Args:
        clock: tells the seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._seen: dict[str, tuple[datetime, float]] = {}  # as Gradio noted it, and when that was first seen

    def forget(self, states: gr.state_holder.StateHolder, is_open: Container[str]) -> None:
        """Drop Gradio's copy of all that a page was sent, if the page was left or has not been used yet.

        Gradio itself keeps it for the next 10,000 pages. Call it on the server's event loop, as Gradio does.
        """
        now, seen = self._clock(), {}
        for session, used in list(states.time_last_used.items()):
            if session in is_open:
                continue
            noted, since = self._seen.get(session, (used, now))
            seen[session] = used, (since if noted == used else now)
            if timedelta(seconds=now - seen[session][1]) >= IDLE:
                states.session_data.pop(session, None)
                states.time_last_used.pop(session, None)
        self._seen = {session: found for session, found in seen.items() if session in states.time_last_used}
