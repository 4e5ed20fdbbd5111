"""Exported graphs on disk: found again when nothing that made them has changed, rebuilt when damaged."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
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
"""What all graphs may take together; those that were not used for longest go first."""
ABANDONED_SECONDS = 24 * 3600
NETWORK_CODE = ("config.py", "labels.py", "modeling", "inference/runtimes")
"""Files and folders of `ktb` whose change makes exported graphs anew."""
_log = logging.getLogger(__name__)


def model_digest(model: KTB) -> str:
    """SHA-256 of the configuration and of every tensor."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).numpy().data)
    return digest.hexdigest()


def graph_key(model_sha256: str, format: Format, size_hw: tuple[int, int]) -> str:
    """A name for a graph that changes with the weights, the size, the packages and the network's code."""
    made_of = [FORMAT_VERSION, model_sha256, format, *size_hw, versions(format), _code_digest()]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:32]


class GraphCache:
    """A folder with one folder per graph. Several processes may use it at once.

    Args:
        folder: `default_folder()` if None. Where it cannot be written, graphs are made anew by every process.
        max_bytes: as MAX_BYTES.
    """

    def __init__(self, folder: Path | None = None, max_bytes: int = MAX_BYTES):
        self.folder = (default_folder() if folder is None else folder) / "graphs"
        self.max_bytes = max_bytes

    def find(self, key: str) -> Path | None:
        """The folder of a graph that is there and whole."""
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
            _log.warning("The graph in %s cannot be read (%s); it is made anew.", place, error)
            return None
        if not is_whole:
            _log.warning("The graph in %s is damaged; it is made anew.", place)
            return None
        self._mark_as_used(place)
        return place

    def forget(self, key: str) -> None:
        """Remove a graph that turned out to be unusable."""
        shutil.rmtree(self.folder / key, ignore_errors=True)

    def add(self, key: str, write: Callable[[Path], object]) -> Path:
        """Let `write` fill a folder, which then appears whole; its place.

        Raises:
            OSError: the cache cannot be written; `temporary_folder` remains.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        place = self.folder / key
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=self.folder))
        lock = _lock_of(making)
        try:
            with suppress(OSError):  # no locks here: only its age tells that it is left over
                lock.acquire()
            write(making)
            if self.find(key) is None:  # else another process was faster
                self.forget(key)
                making.rename(place)
        except OSError:
            if self.find(key) is None:  # or was faster by a moment
                raise
        finally:
            shutil.rmtree(making, ignore_errors=True)
            lock.remove()
        self._prune(keep=place)
        return place

    def _mark_as_used(self, place: Path) -> None:
        try:
            os.utime(place / DESCRIPTION)
        except OSError:  # a cache that others filled may be read-only; then nobody prunes it either
            _log.debug("%s cannot be marked as used", place)

    def _prune(self, keep: Path) -> None:
        ages = sorted(self.folder.glob(f"*/{DESCRIPTION}"), key=_last_used, reverse=True)
        total = 0
        for place in (keep, *(found.parent for found in ages if found.parent != keep)):
            total += sum(_size(file) for file in place.rglob("*"))
            if total > self.max_bytes and place != keep:
                shutil.rmtree(place, ignore_errors=True)
        for leftover in self.folder.glob(".*-*"):  # of a process that was killed
            is_old = time.time() - _last_used(leftover) > ABANDONED_SECONDS
            if is_old and leftover.is_dir():
                self._remove(leftover)

    def _remove(self, leftover: Path) -> None:
        """Delete a folder that looks abandoned, unless a process still fills it: clocks may have jumped."""
        lock = _lock_of(leftover)
        try:
            if not lock.acquire(wait=False):
                return
        except OSError:
            _log.debug("there are no locks in %s", self.folder)
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
