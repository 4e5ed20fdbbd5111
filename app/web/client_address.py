"""Who asks: the address that limits are counted for."""

from __future__ import annotations

from contextvars import ContextVar
from ipaddress import IPv6Address, IPv6Network

from starlette.datastructures import Headers
from starlette.types import Scope

MAX_LETTERS = 64
asking: ContextVar[str] = ContextVar("asking", default="")
"""The address whose request is being answered, also in the threads that work for it; "" for the queue."""


def client_address(scope: Scope, proxies: int = 0) -> str:
    """The address that a request comes from.

    Args:
        proxies: how many of our own stand in front. Each adds whom it serves to the end of X-Forwarded-For;
            what stands before their entries anyone can invent. 0: the header is not believed.
    """
    peer = (scope.get("client") or ("unknown",))[0]
    if not proxies:
        return _network(peer)
    told = ",".join(Headers(scope=scope).getlist("x-forwarded-for")).replace(" ", "").split(",")
    told = [address for address in told if address]
    return _network((told[-proxies] if len(told) >= proxies else peer)[:MAX_LETTERS])


def _network(address: str) -> str:
    """The /64 of an address of version 6: whoever has one has 2^64 of them; any other as it is."""
    try:
        found = IPv6Address(address.strip("[]"))
    except ValueError:
        return address
    return str(found.ipv4_mapped or IPv6Network((int(found) >> 64 << 64, 64)))


def note_address(scope: Scope, proxies: int) -> str:
    """`client_address`, kept with the request for all who ask later."""
    address = client_address(scope, proxies)
    scope.setdefault("state", {})["address"] = address
    asking.set(address)
    return address


def noted_address(scope: Scope) -> str:
    """The address that `note_address` found; "unknown" where it was not asked."""
    return scope.get("state", {}).get("address", "unknown")
