"""Files of web servers into the cache: cut downloads go on, nothing unchecked gets the file's name."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import httpx

from ktb.checkpoints.remote.address import WebFile
from ktb.checkpoints.remote.http import Interrupted, Unreachable, receive, version_file
from ktb.checkpoints.remote.limits import Limits, Refused
from ktb.checkpoints.remote.transfer import Progress, Transfer
from ktb.utils.atomic import put_in_place
from ktb.utils.cache import readable_folders, require_online, writable_folder
from ktb.utils.checksum import file_sha256
from ktb.utils.lock import FileLock

FOLDER = "weights"
_log = logging.getLogger(__name__)


def download(file: WebFile, progress: Progress, limits: Limits | None = None) -> Path:
    """The file in the cache; downloaded, resumed and checked if it is not there.

    Processes that want the same file take turns, so it is downloaded once.

    Raises:
        ValueError: it cannot be had (with the server's answer), has another checksum, or finds no space.
    """
    if (cached := find(file)) is not None:
        return cached
    require_online(str(file), "copy the file here and give its path")
    folder = writable_folder(FOLDER) / file.sha256
    try:
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / ".lock")
        if not lock.acquire(wait=False):
            _log.info("waiting for another process that downloads %s", file)
            lock.acquire()
        try:
            return find(file) or _downloaded(file, folder / file.name, progress, limits or Limits())
        finally:
            lock.release()
    except OSError as error:
        raise ValueError(
            f"{file} cannot be kept in {folder} ({error}). Set KTB_CACHE to a folder that you can write."
        ) from error


def find(file: WebFile) -> Path | None:
    """The file in the cache if it is whole; one that is damaged is left out."""
    for folder in readable_folders(FOLDER):
        path = folder / file.sha256 / file.name
        try:
            if file_sha256(path) == file.sha256:
                return path
        except FileNotFoundError:
            continue
        except OSError as error:
            _log.warning("%s cannot be read (%s)", path, error)
            continue
        _log.warning("%s is damaged; it is downloaded anew", path)
    return None


def _downloaded(file: WebFile, target: Path, progress: Progress, limits: Limits) -> Path:
    partial = target.with_name(f".{file.name}.part")
    is_continued = partial.exists()
    _fill(file, partial, progress, limits)
    if (found := file_sha256(partial)) != file.sha256 and is_continued:
        _log.warning("what was left of an earlier download of %s does not fit; it begins again", file)
        partial.unlink()
        _fill(file, partial, progress, limits)
        found = file_sha256(partial)
    version_file(partial).unlink(missing_ok=True)
    if found != file.sha256:
        size = partial.stat().st_size
        partial.unlink()
        raise ValueError(
            f"{file} is not the file that was meant: its {size:,} bytes have sha256 {found}, expected "
            f"{file.sha256}. It was removed, unread. Compare the checksum with the page that offers the file."
        )
    put_in_place(partial, target)
    progress(Transfer(file.name, target.stat().st_size, target.stat().st_size, is_finished=True))
    return target


def _fill(file: WebFile, partial: Path, progress: Progress, limits: Limits) -> None:
    """Connect until the file is complete."""
    failures, most = 0, 1  # an address that nobody answers at is more often wrong than busy
    with httpx.Client(timeout=httpx.Timeout(limits.timeout)) as client:
        for _ in range(limits.connections):
            before = _size(partial)
            try:
                receive(client, file, partial, progress)
                return
            except Interrupted as error:
                problem = error
                most = most if isinstance(error, Unreachable) else limits.failures
            except Refused:
                partial.unlink(missing_ok=True)
                raise
            failures = 1 if _size(partial) > before else failures + 1
            if failures > most:
                break
            wait = problem.wait or limits.first_wait * 2 ** (failures - 1)
            _log.info("%s: %s; trying again in %.0f s", file, problem, wait)
            time.sleep(wait)
    kept = f", which goes on after the {_size(partial):,} bytes that are here" if _size(partial) else ""
    raise ValueError(
        f"{file} could not be downloaded: {problem}. Try again later{kept}, or download the file in another "
        f"way and give its path."
    ) from problem


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
