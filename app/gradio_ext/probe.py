"""Start-up probe: the page attacks itself, and refuses all requests if an attack succeeds.

The protections depend on private methods of Gradio: if one were renamed, a check would silently stop.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradio.queueing import Queue
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.gradio_ext.blocks import Page
from app.gradio_ext.fair_queue import OVERRIDDEN, FairQueue
from app.gradio_ext.fair_queue import SHUT as SHUT_QUEUE
from app.gradio_ext.payloads import FILE
from app.gradio_ext.state import LeanState
from app.server.uploads import NOT_HERE
from app.web.hosts import NO_HOST, NO_ORIGIN, HostRule, Hosts
from app.web.rate_limits import MAX_CALL_BYTES

EVENT, JOIN = "/gradio_api/run/predict", "/gradio_api/queue/join"
SHUT = (
    ("GET", "/gradio_api/deep_link"),
    ("GET", "/gradio_api/proxy=https://example.hf.space/"),
    ("GET", "/gradio_api/file=https://example.org/"),
    ("GET", "/monitoring"),
    ("GET", "/gradio_api/a_route_that_a_later_gradio_adds"),
    ("POST", "/gradio_api/component_server"),
    ("POST", "/gradio_api/run/segment"),
    ("POST", "/gradio_api/a_route_that_a_later_gradio_adds"),
)
CLOSED = "This server does not answer: a protection that it promises does not work. Its log says which."
_log = logging.getLogger(__name__)


class Gate:
    """Delays requests until `open` or `shut` is called, then passes or refuses all of them.

    Attributes:
        inside: the application behind the gate, for the probe.
    """

    def __init__(self, app: ASGIApp):
        self.inside = app
        self._decided = asyncio.Event()
        self._is_open = False

    @classmethod
    def before(cls, app: Starlette, hosts: HostRule) -> Gate:
        """Put a gate, and behind it the check of hosts, in front of an application.

        They must be outermost, because Gradio adds its own CORS middleware outside of the given ones.
        """
        inside = app.middleware_stack
        assert inside is not None  # built when the server started
        gate = cls(Hosts(inside, hosts))
        app.middleware_stack = gate
        return gate

    def open(self) -> None:
        """Answer."""
        self._is_open = True
        self._decided.set()

    def shut(self) -> None:
        """Refuse."""
        self._decided.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] == "http":
            await self._decided.wait()
            if not self._is_open:
                await JSONResponse({"detail": CLOSED, "error": CLOSED}, 503)(scope, receive, send)
                return
        await self.inside(scope, receive, send)


async def open_when_safe(page: Page, gate: Gate) -> None:
    """Probe the page; store failures in `page.failures`, and open the gate if there are none."""
    try:
        page.failures = await Probe(page, gate.inside).failures()
    except Exception:
        _log.exception("The start-up probe failed.")
        page.failures = ["the start-up probe, which failed: see the log"]
    if page.failures:
        _log.critical("The page stays closed, because this was not refused: %s.", "; ".join(page.failures))
        gate.shut()
    else:
        gate.open()


@dataclass(frozen=True)
class Answer:
    """The response to one request."""

    status: int
    headers: dict[str, str]
    body: bytes

    def says(self, text: str) -> bool:
        """Whether the body is JSON with this text as its error or detail."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return False
        return isinstance(found, dict) and text in (found.get("error"), found.get("detail"))


class Probe:
    """The attacks, each of which must be refused with its specific message."""

    def __init__(self, page: Page, inside: ASGIApp):
        self._page, self._inside = page, inside
        self._host, self._asked = "127.0.0.1", 0

    async def failures(self) -> list[str]:
        """Descriptions of the attacks that were not refused."""
        found = [
            *await self._files(),
            *await self._limits(),
            *await self._queue(),
            *await self._hosts(),
            *await self._routes(),
        ]
        return list(dict.fromkeys(found))

    async def _files(self) -> list[str]:
        """Foreign paths in every form, and one session's file named by another session."""
        page, mine, others = self._page, f"probe-{secrets.token_hex(8)}", f"probe-{secrets.token_hex(8)}"
        foreign = str(Path(__file__).resolve())
        marked = {"path": foreign, "meta": {"_type": "gradio.FileData"}}
        found = []
        for shape in (marked, {"path": foreign}, {"path": foreign, "meta": {}}, [[{"x": marked}]]):
            response = await self._event(shape, mine)
            if not response.says(NOT_HERE):
                found.append("a call with a foreign path")
        if not (await self._event("no file", mine)).says(f"file: give null or {FILE}, not a text."):
            found.append("a call with a value of a wrong kind")
        if not _raises(page.service.opened, foreign):
            found.append("a reading of a foreign path")
        with page.uploads.room(1) as incoming:
            file = incoming.folder / "probe.bin"
            file.write_bytes(b"x")
            incoming.arrive([file])
            try:
                if (await self._event({"path": str(file)}, mine)).status != 200:
                    found.append("nothing: not even a session's own file is taken")
                if not (await self._event({"path": str(file)}, others)).says(NOT_HERE):
                    found.append("a call with another session's file")
                if not _raises(page.service.opened, str(file)):
                    found.append("a reading of another session's file")
            finally:
                page.uploads.delete([file])
        return found

    async def _limits(self) -> list[str]:
        length = str(MAX_CALL_BYTES + 1)
        response = await self._ask("POST", EVENT, b"{", [("content-length", length)])
        return [] if response.status == 413 else ["an oversized body"]

    async def _queue(self) -> list[str]:
        """Whether events wait in the queue with bounds, and whether Gradio calls what keeps them."""
        page, queue, session = self._page, self._page._queue, f"probe-{secrets.token_hex(8)}"
        if not isinstance(queue, FairQueue):
            return ["a queue without bounds"]
        source = inspect.getsource(Queue)
        found = [
            f"a queue whose {name} Gradio does not call"
            for name in OVERRIDDEN
            if name not in vars(Queue) or (name != "push" and not re.search(rf"self\.{name}\b", source))
        ]
        number = next(event for event, function in page.fns.items() if function.queue)
        call = {"fn_index": number, "data": [], "session_hash": session}
        queue.is_shut = True
        try:
            if not (await self._ask("POST", JOIN, json.dumps(call).encode())).says(SHUT_QUEUE):
                found.append("an event past the bounds of the queue")
        finally:
            queue.is_shut = False
        answer = await self._event(None, session)
        if answer.status != 200 or not isinstance(page.state_holder.session_data.get(session), LeanState):
            found.append("a session that takes megabytes")
        return found

    async def _hosts(self) -> list[str]:
        found = []
        if not (await self._ask("GET", "/config", host="foreign.example")).says(NO_HOST):
            found.append("a request by an unknown host")
        origin = [("origin", "https://foreign.example")]
        if not (await self._ask("GET", "/config", headers=origin)).says(NO_ORIGIN):
            found.append("a request of a foreign page")
        own = await self._ask("GET", "/config", headers=[("origin", f"http://{self._host}")])
        if any(key.startswith("access-control-") for key in own.headers):
            found.append("a request whose Origin was echoed")
        return found

    async def _routes(self) -> list[str]:
        return [
            f"the shut route {method} {path}"
            for method, path in SHUT
            if not (await self._ask(method, path, b"{}")).says("There is nothing here.")
        ]

    async def _event(self, file: Any, session: str) -> Answer:
        call = {"fn_index": self._page.probe_event, "data": [file], "session_hash": session}
        return await self._ask("POST", EVENT, json.dumps(call).encode())

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: list[tuple[str, str]] | None = None,
        host: str | None = None,
    ) -> Answer:
        """Send one request to the application without the network."""
        self._asked += 1  # each from another address, so that no rate limit applies
        given = {"host": host or self._host, "content-type": "application/json"}
        given |= {"content-length": str(len(body))} | dict(headers or [])
        scope: Scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(key.encode(), value.encode()) for key, value in given.items()],
            "client": (f"probe-{self._asked}", 0), "server": (self._host, 0), "app": self._page.app,
            "state": {},
        }  # fmt: skip
        sent: list[Message] = []
        bodies: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return bodies.pop() if bodies else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._inside(scope, receive, send)
        start = next(one for one in sent if one["type"] == "http.response.start")
        return Answer(
            start["status"],
            {key.decode().lower(): value.decode() for key, value in start["headers"]},
            b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body"),
        )


def _raises(open_it: Any, path: str) -> bool:
    try:
        open_it(path)
    except ValueError as error:
        return str(error) == NOT_HERE
    return False
