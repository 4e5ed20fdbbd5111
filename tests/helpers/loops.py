"""Run a coroutine where the thread may have the browser's event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def run_async(work: Coroutine[object, object, T]) -> T:
    """The result of a coroutine, which runs in a thread of its own."""
    with ThreadPoolExecutor(1) as own:
        return own.submit(asyncio.run, work).result()
