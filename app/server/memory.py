"""How much memory a result holds, and what the process keeps without need."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ktb.analysis import Inspection
from ktb.modeling.memo import Memo

MIN_TEXT = 1024  # shorter texts are names and sentences, longer ones pictures inside HTML


def held_bytes(value: Any) -> int:
    """Bytes of all arrays, tensors and pictures in a nest of objects; shared ones once.

    It enters dataclasses, mappings, sequences, and what a `Recent` or an `Inspection` keeps at the moment.
    """
    return sum(_buffers(value).values())


def _buffers(value: Any) -> dict[int, int]:
    """Address of each buffer → its bytes; a view holds the whole of what it looks at."""
    if isinstance(value, str | bytes):
        return {id(value): len(value)} if len(value) >= MIN_TEXT else {}
    from torch import Tensor  # not at the start of the page: it takes more than a second

    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        return {storage.data_ptr(): storage.nbytes()}
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        return {value.__array_interface__["data"][0]: value.nbytes}
    if isinstance(value, Memo):
        value = value.values()
    elif isinstance(value, Inspection):
        value = [value.prediction, *value.computed]
    elif is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, Mapping):
        value = list(value.values())
    found: dict[int, int] = {}
    if isinstance(value, list | tuple):
        for item in value:
            found |= _buffers(item)
    return found


def give_back() -> None:
    """Let the C library return free memory to the system, where it can: glibc keeps much of it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
