"""`gr.Blocks` with checked event inputs, error reporting, and a start-up probe."""

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
from app.gradio_ext.payloads import check_values, files_in, with_defaults
from app.server.folder import ServerFolder
from app.server.logs import note
from app.server.sessions import SessionStore, current_address, current_root, current_session
from app.server.uploads import NOT_HERE, Uploads
from app.service import Service
from app.web.client_address import noted_address
from app.web.request_ids import id_of, request_id, went_wrong
from app.web.upload_route import FULL_DISK
from app.widgets.opening import Opening

NO_ADDRESSES = "a file is given by a URL, which the server does not fetch. Upload the file."
NO_DISK = (
    "the server's disk is full, so this could not be written. Your inputs and results are unchanged: try "
    "again in a few minutes (request {})."
)
NO_MEMORY = (
    "the server does not have enough memory for this. Try a smaller image or a shorter video; your inputs "
    "and results are unchanged (request {})."
)
NO_SELECTION = (
    'this event needs event_data with what was selected, such as {"index": 0, "value": null}, as the page '
    "sends it."
)
NO_HANDLER = "this event belongs to a script of the page; the server has no handler for it."
UNREADABLE = "the values of this call are not what the event takes: {}"
HEAVY = ("network", "sequence")
"""Queues whose events are logged; the others only draw."""
MARKED = {"_type": "gradio.FileData"}
_log = logging.getLogger(__name__)


class Unsafe(RuntimeError):
    """The page does not open, because a guaranteed protection does not work. The message names it."""


class Page(gr.Blocks):
    """The page with its sessions, files and checks.

    An event accepts only files that its own session uploaded or that are offered to all. Unexpected errors
    reach the visitor as a request id, and the log as a traceback with that id.

    Attributes:
        store, folder: the open sessions, and the folder of all files.
        service: the models, restricted to files that visitors may read.
        forget_offered: removes the offered files from Gradio's list of static files.
        opening: the run of the first example, which a page opens on; None for none.
        asked_at: time of the last request, in seconds of `time.monotonic`.
        probe_event: number of an event that takes a file and does nothing; for `app.gradio_ext.probe`.
        failures: attacks of the start-up probe that were not refused; None before it ran.
    """

    store: SessionStore
    service: Service
    folder: ServerFolder
    forget_offered: Callable[[], None]
    asked_at: float = 0.0
    opening: Opening | None = None
    probe_event: int
    failures: list[str] | None = None

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.api_open = False  # events of the queue cannot be called without it

    @property
    def uploads(self) -> Uploads:
        """The uploaded files and their owners."""
        return self.store.uploads

    def queue(self, *args: Any, **options: Any) -> Page:
        """As `gr.Blocks.queue`, with a queue that is fair between addresses."""
        super().queue(*args, **options)
        if hasattr(self, "folder"):  # the constructor of Gradio makes a first queue
            self._queue = FairQueue(self._queue, self.folder.path)
        return self

    async def leave(self, session: str) -> None:
        """Remove a session whose page was closed, with its files and unread responses."""
        self._queue.leave(session)
        await asyncio.to_thread(self.store.close, session)

    def launch(self, *args: Any, **options: Any) -> Any:
        """As `gr.Blocks.launch`; Unsafe if the start-up probe failed or did not run.

        Raises:
            ValueError: the disk has no room for an upload.
        """
        self.uploads.require_disk()
        self.failures = None
        try:
            launched = super().launch(*args, **options)
        except Exception as error:
            if not self.failures:
                raise
            self.close()
            raise Unsafe(_unsafe(self.failures)) from error
        if self.failures is None or self.failures:
            self.close()
            raise Unsafe(_unsafe(self.failures or ["the start-up probe, which did not run"]))
        return launched

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:
        """As `gr.Blocks.process_api`; raises gr.Error for every error."""
        request = options.get("request")
        name = id_of(request.request) if isinstance(request, gr.Request) else request_id.get()
        mine, whose = request_id.set(name), current_session.set(options.get("session_hash") or "")
        is_asked = isinstance(request, gr.Request) and request.request is not None
        place = current_address.set(noted_address(request.request.scope) if is_asked else "")
        root = current_root.set(options.get("root_path") or "")
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
            current_root.reset(root)
            current_address.reset(place)
            current_session.reset(whose)
            request_id.reset(mine)

    async def preprocess_data(self, block_fn, inputs: list[Any], state, explicit_call: bool = False):
        """As `gr.Blocks.preprocess_data`; gr.Error for another session's file and for values of a wrong type.

        Gradio checks only values that are marked as files, and would fetch URLs.
        """
        inputs = with_defaults(block_fn, inputs)
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
        """Claim all files for this session and resolve their paths; gr.Error if one is not available."""
        paths = [file["path"] for file in files]
        if any(is_http_url_like(path) for path in paths):
            raise _refused(NO_ADDRESSES)
        is_text = all(isinstance(path, str) for path in paths)
        own = self.uploads.claim(current_session.get(), paths) if is_text else None
        if own is None:
            raise _refused(NOT_HERE)
        for file, path in zip(files, own):
            file["path"] = str(path)
            file.pop("url", None)  # given by the sender; never fetched
            file.setdefault("meta", dict(MARKED))  # so that Gradio checks it, too


def _check_event(function: Any, event: gr.EventData | None) -> None:
    """Refuse an event without a handler, or without the selection data that its handler needs."""
    handler = getattr(function, "fn", None)
    if handler is None:
        raise _refused(NO_HANDLER)
    wanted = [str(one.annotation) for one in inspect.signature(handler).parameters.values()]
    if not any("SelectData" in annotation for annotation in wanted):
        return
    data = getattr(event, "_data", None)
    index = data.get("index") if isinstance(data, dict) else None
    if not isinstance(index, int) or isinstance(index, bool) or "value" not in data:
        raise _refused(NO_SELECTION)


def _refused(message: str) -> gr.Error:
    return gr.Error(html.escape(message, quote=False), print_exception=False)


def _unsafe(failures: list[str]) -> str:
    return (
        f"the page does not open, because this was not refused: {'; '.join(failures)}. It supports "
        f"gradio>=6.31,<6.32, and {gr.__version__} is installed."
    )


def words_for(error: BaseException, name: str) -> str:
    """The message to a visitor about an unexpected error in the request of this id."""
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
