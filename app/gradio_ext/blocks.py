"""The page as Gradio serves it: what an event may name and say, how its failures are told, and the start."""

from __future__ import annotations

import asyncio
import errno
import html
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
from gradio.exceptions import ComponentProcessingError, InvalidPathError
from gradio_client.utils import is_http_url_like
from pydantic import ValidationError

from app.gradio_ext.fair_queue import FairQueue
from app.gradio_ext.payloads import check_values, files_in
from app.server.folder import ServerFolder
from app.server.logs import note
from app.server.sessions import SessionStore, current_address, current_session
from app.server.uploads import NOT_HERE, Uploads
from app.service import Service
from app.web.client_address import noted_address
from app.web.request_ids import id_of, request_id, went_wrong
from app.web.upload_route import FULL_DISK

NO_ADDRESSES = (
    "a file is given by its address on the internet; nothing is fetched from there. Upload the file."
)
NO_DISK = (
    "the server's disk is full, so this could not be written. Your inputs and results are as they were: try "
    "again in a few minutes (request {})."
)
NO_MEMORY = (
    "the server has not enough memory for this. Try a smaller picture or a shorter recording; your inputs "
    "and results are as they were (request {})."
)
NO_SELECTION = (
    'this event needs event_data with what was selected, such as {"index": 0, "value": null}, as the page '
    "sends it."
)
NO_HANDLER = "this event belongs to a script of the page; the server has nothing to answer."
UNREADABLE = "the values of this call are not what the event takes: {}"
HEAVY = ("network", "sequence")
"""Queues whose events are worth a line in the log; the others only draw."""
MARKED = {"_type": "gradio.FileData"}
_log = logging.getLogger(__name__)


class Unsafe(RuntimeError):
    """The page does not open: a protection that is promised does not work. The text names it."""


class Page(gr.Blocks):
    """The page with its sessions, its files and its checks.

    An event takes only files that its own session uploaded, or that are offered to all. Errors that nobody
    foresaw reach the visitor as an id, and the log as a traceback under that id.

    Attributes:
        store, folder: the open sessions, and the folder in which all files lie.
        service: the models, for files that visitors name.
        forget_offered: takes what is offered off Gradio's list of files that may be served.
        asked_at: when somebody last asked the server for anything, in seconds of `time.monotonic`.
        probe_event: number of an event that takes a file and does nothing; for `app.gradio_ext.probe`.
        failures: of the probe at the start: what got through; None until it ran.
    """

    store: SessionStore
    service: Service
    folder: ServerFolder
    forget_offered: Callable[[], None]
    asked_at: float = 0.0
    probe_event: int
    failures: list[str] | None = None

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.api_open = False  # what has to wait its turn cannot be called past the queue

    @property
    def uploads(self) -> Uploads:
        """The files, and whose they are."""
        return self.store.uploads

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

    def launch(self, *args: Any, **options: Any) -> Any:
        """As Gradio's; Unsafe if the page's own attacks on it got through, or were not made."""
        self.failures = None
        try:
            answer = super().launch(*args, **options)
        except Exception as error:
            if not self.failures:
                raise
            self.close()
            raise Unsafe(_unsafe(self.failures)) from error
        if self.failures is None or self.failures:
            self.close()
            raise Unsafe(_unsafe(self.failures or ["the probe at the start, which did not run"]))
        return answer

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:
        """As Gradio's; gr.Error for whatever goes wrong."""
        request = options.get("request")
        name = id_of(request.request) if isinstance(request, gr.Request) else request_id.get()
        mine, whose = request_id.set(name), current_session.set(options.get("session_hash") or "")
        is_asked = isinstance(request, gr.Request) and request.request is not None
        place = current_address.set(noted_address(request.request.scope) if is_asked else "")
        begun, outcome = time.perf_counter(), "done"
        function = options.get("block_fn") or args[0]
        try:
            _check_event(function, options.get("event_data"))
            return await super().process_api(*args, **options)
        except gr.Error as error:
            outcome, error.print_exception = "refused", False
            raise
        except Exception as error:
            outcome = "failed"
            _log.exception("an event failed")
            raise gr.Error(html.escape(words_for(error, name)), duration=30, print_exception=False) from error
        finally:
            is_heavy = getattr(function, "concurrency_id", "") in HEAVY and options.get("iterator") is None
            note(
                _log,
                logging.INFO if is_heavy else logging.DEBUG,
                "event",
                name=getattr(function, "api_name", None) or getattr(function, "name", ""),
                outcome=outcome,
                seconds=round(time.perf_counter() - begun, 3),
            )
            current_address.reset(place)
            current_session.reset(whose)
            request_id.reset(mine)

    async def preprocess_data(self, block_fn, inputs: list[Any], state, explicit_call: bool = False):
        """As Gradio's; gr.Error for a file that is not this session's, and for values of a wrong kind.

        Gradio itself checks only files that say that they are files, and would fetch addresses.
        """
        named = list(files_in(inputs))
        self._claim(named)
        blocks = [state[one._id] if state and one._id in state else one for one in block_fn.inputs]
        try:
            check_values(block_fn, inputs, blocks)
        except ValueError as error:
            raise _refused(str(error)) from error
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except InvalidPathError as error:
            raise _refused(NOT_HERE) from error
        except (ComponentProcessingError, ValidationError) as error:
            raise _refused(UNREADABLE.format(str(error).splitlines()[0])) from error

    def _claim(self, files: list[dict[str, Any]]) -> None:
        """Make all files this session's, written as the disk has them; gr.Error if one is not to be had."""
        paths = [file["path"] for file in files]
        if any(is_http_url_like(path) for path in paths):
            raise _refused(NO_ADDRESSES)
        is_text = all(isinstance(path, str) for path in paths)
        own = self.uploads.claim(current_session.get(), paths) if is_text else None
        if own is None:
            raise _refused(NOT_HERE)
        for file, path in zip(files, own):
            file["path"] = str(path)
            file.pop("url", None)  # of whoever sent it; nothing here follows it
            file.setdefault("meta", dict(MARKED))  # so that Gradio checks it as well


def _check_event(function: Any, event: gr.EventData | None) -> None:
    """Refuse an event that no handler answers, or that lacks what its handler is told of a choice."""
    handler = getattr(function, "fn", None)
    if handler is None:
        raise _refused(NO_HANDLER)
    wanted = [str(one.annotation) for one in inspect.signature(handler).parameters.values()]
    if not any("SelectData" in annotation for annotation in wanted):
        return
    told = getattr(event, "_data", None)
    index = told.get("index") if isinstance(told, dict) else None
    if not isinstance(index, int) or isinstance(index, bool) or "value" not in told:
        raise _refused(NO_SELECTION)


def _refused(said: str) -> gr.Error:
    return gr.Error(html.escape(said, quote=False), print_exception=False)


def _unsafe(failures: list[str]) -> str:
    return (
        f"the page does not open, because this was not refused: {'; '.join(failures)}. It is made for "
        f"gradio>=6.31,<6.32, and {gr.__version__} is installed."
    )


def words_for(error: BaseException, name: str) -> str:
    """What a visitor is told of an error that no handler foresaw, in the request of this id."""
    for found in _chain(error):
        if isinstance(found, MemoryError):
            return NO_MEMORY.format(name)
        if isinstance(found, OSError) and found.errno in FULL_DISK:
            return NO_DISK.format(name)
        if isinstance(found, OSError) and found.errno == errno.ENOMEM:
            return NO_MEMORY.format(name)
    return went_wrong(name)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
