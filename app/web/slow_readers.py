"""Disconnect clients that do not read a chunk of a response within a minute, to free its memory."""

from __future__ import annotations

import logging

from anyio import fail_after
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE_BYTES = 256 * 2**10
PIECE_SECONDS = 60.0
_log = logging.getLogger(__name__)


class _TakesNothing(OSError):
    pass


class SlowReaders:
    """Sends bodies in chunks of 256 KiB, each of which must be read in time."""

    def __init__(self, app: ASGIApp, seconds: float = PIECE_SECONDS):
        self.app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def in_time(message: Message) -> None:
            body, start = message.get("body", b""), 0
            while len(body) - start > PIECE_BYTES:
                part = body[start : start + PIECE_BYTES]
                await piece({"type": "http.response.body", "body": part, "more_body": True})
                start += PIECE_BYTES
            await piece(message | {"body": body[start:]} if start else message)

        async def piece(message: Message) -> None:
            try:
                with fail_after(self._seconds):
                    await send(message)
            except TimeoutError as error:
                raise _TakesNothing from error

        try:
            await self.app(scope, receive, in_time)
        except Exception as error:  # the application may have wrapped it
            if not _is_ours(error):
                raise
            _log.info("a response was not read in time; the connection is closed")


def _is_ours(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, _TakesNothing):
        error = error.__cause__ or error.__context__
    return error is not None
