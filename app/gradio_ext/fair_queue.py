"""Gradio's queue with fair scheduling between addresses, and bounds on waiting and unread work."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fastapi
import orjson
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, EventQueue, Queue
from gradio.server_messages import EventMessage, ProcessCompletedMessage, ProcessGeneratingMessage

from app.gradio_ext.unread import UnreadAnswers, in_file
from app.server.fair_turns import FairTurns
from app.web.client_address import noted_address

SHARE, LEAST = 4, 16
"""An address may fill a quarter of the queue, and at least this number of events."""
FIRST_GUESS = 1.0
"""Expected seconds of an event before the first one of its kind was run."""
SHUT = "Events are not accepted now."
OVERRIDDEN = ("push", "process_events", "send_message")
TOO_MANY = "{} runs of your address are already waiting. Wait until one is done, then try again."


class FairQueue(Queue):
    """A fair replacement of Gradio's first-in, first-out queue, which keeps responses until they are read.

    Attributes:
        is_shut: whether all events are refused; for `app.gradio_ext.probe`.

    Args:
        like: the queue to replace; it must be empty.
        folder: the folder for large unread responses.
    """

    def __init__(self, like: Queue, folder: Path, clock: Callable[[], float] = time.monotonic):
        super().__init__(
            live_updates=like.live_updates,
            concurrency_count=like.max_thread_count,
            update_intervals=like.update_intervals,
            max_size=like.max_size,
            blocks=like.blocks,
            default_concurrency_limit=like.default_concurrency_limit,
        )
        self._turns: dict[str, FairTurns] = {}
        self._clock, self.is_shut = clock, False
        self.unread = UnreadAnswers(folder, clock)

    @property
    def waiting(self) -> list[Event]:
        """The waiting events."""
        return [event for one in self.event_queue_per_concurrency_id.values() for event in one.queue]

    @property
    def max_of_address(self) -> int | None:
        """The maximum number of waiting events per address."""
        return None if self.max_size is None else max(LEAST, self.max_size // SHARE)

    async def push(self, body: PredictBodyInternal, request: fastapi.Request, username: str | None):
        """As `Queue.push`, which returns whether the event is queued; inserts it in fair order."""
        address, most = noted_address(request.scope), self.max_of_address
        if self.is_shut:
            return False, SHUT, "queue_full"
        if most is not None:
            waiting = Counter(noted_address(event.request.scope) for event in self.waiting)
            if waiting[address] >= most:
                return False, TOO_MANY.format(most), "queue_full"
        response = await super().push(body, request, username)
        if response[0] and (event := self.event_ids_to_events.get(str(response[1]))):
            self._line_up(event, address)
        return response

    async def process_events(self, events: list[Event], batch: bool, begin_time: float, fn) -> None:
        """As `Queue.process_events`; records the events' time for the fair order."""
        turns, begun = self._turns_of(events[0]), self._clock()
        for event in events:
            turns.begin(event._id)
        try:
            await super().process_events(events, batch, begin_time, fn)
        finally:
            for event in events:
                turns.end(event._id, self._clock() - begun)
            self._sort(self.event_queue_per_concurrency_id[events[0].concurrency_id], turns)

    def send_message(self, event: Event, event_message: EventMessage) -> None:
        """As `Queue.send_message`, which stores a message until it is read; large responses go to a file."""
        session = event.session_hash
        messages = self.pending_messages_per_session.get(session)
        if messages is None:  # the session was dropped
            event.alive = False
        if messages is None or not event.alive:
            return
        if messages.empty():
            self.unread.note_read(session)
        if isinstance(event_message, ProcessCompletedMessage | ProcessGeneratingMessage):
            response = orjson.dumps(event_message.model_dump(include={"output"})["output"], default=str)
            path = self.unread.keep(session, noted_address(event.request.scope), response)
            event_message = in_file(event_message, path) if path else event_message
        super().send_message(event, event_message)
        if self.unread.is_full:
            self.forget_unread(spared=session)

    def leave(self, session: str) -> None:
        """Drop the unread responses of a session whose page was closed."""
        self.unread.drop(session)
        messages = self.pending_messages_per_session.get(session)
        while messages is not None and not messages.empty():
            messages.get_nowait()

    def forget_unread(self, spared: str | None = None) -> None:
        """Drop responses that were not read in time, and the oldest ones beyond the size limit.

        The session `spared` is not dropped for its size. A later request for a dropped response gets the
        error that there is no such session.
        """
        for session in self.unread.sessions:
            messages = self.pending_messages_per_session.get(session)
            if messages is None or messages.empty():
                self.unread.note_read(session)
        for session in self.unread.surplus(spared):
            self._forget(session)
        busy = {event.session_hash for event in self.event_ids_to_events.values()}
        for session, messages in list(self.pending_messages_per_session.items()):
            if messages.empty() and session not in busy and not self.pending_event_ids_session.get(session):
                self._forget(session)

    def _forget(self, session: str) -> None:
        self.unread.drop(session)
        self.pending_messages_per_session.pop(session, None)
        self.pending_event_ids_session.pop(session, None)

    def _line_up(self, event: Event, address: str) -> None:
        turns = self._turns_of(event)
        known = self.process_time_per_fn.get(event.fn)
        turns.add(event._id, address, known.avg_time if known else FIRST_GUESS)
        line = self.event_queue_per_concurrency_id[event.concurrency_id]
        if self._sort(line, turns):
            self.broadcast_estimations(event.concurrency_id)

    def _sort(self, line: EventQueue, turns: FairTurns) -> bool:
        """Sort the waiting events in fair order; returns whether the order changed."""
        turns.keep({event._id for event in self.event_ids_to_events.values()})
        before = list(line.queue)
        line.queue.sort(key=lambda event: turns.tag(event._id))
        return line.queue != before

    def _turns_of(self, event: Event) -> FairTurns:
        return self._turns.setdefault(event.concurrency_id, FairTurns())
