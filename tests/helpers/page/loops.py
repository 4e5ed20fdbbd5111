"""Coroutines in tests, whatever ran before them in the same process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Value = TypeVar("Value")


def in_a_loop(make: Callable[[], Awaitable[Value]], seconds: float = 120.0) -> Value:
    """What a coroutine returns; it runs in a thread, as a browser of other tests may have a loop here."""

    async def wait() -> Value:
        return await asyncio.wait_for(make(), seconds)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, wait()).result()
