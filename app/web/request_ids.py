"""A short name for every request: in the answer's header, in the log, and in what a visitor may quote."""

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
"""Of the request that is being answered, also in the threads that work for it."""
_log = logging.getLogger(__name__)


class RequestIds:
    """Names requests, and answers those that break: the log has the traceback under the name."""

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
            _log.exception("a request broke")
            said = went_wrong(name)
            await JSONResponse({"detail": said, "error": said}, 500)(scope, receive, named)
        finally:
            request_id.reset(before)


def id_of(connection: HTTPConnection | None) -> str:
    """The name that a request got, "-" if it has none."""
    return getattr(connection.state, "request_id", NONE) if connection is not None else NONE


def went_wrong(name: str) -> str:
    """What a visitor is told who ran into a mistake of ours."""
    return (
        f"something went wrong on the server (request {name}). Nothing that you set is lost: try again, and "
        f"if it comes back, tell whoever runs this page the request {name}."
    )
