"""Every event of the page and call of the API: logged under its request's id, its failures told in words."""

from __future__ import annotations

import errno
import html
import logging
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr

from app.gradio_ext.unchanged import LeavesUnchanged
from app.gradio_ext.uploads import session
from app.server.logs import note
from app.web.request_ids import id_of, request_id, went_wrong
from app.web.upload_route import FULL_DISK

NO_DISK = (
    "the server's disk is full, so this could not be written. Your inputs and results are as they were: try "
    "again in a few minutes (request {})."
)
NO_MEMORY = (
    "the server has not enough memory for this. Try a smaller picture or a shorter recording; your inputs "
    "and results are as they were (request {})."
)
HEAVY = ("network", "sequence")
"""Queues whose events are worth a line; the others only draw."""
_log = logging.getLogger(__name__)


class Answering(LeavesUnchanged):
    """A page whose unexpected errors reach the visitor as an id, and the log as a traceback under that id."""

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:
        """As Gradio's; gr.Error for whatever goes wrong."""
        request = options.get("request")
        name = id_of(request.request) if isinstance(request, gr.Request) else request_id.get()
        mine, whose = request_id.set(name), session.set(options.get("session_hash") or "")
        begun, outcome = time.perf_counter(), "done"
        try:
            return await super().process_api(*args, **options)
        except gr.Error as error:
            outcome, error.print_exception = "refused", False
            raise
        except Exception as error:
            outcome = "failed"
            _log.exception("an event failed")
            raise gr.Error(html.escape(words_for(error, name)), duration=30, print_exception=False) from error
        finally:
            function = options.get("block_fn") or args[0]
            is_heavy = getattr(function, "concurrency_id", "") in HEAVY and options.get("iterator") is None
            note(
                _log,
                logging.INFO if is_heavy else logging.DEBUG,
                "event",
                name=getattr(function, "api_name", None) or getattr(function, "name", ""),
                outcome=outcome,
                seconds=round(time.perf_counter() - begun, 3),
            )
            session.reset(whose)
            request_id.reset(mine)


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
