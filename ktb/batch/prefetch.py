"""Prefetching of items by threads, bounded in number and in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

MAX_WAITING_BYTES = 2**30

Item = TypeVar("Item")
Read = TypeVar("Read")


class Prefetcher(Generic[Item, Read]):
    """Prefetch items in order; `take` returns them in groups.

    Args:
        pool: pool of the reading threads.
        read: item -> result; must not raise.
        items: items to read.
        most: maximum number of items being read or waiting, including the group being taken.
        weigh: size of a result in bytes. MAX_WAITING_BYTES divided by the largest size so far bounds the
            number of waiting items, which is at least one.
    """

    def __init__(
        self,
        pool: Executor,
        read: Callable[[Item], Read],
        items: Iterable[Item],
        most: int,
        weigh: Callable[[Read], int],
    ):
        self._pool, self._read, self._items = pool, read, iter(items)
        self._most, self._weigh = most, weigh
        self._heaviest: int | None = None
        self._reading: deque[Future[Read]] = deque()
        self._passed: deque[Read] = deque()  # results that did not fit into a group

    @property
    def allowed(self) -> int:
        """Maximum number of waiting items for the largest size so far; one until a size is known."""
        if self._heaviest is None:
            return 1
        return max(1, min(self._most, MAX_WAITING_BYTES // max(1, self._heaviest)))

    def take(self, size: int, key: Callable[[Read], Hashable]) -> list[Read]:
        """The next result with up to size - 1 waiting results of the same key; empty at the end."""
        taken: list[Read] = []
        before, self._passed = self._passed, deque()
        while len(taken) < size:
            read = before.popleft() if before else self._next(len(taken) + len(self._passed))
            if read is None:
                break
            fits = not taken or key(read) == key(taken[0])
            (taken if fits else self._passed).append(read)
        self._passed.extend(before)
        self._fill(len(taken) + len(self._passed))
        return taken

    def _next(self, held: int) -> Read | None:
        """The next result; None if `held` results leave no room for it, or at the end."""
        self._fill(held)
        if not self._reading:
            return None
        read = self._reading.popleft().result()
        self._heaviest = max(self._heaviest or 0, self._weigh(read))
        return read

    def _fill(self, held: int) -> None:
        while held + len(self._reading) < self.allowed:
            item = next(self._items, None)
            if item is None:
                return
            self._reading.append(self._pool.submit(self._read, item))
