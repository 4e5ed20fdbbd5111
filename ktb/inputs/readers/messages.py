"""Values on their way between two processes: numbers, texts, arrays and the data classes of this package.

Only these are made again on the other side. Unlike a pickle, a message can run nothing, whoever wrote it.
"""

import json
import math
import socket
import struct
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from ktb.inputs.alignment.cameras import Calibration, Intrinsics
from ktb.inputs.events.stream import EventStream
from ktb.inputs.options import XOptions
from ktb.inputs.types import RawX, RgbImage

_KNOWN = (RawX, RgbImage, EventStream, XOptions, Calibration, Intrinsics)
_CLASSES = {known.__name__: known for known in _KNOWN}
_HEAD = struct.Struct(">I")
_MAX_TEXT = 2**24
_MAX_BYTES = 2**32


class Ended(OSError):
    """The other side closed the connection within a message, or without one."""


def send(connection: socket.socket, value: Any) -> None:
    """Write a value; OSError if the connection is closed."""
    blocks: list[memoryview] = []
    text = json.dumps([_plain(value, blocks), [block.nbytes for block in blocks]]).encode()
    connection.sendall(_HEAD.pack(len(text)) + text)
    for block in blocks:
        connection.sendall(block)


def receive(connection: socket.socket) -> Any:
    """Read a value.

    Raises:
        Ended: there is none, or it was cut off.
        TimeoutError: nothing came within the connection's timeout.
        ValueError: what came is no such message.
    """
    (length,) = _HEAD.unpack(_exactly(connection, _HEAD.size))
    if length > _MAX_TEXT:
        raise ValueError("a message of absurd length")
    tree, sizes = json.loads(bytes(_exactly(connection, length)))
    if sum(sizes) > _MAX_BYTES or min(sizes, default=0) < 0:
        raise ValueError("blocks of absurd length")
    return _value(tree, [_exactly(connection, size) for size in sizes])


def _exactly(connection: socket.socket, size: int) -> np.ndarray:
    """Read exactly `size` bytes, as (size,) uint8."""
    block = np.empty(size, np.uint8)
    view, filled = memoryview(block), 0
    while filled < size:
        count = connection.recv_into(view[filled:])
        if not count:
            raise Ended("the connection was closed")
        filled += count
    return block


def _plain(value: Any, blocks: list[memoryview]) -> Any:
    """Convert a value to JSON; arrays and bytes are appended to `blocks`."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float | np.number | np.bool_):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, list):
        return [_plain(part, blocks) for part in value]
    if isinstance(value, tuple):
        return {"tuple": [_plain(part, blocks) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(key, blocks), _plain(part, blocks)] for key, part in value.items()]}
    if isinstance(value, bytes):
        blocks.append(memoryview(value))
        return {"bytes": len(blocks) - 1}
    if isinstance(value, np.ndarray):
        whole = np.ascontiguousarray(value)
        blocks.append(memoryview(whole.reshape(-1).view(np.uint8)))
        return {"array": [len(blocks) - 1, whole.dtype.str, list(value.shape)]}
    assert is_dataclass(value), type(value)
    known = type(value).__name__
    assert _CLASSES.get(known) is type(value), known
    parts = {field.name: _plain(getattr(value, field.name), blocks) for field in fields(value)}
    return {"class": [known, parts]}


def _value(tree: Any, blocks: list[np.ndarray]) -> Any:
    if isinstance(tree, list):
        return [_value(part, blocks) for part in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tuple":
        return tuple(_value(part, blocks) for part in content)
    if kind == "dict":
        return {_value(key, blocks): _value(part, blocks) for key, part in content}
    if kind == "bytes":
        return blocks[content].tobytes()
    if kind == "array":
        number, code, shape = content
        dtype = np.dtype(code)
        if dtype.kind not in "uifb" or math.prod(shape) * dtype.itemsize != blocks[number].nbytes:
            raise ValueError(f"an array {shape} of {code} in {blocks[number].nbytes} bytes")
        return blocks[number].view(dtype).reshape(shape)
    if kind == "class":
        known, parts = content
        return _CLASSES[known](**{name: _value(part, blocks) for name, part in parts.items()})
    raise ValueError(f"a value of kind {kind!r}")
