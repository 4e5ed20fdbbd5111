"""A small memory of what was computed last, such as the window layouts of an image size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


class Memo:
    """The results for the last few keys; the oldest goes when there are more than `capacity`.

    Several threads may use it: a value is made once per key, and who asks meanwhile waits for it. It is no
    part of a state dict, and copies and pickles of it start empty. Never keep here what is made of weights:
    nothing tells that they were changed through `.data`.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value kept for the key, or a new one; an exception of `make` is passed on, and nothing kept.

        What is made must not depend on gradients: it is made without them, as a tensor that any mode can use.
        While a compiler or an exporter reads the program, nothing is kept or given either, so that no tensor
        of its own comes to stay here.
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
                if key in self._values:  # another thread made it meanwhile
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
        """What is kept at the moment."""
        with self._lock:
            return list(self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self):
        return Memo, (self.capacity,)
