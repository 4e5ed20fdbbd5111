"""Disk cache of exported graphs, keyed by everything that affects them; damaged graphs are rebuilt."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ktb.inference.runtimes.export import (
    DESCRIPTION,
    FORMAT_VERSION,
    Format,
    checksum,
    versions,
)
from ktb.modeling.model import KTB
from ktb.utils.cache import default_folder
from ktb.utils.lock import FileLock

MAX_BYTES = 8 << 30
"""Size limit of the cache in bytes; the least recently used graphs are removed first."""
ABANDONED_SECONDS = 24 * 3600
LOCK_SECONDS = 20.0
NETWORK_CODE = ("config.py", "labels.py", "modeling", "inference/runtimes")
"""Files and folders of `ktb` whose changes invalidate exported graphs."""
_log = logging.getLogger(__name__)


def model_digest(model: KTB) -> str:
    """SHA-256 of the configuration and all tensors of a model."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).numpy().data)
    return digest.hexdigest()


def graph_key(model_sha256: str, format: Format, size_hw: tuple[int, int]) -> str:
    """Cache key of a graph: a hash of weights, size, package versions and the network's code."""
    made_of = [FORMAT_VERSION, model_sha256, format, *size_hw, versions(format), _code_digest()]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


class GraphCache:
    """Cache folder with one folder per graph; safe for several processes.

    Args:
        folder: `default_folder()` if None. If it is not writable, every process exports its own graphs.
        max_bytes: size limit of the cache.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES):
        self.folder = (default_folder() if folder is None else folder) / "graphs"
        self.max_bytes = max_bytes

    def find(self, key: str) -> Path | None:
        """The folder of a complete graph in the cache, or None."""
        place = self.folder / key
        try:
            files = json.loads((place / DESCRIPTION).read_text(encoding="utf-8"))["files"]
            is_whole = all(
                (place / name).stat().st_size == file["bytes"] and checksum(place / name) == file["crc32"]
                for name, file in files.items()
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            _log.warning("The graph in %s cannot be read (%s); it will be exported again.", place, error)
            return None
        if not is_whole:
            _log.warning("The graph in %s is damaged; it will be exported again.", place)
            return None
        self._mark_as_used(place)
        return place

    def forget(self, key: str) -> None:
        """Remove an unusable graph."""
        with self._alone():
            shutil.rmtree(self.folder / key, ignore_errors=True)

    def add(self, key: str, write: Callable[[Path], object]) -> Path:
        """Add a graph atomically: `write` fills a temporary folder, which is renamed to the returned one.

        Raises:
            OSError: the cache is not writable.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / key
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=self.folder))
        lock = _lock_of(making)
        try:
            with suppress(OSError):  # without locks, only the age shows an abandoned folder
                lock.acquire()
            write(making)
            with self._alone():
                if self.find(key) is None:  # another process may have been faster
                    shutil.rmtree(place, ignore_errors=True)
                    making.rename(place)
        except OSError:
            if self.find(key) is None:  # checked again after the export
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
            lock.remove()
        with self._alone():
            self._prune(keep=place)
        return place

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from replacing and removing graphs meanwhile, where locks are supported."""
        lock = FileLock(self.folder.with_name(f"{self.folder.name}.lock"))
        with suppress(OSError):
            lock.acquire(timeout=LOCK_SECONDS)  # without locks, a killed process leaves the file
        try:
            yield
        finally:
            lock.release()

    def _mark_as_used(self, place: Path) -> None:
        try:
            os.utime(place / DESCRIPTION)
        except OSError:  # a read-only cache is not pruned either
            _log.debug("%s cannot be marked as used", place)

    def _prune(self, keep: Path) -> None:
        ages = sorted(self.folder.glob(f"*/{DESCRIPTION}"), key=_last_used, reverse=True)
        total = 0
        for place in (keep, *(found.parent for found in ages if found.parent != keep)):
            total += sum(_size(file) for file in place.rglob("*"))
            if total > self.max_bytes and place != keep:
                shutil.rmtree(place, ignore_errors=True)
        for leftover in self.folder.glob(".*-*"):  # of killed processes
            is_old = time.time() - _last_used(leftover) > ABANDONED_SECONDS
            if is_old and leftover.is_dir():
                self._remove(leftover)

    def _remove(self, leftover: Path) -> None:
        """Delete an abandoned folder, unless a process still writes to it: clocks may have jumped."""
        lock = _lock_of(leftover)
        try:
            if not lock.acquire(wait=False):
                return
        except OSError:
            _log.debug("file locks are not supported in %s", self.folder)
        shutil.rmtree(leftover, ignore_errors=True)
        lock.remove()


def _lock_of(making: Path) -> FileLock:
    return FileLock(making.with_name(f"{making.name}.lock"))


def _last_used(file: Path) -> float:
    return file.stat().st_mtime if file.exists() else 0.0


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _code_digest() -> str:
    package = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for name in NETWORK_CODE:
        files = [package / name] if name.endswith(".py") else sorted((package / name).rglob("*.py"))
        assert files, f"{name} is no folder with code of ktb"
        for file in files:
            digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()
