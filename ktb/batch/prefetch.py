"""Files are read by threads ahead of who uses them, bounded in number and in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

MAX_WAITING_BYTES = 2**30

Item = TypeVar("Item")
Read = TypeVar("Read")


class Prefetcher(Generic[Item, Read]):
    """Reads items in their order; `take` gives them in groups.

    Args:
        pool: whose threads read.
        read: item -> what was read; must not raise.
        items: what to read.
        most: items that are read or wait at once, those of the group that is being taken included.
        weigh: bytes of what was read. As many items wait as have room in MAX_WAITING_BYTES if each weighs as
            much as the heaviest so far, and at least one.
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
        self._passed: deque[Read] = deque()  # over, as they did not fit into a group

    @property
    def allowed(self) -> int:
        """Items that may wait at once, by what the heaviest one weighs; one until that is known."""
        if self._heaviest is None:
            return 1
        return max(1, min(self._most, MAX_WAITING_BYTES // max(1, self._heaviest)))

    def take(self, size: int, key: Callable[[Read], Hashable]) -> list[Read]:
        """The next item, with up to size - 1 of those that wait and have the same key; empty at the end."""
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
        """What was read next, None if there is no room for it beside `held` others, or no more."""
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
