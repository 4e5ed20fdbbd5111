"""A small thread-safe cache of recent results, such as the window layouts of an image size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


class Memo:
    """Cache of the results for the most recent keys; the oldest is evicted beyond `capacity`.

    Several threads may use it: a value is computed once per key, and concurrent requests wait for it. The
    cache is not part of a state dict, and its copies and pickles start empty. Never cache values derived from
    weights: changes through `.data` are not detectable.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The cached value of a key, or a new one; an exception of `make` propagates, and nothing is cached.

        Values are computed without gradients, as tensors that any grad mode can use. While the program is
        compiled or exported, the cache is bypassed, so that it never holds a tracer's tensors.
        """
        import torch

        if torch.compiler.is_compiling():
            return make()
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values:  # another thread computed it meanwhile
                    return self._values[key]
            try:
                with torch.inference_mode(False), torch.no_grad():
                    value = make()
                with self._lock:
                    self._values[key] = value
                    while len(self._values) > self.capacity:
                        self._values.popitem(last=False)
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return value

    def values(self) -> list[Any]:
        """The values in the cache."""
        with self._lock:
            return list(self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self):
        return Memo, (self.capacity,)
