"""Inspect and remove the state that Gradio keeps for each session."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

IDLE = timedelta(seconds=60)


class LeanState(SessionState):
    """As Gradio's, without the configuration of all that a page shows.

    Gradio keeps it for saved states, which are shut here. It takes 20 ms and 4 MiB for each new session.
    """

    def __init__(self, blocks: gr.Blocks):
        shown: Any = SimpleNamespace(default_config=blocks.default_config, blocks={})
        super().__init__(shown)

    def __setitem__(self, key: int, value: Any) -> None:
        super().__setitem__(key, value)
        self.config_values.clear()

    def _update_config(self, key: int) -> None:
        pass

    def _update_value_in_config(self, key: int, value: Any) -> None:
        pass


class LeanStates(StateHolder):
    """Gradio's sessions, each of them lean."""

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = LeanState(self.blocks)
        return super().__getitem__(session_id)


def hold_lean_states(app: gr.routes.App, page: gr.Blocks) -> None:
    """Let the server of a page make lean sessions; call it before the first request."""
    app.state_holder = LeanStates()
    app.state_holder.set_blocks(page)


def pending_events(page: gr.Blocks) -> dict[str, set[str]]:
    """Session → its waiting and running events."""
    return dict(page._queue.pending_event_ids_session)


def waiting_calls(page: gr.Blocks, seconds: float) -> Iterator[tuple[str, list[Any]]]:
    """Session and values of each event that has waited for less than `seconds`."""
    since = time.monotonic() - seconds
    for event in page._queue.waiting:
        if event.data is not None and event.enqueue_time > since:
            yield event.session_hash, event.data.data


def forget_unread_answers(page: gr.Blocks) -> None:
    """Drop responses that were not read in time."""
    page._queue.forget_unread()


def forget_temporary_files(page: gr.Blocks) -> None:
    """Empty Gradio's lists of files, which otherwise only grow; `SessionStore` deletes the files."""
    for files in page.temp_file_sets:
        files.clear()


class IdleStates:
    """Detects Gradio sessions unused between two checks, independently of the wall clock.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._seen: dict[str, tuple[datetime, float]] = {}  # Gradio's last use, and its first sighting

    def forget(self, page: gr.Blocks, is_open: Container[str]) -> None:
        """Drop Gradio's copy of a page's state if the page was closed or has not been used yet.

        Gradio itself keeps it for the next 10,000 pages. Call it on the server's event loop, as Gradio does.
        """
        now, seen, states = self._clock(), {}, page.state_holder
        for session, used in list(states.time_last_used.items()):
            if session in is_open:
                continue
            noted, since = self._seen.get(session, (used, now))
            seen[session] = used, (since if noted == used else now)
            if timedelta(seconds=now - seen[session][1]) >= IDLE:
                states.session_data.pop(session, None)
                states.time_last_used.pop(session, None)
        self._seen = {session: found for session, found in seen.items() if session in states.time_last_used}
