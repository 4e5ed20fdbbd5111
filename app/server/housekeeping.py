"""Background tasks: a warm-up run, and every minute the removal of unused data."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import gradio as gr

from app.gradio_ext.blocks import Page
from app.gradio_ext.payloads import files_in
from app.gradio_ext.probe import Gate, open_when_safe
from app.gradio_ext.state import (
    IdleStates,
    forget_temporary_files,
    forget_unread_answers,
    hold_lean_states,
    pending_events,
    waiting_calls,
)
from app.gradio_ext.uploading import forget_progress
from app.server.memory import give_back
from app.web.hosts import HostRule

TIDY_EVERY = 60.0  # seconds
WARM_UP_AFTER = 1.0  # seconds without requests: a page that is being opened comes first
WARM_UP_WITHIN = 15.0  # seconds after the start, regardless of requests
_log = logging.getLogger(__name__)


@asynccontextmanager
async def housekeeping(app: gr.routes.App, hosts: HostRule) -> AsyncIterator[None]:
    """Lifespan of the server of a `Page`: background tasks run, and requests wait for the start-up probe.

    hosts: the allowed host names.
    """
    page = app.get_blocks()
    assert isinstance(page, Page)
    hold_lean_states(app, page)
    gate = Gate.before(app, hosts)
    tasks = [
        asyncio.create_task(work) for work in (open_when_safe(page, gate), _keep_house(page), _warm_up(page))
    ]
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
    await wait_until_quiet(page)
    try:
        await asyncio.to_thread(page.service.warm_up)
        if page.opening is not None:
            await asyncio.to_thread(page.opening.make)
    except Exception:  # a visitor's run reports the error
        _log.exception("The first model could not be run at the start.")


async def wait_until_quiet(page: Page, clock=time.monotonic, sleep=asyncio.sleep) -> None:
    """Return `WARM_UP_AFTER` seconds after the last request, but within `WARM_UP_WITHIN` seconds."""
    begun = now = clock()
    while (rest := max(begun, page.asked_at) + WARM_UP_AFTER - now) > 0 and now < begun + WARM_UP_WITHIN:
        await sleep(min(rest, begun + WARM_UP_WITHIN - now))
        now = clock()


async def _keep_house(page: Page) -> None:
    idle = IdleStates()
    while True:
        await asyncio.sleep(TIDY_EVERY)
        await tidy(page, idle)


async def tidy(page: Page, idle: IdleStates) -> None:
    """Remove unused sessions, here and in Gradio, and return memory to the system.

    A failed step is logged; the other steps run nevertheless.
    """

    async def keep_waiting() -> None:
        page.store.keep_open(session for session, events in pending_events(page).items() if events)
        for session, values in waiting_calls(page, page.uploads.limits.waiting_seconds):
            page.uploads.keep_waiting(session, [str(file["path"]) for file in files_in(values)])

    async def forget_unread() -> None:
        forget_unread_answers(page)

    async def forget_states() -> None:
        idle.forget(page, page.store.open_sessions)

    async def forget_files() -> None:
        forget_temporary_files(page)
        forget_progress()

    steps: dict[str, Callable[[], Awaitable[object]]] = {  # Gradio's state is changed on its event loop
        "keep what waits": keep_waiting,
        "forget answers that nobody reads": forget_unread,
        "forget old sessions": partial(asyncio.to_thread, page.store.forget_stale),
        "count what results take": partial(asyncio.to_thread, page.store.recount),
        "drop Gradio's copies of closed pages": forget_states,
        "empty Gradio's lists of files": forget_files,
        "give memory back": partial(asyncio.to_thread, give_back),
    }
    for name, step in steps.items():
        try:
            await step()
        except Exception:
            _log.exception("Housekeeping could not %s, and goes on.", name)
