"""How much and how often somebody may ask: refused before the page, or its queue, sees it."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web.client_address import client_address

MAX_CALL_BYTES = 2**20
"""Of an event or a call: files come another way, all else is short."""
EVENTS_PER_MINUTE = 3000
"""Of one address by default: 100 people there who each set off an event every two seconds."""
BURST_SECONDS = 15
UPLOADS = 10
"""Events for one upload: that many times fewer uploads are taken."""
MAX_ADDRESSES = 10_000
UPLOAD = re.compile(r"^/gradio_api/upload/?$")
EVENT = re.compile(r"^/gradio_api/(queue/join|run/predict|call/.+?)/?$")


@dataclass(frozen=True)
class RateLimit:
    """What one address may do.

    Attributes:
        events_per_minute: events and calls; uploads a tenth. 0 takes any number.
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
            (pattern, Buckets(rate / share, max(1.0, BURST_SECONDS * rate / share)))
            for pattern, share in ((EVENT, 1), (UPLOAD, UPLOADS))
            if rate
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] == "http" and scope["method"] == "POST":
            for pattern, buckets in self._buckets:
                if not pattern.match(scope["path"]):
                    continue
                if seconds := buckets.wait(client_address(scope, self._proxies)):
                    await _too_often(scope["path"], seconds)(scope, receive, send)
                    return
        await self.app(scope, receive, send)


class CallSizes:
    """Takes the body of an event or a call as long as it is short, else answers 413 without reading on.

    Args:
        on_call: is told the scope and the body of each, before it is worked on.
    """

    def __init__(
        self, app: ASGIApp, on_call: Callable[[Scope, bytes], object], max_bytes: int = MAX_CALL_BYTES
    ):
        self.app, self._on_call, self._max_bytes = app, on_call, max_bytes

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
        body, goes_on = bytearray(), True
        while goes_on:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            goes_on = message.get("more_body", False)
            if len(body) > self._max_bytes:
                await self._too_long()(scope, receive, send)
                return
        whole: list[Message] = [{"type": "http.request", "body": bytes(body)}]
        self._on_call(scope, bytes(body))

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, again, send)

    def _too_long(self) -> Response:
        said = (
            f"This call is longer than {self._max_bytes >> 10} KiB. Send files to /gradio_api/upload and "
            "name the paths that it answers."
        )
        return JSONResponse({"detail": said, "error": said}, 413, {"Connection": "close"})


def _too_often(path: str, seconds: float) -> Response:
    whole = max(1, round(seconds + 0.5))
    said = f"Too many requests from your address. Wait {whole} s, then try again."
    headers = {"Retry-After": str(whole)}
    if UPLOAD.match(path):
        return PlainTextResponse(said, 429, headers)  # as the page shows it
    return JSONResponse({"detail": said, "error": said}, 429, headers)
