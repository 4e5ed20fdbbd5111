"""Limits of concurrent requests per address; further requests wait without occupying a thread."""

from __future__ import annotations

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from app.web.client_address import noted_address
from app.web.rate_limits import EVENT, MAX_ADDRESSES, UPLOAD, refusal

THERE_SECONDS = 10.0
"""An address counts as active for this many seconds after an event."""
BURST_SECONDS = 5.0
"""Seconds of work that each address may spend in advance."""


@dataclass(frozen=True)
class Kind:
    """A group of requests with a common limit.

    Attributes:
        method, pattern: the method and path of the requests.
        at_once: maximum number of concurrent requests of an address.
        waiting: maximum number of its waiting requests.
        share: seconds of work per second that an address may use while others are active; 0 is unlimited.
    """

    method: str
    pattern: re.Pattern[str]
    at_once: int
    waiting: int = 0
    share: float = 0.0


KINDS = (
    Kind("POST", re.compile(r"^/gradio_api/run/predict/?$"), 2, 128, 0.25),
    Kind("GET", re.compile(r"^/((config|gradio_api/(info|openapi\.json))/?)?$"), 2, 128, 0.1),
    Kind("POST", UPLOAD, 64),
    Kind("GET", re.compile(r"^/gradio_api/(heartbeat/|queue/data|call/)"), 256),
)


class AtOnce:
    """Limits the concurrent requests of an address per kind; further ones wait, and beyond that get 429."""

    def __init__(self, app: ASGIApp, kinds: Sequence[Kind] = KINDS):
        self.app = app
        self._there = There()
        self._kinds = [(kind, _Lanes(kind, self._there)) for kind in kinds]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] == "http":
            address = noted_address(scope)
            if scope["method"] == "POST" and EVENT.match(scope["path"]):
                self._there.note(address)
            for kind, lanes in self._kinds:
                if scope["method"] != kind.method or not kind.pattern.match(scope["path"]):
                    continue
                if lanes.count(address) >= kind.at_once + kind.waiting:
                    detail = "Too much at once from your address. Wait until one is done, then try again."
                    await refusal(scope["path"], detail, 1)(scope, receive, send)
                    return
                async with lanes.turn(address):
                    await self.app(scope, receive, send)
                return
        await self.app(scope, receive, send)


class There:
    """The recently active addresses."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    def note(self, address: str) -> None:
        """Record an event."""
        self._seen[address] = self._clock()
        self._seen.move_to_end(address)
        if len(self._seen) > 2:  # two addresses are enough to know whether another one is active
            self._seen.popitem(last=False)

    def besides(self, address: str) -> bool:
        """Whether another address is active."""
        since = self._clock() - THERE_SECONDS
        return any(one != address and seen >= since for one, seen in self._seen.items())


class Work:
    """The remaining seconds of work of each address, refilled at a fixed rate; may become negative."""

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic):
        self._share, self._clock = share, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → seconds, and their time

    def spend(self, address: str, seconds: float) -> None:
        """Record work."""
        self._left[address] = self._now(address) - seconds, self._clock()
        self._left.move_to_end(address)
        while len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)

    def wait(self, address: str) -> float:
        """Seconds until the balance of the address is positive."""
        return max(0.0, -self._now(address) / self._share)

    def _now(self, address: str) -> float:
        now = self._clock()
        left, then = self._left.get(address, (BURST_SECONDS, now))
        return min(BURST_SECONDS, left + (now - then) * self._share)


class _Lanes:
    """The requests of a kind per address, admitted in order up to the limit."""

    def __init__(self, kind: Kind, there: There):
        self._at_once, self._there = kind.at_once, there
        self._work = Work(kind.share) if kind.share else None
        self._lanes: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}

    def count(self, address: str) -> int:
        return len(self._lanes[address][1]) if address in self._lanes else 0

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        free, requests = self._lanes.setdefault(address, (asyncio.Semaphore(self._at_once), []))
        requests.append(None)
        try:
            async with free, self._in_its_share(address):
                yield
        finally:
            requests.pop()
            if not requests:
                del self._lanes[address]

    @asynccontextmanager
    async def _in_its_share(self, address: str) -> AsyncIterator[None]:
        if self._work is None:
            yield
            return
        while (rest := self._work.wait(address)) and self._there.besides(address):
            await asyncio.sleep(min(rest, 1.0))
        begun = time.monotonic()
        try:
            yield
        finally:
            self._work.spend(address, time.monotonic() - begun)
