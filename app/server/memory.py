"""The memory of a result, and returning free memory to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ktb.analysis import Inspection

MIN_TEXT = 1024  # characters; shorter texts are names and sentences, longer ones images inside HTML


def held_bytes(value: Any) -> int:
    """Bytes of all arrays, tensors and images in nested objects; shared buffers are counted once.

    Visits dataclasses, mappings, sequences, and the current contents of an `Inspection`.
    """
    return sum(_buffers(value).values())


def _buffers(value: Any) -> dict[int, int]:
    """Address of each buffer → its bytes; a view counts as its whole base."""
    if isinstance(value, str | bytes):
        return {id(value): len(value)} if len(value) >= MIN_TEXT else {}
    from torch import Tensor  # late: importing torch takes more than a second

    from ktb.inference.lazy_maps import LazyConfidences, LazyMaps

    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        return {storage.data_ptr(): storage.nbytes()}
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        return {value.__array_interface__["data"][0]: value.nbytes}
    if isinstance(value, LazyMaps):
        value = dict(value.decisions.computed)
    if isinstance(value, LazyConfidences):
        value = dict(value.computed)
    if isinstance(value, Inspection):
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
    """Make the C library return free memory to the system where supported; glibc keeps much of it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
