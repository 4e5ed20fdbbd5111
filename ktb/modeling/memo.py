"""A small memory of what was computed last: index maps of an image size, tensors made of frozen weights."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # torch takes more than a second to import
    from torch import Tensor

Value = TypeVar("Value")


class Recent:
    """The results for the last few keys; the oldest goes when there are more than `capacity`.

    It is no part of a state dict, and copies and pickles of it start empty. Several threads may use it.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self._values: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable | None, make: Callable[[], Value]) -> Value:
        """The value kept for the key, or a new one; without a key nothing is kept.

        What is made must not depend on gradients: it is made without them, as a tensor that any mode can use.
        While a compiler or an exporter reads the program, nothing is kept or given either, so that no tensor
        of its own comes to stay here.
        """
        import torch

        if key is None or torch.compiler.is_compiling():
            return make()
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        with torch.inference_mode(False), torch.no_grad():
            value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self.capacity:
                self._values.popitem(last=False)
        return value

    def values(self) -> list[Any]:
        """What is kept at the moment."""
        with self._lock:
            return list(self._values.values())

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self):
        return Recent, (self.capacity,)


def weights_key(*weights: Tensor) -> Hashable | None:
    """A key that changes whenever one of these tensors is changed, moved or replaced.

    None, that is nothing to keep, where a change could not be seen or gradients are wanted.
    """
    import torch

    wanted = torch.is_grad_enabled() and any(weight.requires_grad for weight in weights)
    if wanted or torch.compiler.is_compiling() or any(weight.is_inference() for weight in weights):
        return None
    return tuple(_fingerprint(weights))


def _fingerprint(weights: Iterable[Tensor]) -> Iterable[Hashable]:
    for weight in weights:
        yield weight.data_ptr(), weight._version, weight.dtype, weight.device
