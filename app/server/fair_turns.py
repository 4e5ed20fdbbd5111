"""Fair queueing between addresses."""

from __future__ import annotations

from collections.abc import Collection, Hashable


class FairTurns:
    """The order in which events are served, so that each address receives equal seconds or bytes.

    Start-time fair queueing: an event's tag is its start time if its address had a dedicated share of the
    machine; the lowest tag is served first. Service beyond this share delays the address's later events.
    """

    def __init__(self) -> None:
        self._now = 0.0  # tag of the event that was begun last
        self._ends: dict[str, float] = {}  # address → virtual end of its last event
        self._tags: dict[Hashable, tuple[str, float, float]] = {}  # → address, tag, expected cost

    def add(self, event: Hashable, address: str, expected: float) -> None:
        """Give a new event its tag."""
        tag = max(self._now, self._ends.get(address, 0.0))
        self._tags[event], self._ends[address] = (address, tag, expected), tag + expected

    def tag(self, event: Hashable) -> float:
        """The tag of an event; the lowest is served first."""
        return self._tags[event][1] if event in self._tags else 0.0

    def begin(self, event: Hashable) -> None:
        """Record that an event is being served."""
        self._now = max(self._now, self.tag(event))

    def end(self, event: Hashable, cost: float) -> None:
        """Record the cost of an event; the address's account changes by its difference to `expected`."""
        if event in self._tags:
            address, tag, expected = self._tags.pop(event)
            self._shift(address, tag, cost - expected)

    def keep(self, events: Collection[Hashable]) -> None:
        """Remove all events but these: the others were cancelled and cost nothing."""
        for event in [event for event in self._tags if event not in events]:
            address, tag, expected = self._tags.pop(event)
            self._shift(address, tag, -expected)
        used = {address for address, _, _ in self._tags.values()}
        self._ends = {one: end for one, end in self._ends.items() if one in used or end > self._now}

    def _shift(self, address: str, start: float, cost: float) -> None:
        """Shift the tags of an address behind a tag."""
        for event, (whose, tag, expected) in self._tags.items():
            if whose == address and tag > start:
                self._tags[event] = whose, tag + cost, expected
        self._ends[address] = self._ends.get(address, 0.0) + cost
