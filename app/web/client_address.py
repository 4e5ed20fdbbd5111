"""The client address that limits apply to."""

from __future__ import annotations

from contextvars import ContextVar
from ipaddress import IPv6Address, IPv6Network

from starlette.datastructures import Headers
from starlette.types import Scope

MAX_CHARACTERS = 64
asking: ContextVar[str] = ContextVar("asking", default="")
"""The client address of the current request, also in its worker threads; "" in the queue."""


def client_address(scope: Scope, proxies: int = 0) -> str:
    """The client address of a request.

    Args:
        proxies: the number of trusted proxies. Each appends its client to X-Forwarded-For; earlier entries
            can be forged. 0: the header is ignored.
    """
    peer = (scope.get("client") or ("unknown",))[0]
    if not proxies:
        return _network(peer)
    entries = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).replace(" ", "").split(",")
    entries = [address for address in entries if address]
    return _network((entries[-proxies] if len(entries) >= proxies else peer)[:MAX_CHARACTERS])


def _network(address: str) -> str:
    """The /64 network of an IPv6 address, which one client usually owns whole; an IPv4 address unchanged."""
    try:
        found = IPv6Address(address.strip("[]"))
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found) >> 64 << 64, 64)))


def note_address(scope: Scope, proxies: int) -> str:
    """Determine `client_address` and store it in the request's scope."""
    address = client_address(scope, proxies)
    scope.setdefault("state", {})["address"] = address
    asking.set(address)
    return address


def noted_address(scope: Scope) -> str:
    """The address that `note_address` stored; "unknown" if there is none."""
    return scope.get("state", {}).get("address", "unknown")
