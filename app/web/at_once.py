"""How much of the server an address has at the same time; what is more waits without a thread of it."""

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
"""Somebody who set off an event is there for so long."""
BURST_SECONDS = 5.0
"""Of work that an address gets whoever else is there."""


@dataclass(frozen=True)
class Kind:
    """Requests that are counted together.

    Attributes:
        method, pattern: of the requests.
        at_once: how many of an address are answered at the same time.
        waiting: how many more of it may wait.
        share: seconds a second that an address works while others are there; 0 for any.
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
    """Lets an address have so many requests of a kind at once; more of them wait, and beyond that get 429."""

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
                    said = "Too much at once from your address. Wait until something is done, then try again."
                    await refusal(scope["path"], said, 1)(scope, receive, send)
                    return
                async with lanes.turn(address):
                    await self.app(scope, receive, send)
                return
        await self.app(scope, receive, send)


class There:
    """Which addresses set off an event lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._seen: OrderedDict[str, float] = OrderedDict()

    def note(self, address: str) -> None:
        """Note an event."""
        self._seen[address] = self._clock()
        self._seen.move_to_end(address)
        if len(self._seen) > 2:  # two tell of everybody whether somebody else is there
            self._seen.popitem(last=False)

    def besides(self, address: str) -> bool:
        """Whether somebody else is there."""
        since = self._clock() - THERE_SECONDS
        return any(one != address and seen >= since for one, seen in self._seen.items())


class Work:
    """Seconds of work that addresses have left; they come at a fixed rate, and may be spent in advance."""

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic):
        self._share, self._clock = share, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # address → seconds, and when

    def spend(self, address: str, seconds: float) -> None:
        """Note work that was done."""
        self._left[address] = self._now(address) - seconds, self._clock()
        self._left.move_to_end(address)
        while len(self._left) > MAX_ADDRESSES:
            self._left.popitem(last=False)

    def wait(self, address: str) -> float:
        """Seconds until the address has some left."""
        return max(0.0, -self._now(address) / self._share)

    def _now(self, address: str) -> float:
        now = self._clock()
        left, then = self._left.get(address, (BURST_SECONDS, now))
        return min(BURST_SECONDS, left + (now - then) * self._share)


class _Lanes:
    """Of each address its requests of a kind, of which so many go on at once, in their order."""

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
