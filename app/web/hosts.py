"""Allowed host names and origins, so that no foreign site can reach the page through a browser."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.web.security_headers import ALWAYS

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
NO_HOST = "This server does not answer to this name. Whoever runs it may allow it: --allow-host NAME."
NO_ORIGIN = "This server answers its own pages only, not those of another site."
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_DROPPED = {b"origin", b"x-gradio-server"}
_FORWARDED = b"x-forwarded-host"


@dataclass(frozen=True)
class HostRule:
    """The allowed host names.

    Attributes:
        names: allowed in addition to loopback names and the address that received the request.
        proxies: the number of trusted proxies; with 0, forwarding headers are ignored.
    """

    names: frozenset[str] = field(default_factory=frozenset)
    proxies: int = 0

    @classmethod
    def of(cls, names: Iterable[str], proxies: int = 0) -> HostRule:
        """The rule for host names without port; ValueError for an invalid name."""
        plain = [name_of(name) for name in names]
        for given, name in zip(names, plain):
            if name is None:
                raise ValueError(f"{given!r} is not a host name; give one such as seg.example.org.")
        return cls(frozenset(name for name in plain if name), proxies)

    def knows(self, name: str | None) -> bool:
        """Whether a name, normalised by `name_of`, is allowed for every request."""
        return name in self.names or name in LOOPBACK

    def refusal(self, scope: Scope) -> str:
        """The reason to refuse a request, or ""."""
        headers = Headers(scope=scope)
        asked = _single(headers, "host")
        if self.proxies and "x-forwarded-host" in headers:
            asked = headers["x-forwarded-host"].split(",")[0].strip()
        name = name_of(asked)
        if not (self.knows(name) or (name is not None and name == _local(scope))):
            return NO_HOST
        if "origin" not in headers:
            return ""
        origin = _single(headers, "origin")
        scheme, _, origin_host = origin.partition("://")
        is_own = scheme in ("http", "https") and origin_host.lower() == asked.lower()
        return "" if is_own or (scheme and name_of(origin_host) in self.names) else NO_ORIGIN


class Hosts:
    """Responds 400 to an unknown host and 403 to a foreign origin, and removes the Origin header.

    Gradio would allow every origin to read the response.
    """

    def __init__(self, app: ASGIApp, rule: HostRule):
        self.app, self.rule = app, rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if refusal := self.rule.refusal(scope):
            status = 400 if refusal == NO_HOST else 403
            body = {"detail": refusal, "error": refusal}
            await JSONResponse(body, status, ALWAYS)(scope, receive, send)
            return
        headers = [(key, value) for key, value in scope["headers"] if self._passes(key.lower(), value)]
        await self.app({**scope, "headers": headers}, receive, send)

    def _passes(self, key: bytes, value: bytes) -> bool:
        """Whether to pass a header on: Gradio builds addresses from some of them."""
        if key == _FORWARDED:
            return all(self.rule.knows(name_of(name.strip())) for name in value.decode("latin-1").split(","))
        return key not in _DROPPED


def name_of(host: str) -> str | None:
    """A host name in lower case, without port and brackets; None for an invalid one."""
    if not _HOST.fullmatch(host):
        return None
    name = host.rsplit("]", 1)[0][1:] if host.startswith("[") else host.split(":")[0]
    return _plain(name)


def _local(scope: Scope) -> str | None:
    """The local address that received a request."""
    server = scope.get("server")
    return _plain(str(server[0])) if server and server[0] else None


def _plain(name: str) -> str:
    name = name.lower().rstrip(".")
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _single(headers: Headers, key: str) -> str:
    found = headers.getlist(key)
    return found[0] if len(found) == 1 else ""
