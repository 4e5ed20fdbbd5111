"""The route of the tools. The package `mcp` is imported only where the server is started with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.routing import Route
from starlette.types import Receive, Scope, Send

PATH = "/mcp"
MISSING = 'the tools for agents need the package mcp: pip install "mcp>=2.3,<3", or start without --mcp.'
Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


class Tools:
    """Answers the Model Context Protocol at `route`, without sessions, while `lifespan` runs.

    Raises:
        ValueError: the package is not installed.
    """

    def __init__(self) -> None:
        try:
            from mcp.server.transport_security import TransportSecuritySettings

            from app.mcp.tools import make_server
        except ImportError as error:
            raise ValueError(MISSING) from error
        # Hosts and origins are checked in front of all routes, by `app.web.hosts`.
        unchecked = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        self._server = make_server()
        self._server.streamable_http_app(
            json_response=True, stateless_http=True, transport_security=unchecked
        )
        self.route = Route(PATH, self, methods=["POST"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        await self._server.session_manager.handle_request(scope, receive, send)

    def within(self, lifespan: Lifespan) -> Lifespan:
        """A server's lifespan, in which the tools run as well."""

        @asynccontextmanager
        async def both(app: Any) -> AsyncIterator[None]:
            async with self._server.session_manager.run(), lifespan(app):
                yield

        return both
