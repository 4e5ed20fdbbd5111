"""A short id for every request, in the response header, the log, and error messages."""

from __future__ import annotations

import logging
import secrets
from contextvars import ContextVar

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-request-id"
NONE = "-"
request_id: ContextVar[str] = ContextVar("request_id", default=NONE)
"""The id of the current request, also in its worker threads."""
_log = logging.getLogger(__name__)


class RequestIds:
    """Assigns ids to requests, and responds to unhandled errors, whose traceback is logged with the id."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        name, has_begun = secrets.token_hex(6), False
        scope.setdefault("state", {})["request_id"] = name

        async def named(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                message["headers"] = [*message.get("headers", ()), (HEADER, name.encode())]
            await send(message)

        before = request_id.set(name)
        try:
            await self.app(scope, receive, named)
        except Exception:
            if has_begun:
                raise
            _log.exception("a request failed")
            detail = went_wrong(name)
            await JSONResponse({"detail": detail, "error": detail}, 500)(scope, receive, named)
        finally:
            request_id.reset(before)


def id_of(connection: HTTPConnection | None) -> str:
    """The id of a request, "-" if it has none."""
    return getattr(connection.state, "request_id", NONE) if connection is not None else NONE


def went_wrong(name: str) -> str:
    """The message to a visitor about an unexpected error."""
    return (
        f"something went wrong on the server (request {name}). Nothing that you set is lost: try again, and "
        f"if it comes back, tell whoever runs this page the request {name}."
    )
