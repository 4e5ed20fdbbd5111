"""Decode uploads within a memory bound, each once for all concurrent callers, and cache the results."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from app.server.fair_turns import FairTurns
from app.web.client_address import asking
from ktb.inputs import AUTO, EncodedX, RawX, RgbImage, XOptions
from ktb.inputs.readers.decoded import decoded_bytes
from ktb.inputs.readers.sandbox import Sandbox

ROOM_BYTES = 2**30
KEPT_BYTES = 256 * 2**20
MAX_EAGER_PIXELS = 2_500_000
"""Of an encoded X that is kept as it is; larger depth is compacted."""
COPIES = 6
"""Maximum number of copies of a decoded file that decoding and encoding hold."""
Value = TypeVar("Value")


class Room:
    """A memory budget in bytes for all concurrent reads.

    A read that exceeds the budget runs alone. Addresses are scheduled fairly by bytes, so that one that reads
    much does not delay the others.
    """

    def __init__(self, total: int = ROOM_BYTES):
        self._total, self._taken = total, 0
        self._turns = FairTurns()
        self._waiting: list[object] = []
        self._changed = threading.Condition()

    @contextmanager
    def take(self, count: int) -> Iterator[None]:
        """Reserve the bytes; waits until they are available."""
        me = object()
        with self._changed:
            self._waiting.append(me)
            self._turns.add(me, asking.get(), count)
            try:
                self._changed.wait_for(lambda: self._is_next(me) and self._fits(count))
                self._turns.begin(me)
                self._turns.end(me, count)
                self._taken += count
            finally:
                self._waiting.remove(me)
                self._turns.keep(self._waiting)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= count
                self._changed.notify_all()

    def _is_next(self, one: object) -> bool:
        return min(self._waiting, key=self._turns.tag) is one

    def _fits(self, count: int) -> bool:
        return not self._taken or self._taken + count <= self._total


class Decoded:
    """A cache of decoded files while they exist; concurrent requests for one file share one decoding.

    The arrays are shared by all callers and are read-only.

    Args:
        max_bytes: size of the cache; the least recently used entry is evicted.
        sandbox: the process that reads files; by default a new one.
    """

    def __init__(self, max_bytes: int = KEPT_BYTES, sandbox: Sandbox | None = None):
        self._sandbox = sandbox or Sandbox()
        self._max_bytes, self._bytes = max_bytes, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._coming: dict[Hashable, Future] = {}
        self._by_path: dict[str, set[Hashable]] = {}
        self._originals: dict[str, str] = {}
        self._lock = threading.Lock()

    def rgb(self, path: str) -> np.ndarray:
        """The pixels of `image`."""
        return self.image(path).pixels

    def image(self, path: str) -> RgbImage:
        """As `ktb.read_rgb`; of a copy for the browser, the file that it shows."""
        original = self._originals.get(path, path)
        path = original if os.path.exists(original) else path
        return self._once(("rgb",), [path], lambda: self._sandbox.read_rgb(path))

    def x(self, files: Sequence[str], options: XOptions = AUTO) -> RawX:
        """As `ktb.read_x`."""
        said = options.columns, options.time_unit, options.sensor_hw, options.assumed
        event_options = (options.modality == "event", *said)
        return self._once(
            ("x", *event_options, options.window_ms, options.byte_order),
            files,
            lambda: self._sandbox.read_x(list(files), options=options),
        )

    def show_as(self, copy: str, original: str) -> None:
        """Note that a file is a copy that a browser shows; it lacks the original's orientation and bits."""
        with self._lock:
            self._originals[copy] = original

    def encoded(
        self, files: Sequence[str], rgb_path: str, question: tuple, make: Callable[[], EncodedX]
    ) -> EncodedX:
        """X of these files encoded for an RGB image, by `make` unless it is cached.

        Args:
            question: everything else that the result depends on, as hashable values.
        """
        return self._once(("encoded", *question), [*files, rgb_path], lambda: _compact(make()))

    def forget(self, path: Path) -> None:
        """Evict a file."""
        with self._lock:
            self._originals = {c: o for c, o in self._originals.items() if str(path) not in (c, o)}
            for key in self._by_path.pop(str(path), ()):
                self._drop(key)

    def _once(self, kind: tuple, paths: Sequence[str], make: Callable[[], Value]) -> Value:
        try:
            states = [(str(Path(path).resolve()), os.stat(path).st_mtime_ns) for path in paths]
        except (OSError, ValueError):  # `make` reports the error
            return make()
        key = (kind, *states)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key][0]
            coming, is_mine = self._coming.get(key), False
            if coming is None:
                coming, is_mine = self._coming.setdefault(key, Future()), True
        if not is_mine:
            return coming.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            coming.set_exception(error)
            raise
        with self._lock:
            del self._coming[key]
            self._keep(key, value, [path for path, _ in states])
        coming.set_result(value)
        return value

    def _keep(self, key: Hashable, value: Any, paths: Iterable[str]) -> None:
        count = 0
        for array in _arrays(value):
            array.setflags(write=False)
            count += array.nbytes if all(array.strides) else array.nbytes // array.shape[-1]
        if count > self._max_bytes or not all(os.path.exists(path) for path in paths):  # deleted meanwhile
            return
        self._kept[key] = value, count
        self._bytes += count
        for path in paths:
            self._by_path.setdefault(path, set()).add(key)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        if found := self._kept.pop(key, None):
            self._bytes -= found[1]
            for path, _ in key[1:]:  # type: ignore[index]
                keys = self._by_path.get(path, set())
                keys.discard(key)
                if not keys:
                    self._by_path.pop(path, None)


def room_for(*files: str | None) -> int:
    """Upper bound of the memory in bytes for reading these files, from their headers."""
    return COPIES * sum(decoded_bytes(file) for file in files if file)


def _compact(reading: EncodedX) -> EncodedX:
    """Store the equal channels of large metric depth once."""
    height, width = reading.image.shape[:2]
    if reading.encoding != "depth" or height * width <= MAX_EAGER_PIXELS:
        return reading
    channel = np.ascontiguousarray(reading.image[..., :1])
    return replace(reading, image=np.broadcast_to(channel, reading.image.shape))


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif is_dataclass(value):
        for one in fields(value):
            yield from _arrays(getattr(value, one.name))
