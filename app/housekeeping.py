"""What happens without a visitor: a first run, and every minute a look for what nobody needs any more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta

import gradio as gr

from app.memory import give_back
from app.service import Service
from app.sessions import SessionStore
from app.uploads import UploadedOnly

LOOK_EVERY = 60.0  # seconds
IDLE = timedelta(seconds=60)
WARM_UP_AFTER = 1.0  # seconds
_log = logging.getLogger(__name__)


class Page(UploadedOnly):
    """The page with the sessions that are open on it."""

    store: SessionStore
    service: Service


@asynccontextmanager
async def housekeeping(app: gr.routes.App) -> AsyncIterator[None]:
    """Keep house as long as the server of a `Page` runs."""
    page = app.get_blocks()
    assert isinstance(page, Page)
    tasks = [asyncio.create_task(_keep_house(page)), asyncio.create_task(_warm_up(page.service))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _warm_up(service: Service) -> None:
    await asyncio.sleep(WARM_UP_AFTER)  # the page itself comes first
    try:
        await asyncio.to_thread(service.warm_up)
    except Exception:  # a visitor's run will say what is wrong
        _log.exception("The first model could not be run at the start.")


async def _keep_house(page: Page) -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY)
        await tidy(page)


async def tidy(page: Page) -> None:
    """Forget sessions that nobody uses, here and in Gradio, and give the memory back to the system."""
    await asyncio.to_thread(page.store.forget_stale)
    forget_values(page.state_holder, page.store.open_sessions)
    await asyncio.to_thread(give_back)


def forget_values(states: gr.state_holder.StateHolder, is_open: Container[str]) -> None:
    """Drop Gradio's copy of all that a page was sent, if the page was left or has not been used yet.

    Gradio itself keeps it for the next 10,000 pages. Call it on the server's event loop, as Gradio does.
    """
    now = datetime.now()
    for session, used in list(states.time_last_used.items()):
        if session not in is_open and now - used > IDLE:
            states.session_data.pop(session, None)
            states.time_last_used.pop(session, None)
