"""How much and how often somebody may ask: refused before the page, or its queue, sees it."""

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
"""Of an event or a call: files come another way, all else is short."""
EVENTS_PER_MINUTE = 3000
"""Of one address by default: 100 people there who each set off an event every two seconds."""
BURST_SECONDS = 15
UPLOADS, PAGES = 10, 20
"""Events for one upload, and for one page: that many times fewer are taken."""
MAX_ADDRESSES = 10_000
BODY_SECONDS = 60.0
"""In which the body of a call has to be there."""
TOO_LATE = "This call did not come in time. Send it again."
CLOSE = {"Connection": "close"}
UPLOAD = re.compile(r"^/gradio_api/upload/?$")
EVENT = re.compile(r"^/gradio_api/(queue/join|run/predict|cancel|call/.+?)/?$")
PART = re.compile(r"^/(gradio_api/)?(assets|static|svelte|theme\.css|favicon\.ico|manifest\.json)(/|$)")
"""What a browser fetches a hundred of to open the page, and what costs next to nothing."""
HEARTBEAT = re.compile(r"^/gradio_api/heartbeat/")
ANSWER = re.compile(r"^/gradio_api/(queue/|call/|file[=/])|^/healthz$")
"""What a page or a client fetches for an event."""
SHARES: tuple[tuple[str, re.Pattern[str], float, float], ...] = (
    ("POST", EVENT, 1, 1),
    ("POST", UPLOAD, 1 / UPLOADS, 1),
    ("GET", PART, 10, 500),
    ("GET", HEARTBEAT, 1 / PAGES, 100),
    ("GET", ANSWER, 2, 50),
    ("GET", re.compile(""), 1 / PAGES, 100),
)
"""Method, path, how many such requests are taken for each event, and at least how many one after the other.

The first line that fits counts. A page is opened whatever the limit is.
"""


@dataclass(frozen=True)
class RateLimit:
    """What one address may do.

    Attributes:
        events_per_minute: events and calls; uploads a tenth, see `SHARES`. 0 takes any number.
        proxies: how many of our own stand in front, see `client_address`.
    """

    events_per_minute: int = EVENTS_PER_MINUTE
    proxies: int = 0

    def __post_init__(self) -> None:
        if self.events_per_minute < 0 or self.proxies < 0:
            raise ValueError("a rate limit and the number of proxies are 0 or more.")


class Buckets:
    """A bucket per key that a fixed rate fills: who finds none left has to wait.

    Args:
        per_second, burst: the rate, and what a full bucket holds.
        clock: tells the seconds.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self._rate, self._burst, self._clock = per_second, burst, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key → what is left, and when

    def wait(self, key: str) -> float:
        """Take one; 0, or the seconds after which there will be one."""
        now = self._clock()
        left, then = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        self._left[key] = (left - 1 if left >= 1 else left), now
        while len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self._rate


class RateLimits:
    """Answers 429, with the seconds to wait, to an address that asks too often."""

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
                    said = f"Too many requests from your address. Wait {whole} s, then try again."
                    await refusal(scope["path"], said, whole)(scope, receive, send)
                    return
                break
        await self.app(scope, receive, send)


class CallSizes:
    """Takes the body of an event or a call as long as it is short, else answers 413 without reading on.

    One that does not come in time gets 408.

    Args:
        on_call: is told the scope and the body of each, before it is worked on; may raise BadCall.
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
            said = {"detail": str(error), "error": str(error)}
            await JSONResponse(said, error.status)(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)

    async def _read(self, receive: Receive) -> bytes | None:
        """At most a piece more than is taken; None of somebody who left."""
        body, goes_on = bytearray(), True
        while goes_on and len(body) <= self._max_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            goes_on = message.get("more_body", False)
        return bytes(body)

    def _too_long(self) -> Response:
        said = (
            f"This call is longer than {self._max_bytes >> 10} KiB. Send files to /gradio_api/upload and "
            "name the paths that it answers."
        )
        return JSONResponse({"detail": said, "error": said}, 413, CLOSE)


def refusal(path: str, said: str, seconds: int) -> Response:
    """429, with the seconds to wait; of an upload as the page shows it."""
    headers = {"Retry-After": str(seconds)}
    if UPLOAD.match(path):
        return PlainTextResponse(said, 429, headers)
    return JSONResponse({"detail": said, "error": said}, 429, headers)
