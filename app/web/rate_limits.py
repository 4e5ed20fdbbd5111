"""Limits of the rate and size of requests, applied before the page and its queue."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from anyio import fail_after
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.calls import BadCall
from app.web.client_address import note_address

MAX_CALL_BYTES = 2**20
"""Maximum size of the body of an event or a call; files have their own route."""
EVENTS_PER_MINUTE = 3000
"""Default rate per address: 100 visitors who each trigger an event every two seconds."""
BURST_SECONDS = 15
UPLOADS, PAGES = 10, 20
"""Events for one upload, and for one page: that many times fewer are taken."""
MAX_ADDRESSES = 10_000
BODY_SECONDS = 60.0
"""Seconds within which the body of a call must arrive."""
TOO_LATE = "This call did not come in time. Send it again."
CLOSE = {"Connection": "close"}
UPLOAD = re.compile(r"^/gradio_api/upload/?$")
EVENT = re.compile(r"^/(gradio_api/(queue/join|run/predict|cancel|call/.+?)|mcp)/?$")
PROGRESS = re.compile(r"^/gradio_api/upload_progress/?$")
PART = re.compile(
    r"^/(gradio_api/)?(assets|static|svelte|theme\.css|favicon\.ico|manifest\.json)(/|$)"
    r"|^/viewer/[a-z]+\.(js|css)$"
)
"""Cheap requests, of which a browser makes about a hundred to open the page."""
HEARTBEAT = re.compile(r"^/gradio_api/heartbeat/")
ANSWER = re.compile(r"^/gradio_api/(queue/|call/|file[=/])|^/(answers|viewer)/|^/healthz$")
"""Requests that a page or a client makes for an event."""
SHARES: tuple[tuple[str, re.Pattern[str], float, float], ...] = (
    ("POST", EVENT, 1, 1),
    ("POST", UPLOAD, 1 / UPLOADS, 1),
    ("GET", PROGRESS, 1 / UPLOADS, 100),
    ("GET", PART, 10, 500),
    ("GET", HEARTBEAT, 1 / PAGES, 100),
    ("GET", ANSWER, 2, 50),
    ("GET", re.compile(""), 1 / PAGES, 100),
)
"""Method, path, number of requests per event, and minimum burst.

The first matching row applies. Opening the page is always possible.
"""


@dataclass(frozen=True)
class RateLimit:
    """Rate limits per address.

    Attributes:
        events_per_minute: events and calls; a tenth as many uploads, see `SHARES`. 0 is unlimited.
        proxies: the number of trusted proxies, see `client_address`.
    """

    events_per_minute: int = EVENTS_PER_MINUTE
    proxies: int = 0

    def __post_init__(self) -> None:
        if self.events_per_minute < 0 or self.proxies < 0:
            raise ValueError("a rate limit and the number of proxies must be 0 or more.")


class Buckets:
    """Token buckets, one per key.

    Args:
        per_second, burst: the refill rate and the capacity.
        clock: returns seconds.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = per_second, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key → tokens, and their time

    def wait(self, key: str) -> float:
        """Take a token and return 0, or return the seconds until one is available."""
        now = self._clock()
        left, then = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        self._left[key] = (left - 1 if left >= 1 else left), now
        while len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self._rate


class RateLimits:
    """Responds 429 with a Retry-After time to an address beyond its rate."""

    def __init__(self, app: ASGIApp, limit: RateLimit):
        self.app, self._proxies = app, limit.proxies
        rate = limit.events_per_minute / 60
        self._buckets = [
            (method, pattern, Buckets(rate * share, max(least, BURST_SECONDS * rate * share)))
            for method, pattern, share, least in SHARES
            if rate
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] == "http":
            address = note_address(scope, self._proxies)
            asked = "GET" if scope["method"] in ("HEAD", "OPTIONS") else scope["method"]
            for method, pattern, buckets in self._buckets:
                if asked != method or not pattern.match(scope["path"]):
                    continue
                if seconds := buckets.wait(address):
                    whole = max(1, round(seconds + 0.5))
                    detail = f"Too many requests from your address. Wait {whole} s, then try again."
                    await refusal(scope["path"], detail, whole)(scope, receive, send)
                    return
                break
        await self.app(scope, receive, send)


class CallSizes:
    """Limits the body of an event or a call: responds 413 to one that is too long, without reading on.

    A body that does not arrive in time gets 408.

    Args:
        on_call: called with scope and body before a call is processed; may raise BadCall.
    """

    def __init__(
        self,
        app: ASGIApp,
        on_call: Callable[[Scope, bytes], object] = lambda scope, body: None,
        max_bytes: int = MAX_CALL_BYTES,
        seconds: float = BODY_SECONDS,
    ):
        self.app, self._on_call, self._max_bytes, self._seconds = app, on_call, max_bytes, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        is_upload = scope["type"] == "http" and UPLOAD.match(scope["path"])
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS") or is_upload:
            await self.app(scope, receive, send)
            return
        promised = Headers(scope=scope).get("content-length", "0")
        if not promised.isdecimal() or len(promised) > 12 or int(promised) > self._max_bytes:
            await self._too_long()(scope, receive, send)
            return
        try:
            with fail_after(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            await JSONResponse({"detail": TOO_LATE, "error": TOO_LATE}, 408, CLOSE)(scope, receive, send)
            return
        if body is None:
            return
        if len(body) > self._max_bytes:
            await self._too_long()(scope, receive, send)
            return
        try:
            self._on_call(scope, body)
        except BadCall as error:
            body = {"detail": str(error), "error": str(error)}
            await JSONResponse(body, error.status)(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Read at most one chunk beyond the limit; None if the client disconnected."""
        body, goes_on = bytearray(), True
        while goes_on and len(body) <= self._max_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            goes_on = message.get("more_body", False)
        return bytes(body)

    def _too_long(self) -> Response:
        detail = (
            f"This call is longer than {self._max_bytes >> 10} KiB. Send files to /gradio_api/upload and "
            "name the paths that it returns."
        )
        return JSONResponse({"detail": detail, "error": detail}, 413, CLOSE)


def refusal(path: str, detail: str, seconds: int) -> Response:
    """A 429 response with the seconds to wait, in the format that the page expects of the path."""
    headers = {"Retry-After": str(seconds)}
    if UPLOAD.match(path):
        return PlainTextResponse(detail, 429, headers)
    return JSONResponse({"detail": detail, "error": detail}, 429, headers)
