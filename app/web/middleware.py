"""The middleware of this package in its order, as arguments of `launch`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import Scope

from app.gradio_ext.payloads import parameters_of
from app.server.sessions import SessionStore
from app.web.activity import ActivityWatch
from app.web.at_once import AtOnce
from app.web.calls import check_call
from app.web.leaving import LeaveRoute
from app.web.own_routes import ANSWERS, VIEWER
from app.web.rate_limits import CallSizes, RateLimit, RateLimits
from app.web.request_ids import RequestIds
from app.web.route_filter import RouteFilter
from app.web.security_headers import SecurityHeaders
from app.web.slow_readers import SlowReaders
from app.web.upload_route import receive_upload


def web_options(limit: RateLimit, added: str, more: Sequence[Route] = ()) -> dict[str, Any]:
    """Keyword arguments for the server of a page with a `store`.

    Args:
        limit: rate limits per address.
        added: HTML with the page's own scripts.
        more: routes for POST besides those that the page needs.
    """
    return {
        "middleware": [
            Middleware(SlowReaders),
            Middleware(SecurityHeaders, added=added),
            Middleware(RequestIds),
            Middleware(ActivityWatch, note=_was_asked),
            Middleware(RouteFilter, serves=_serves, also=[route.path for route in more]),
            Middleware(RateLimits, limit=limit),
            Middleware(CallSizes, on_call=_check),
            Middleware(AtOnce),
            Middleware(LeaveRoute, on_leave=_leave),
        ],
        "routes": [Route("/gradio_api/upload", receive_upload, methods=["POST"]), VIEWER, ANSWERS, *more],
    }


def _was_asked(scope: Scope) -> None:
    scope["app"].get_blocks().asked_at = time.monotonic()


def _serves(scope: Scope, path: str) -> bool:
    return _store(scope).uploads.serves(path)


def _check(scope: Scope, call: bytes) -> None:
    page = scope["app"].get_blocks()
    public = {event.api_name: event for event in page.fns.values() if event.api_visibility == "public"}
    check_call(scope["path"], call, page.fns, public, lambda name: parameters_of(public[name]))


async def _leave(scope: Scope, session: str) -> None:
    await scope["app"].get_blocks().leave(session)


def _store(scope: Scope) -> SessionStore:
    return scope["app"].get_blocks().store
