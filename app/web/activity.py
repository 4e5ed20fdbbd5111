"""Activity of the server: background work waits while a page is being opened."""

from __future__ import annotations

from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class ActivityWatch:
    """Calls `note` with the scope of every HTTP request, at its start and its end."""

    def __init__(self, app: ASGIApp, note: Callable[[Scope], None]):
        self.app, self._note = app, note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self._note(scope)
        try:
            await self.app(scope, receive, send)
        finally:
            self._note(scope)
