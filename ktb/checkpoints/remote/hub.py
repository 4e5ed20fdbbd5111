"""Files of Hugging Face repositories, downloaded and cached by huggingface_hub, verified here."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub import try_to_load_from_cache as find_cached
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import tqdm

from ktb.checkpoints.remote.address import SUFFIXES, HubFile
from ktb.checkpoints.remote.limits import is_no_space, require_room, require_size
from ktb.utils.cache import is_offline, readable_folders, require_online, writable_folder
from ktb.utils.files import file_sha256, require_sha256

FOLDER = "hub"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Transfer:
    """Progress of one download.

    Attributes:
        done: downloaded bytes.
        total: size in bytes; None if unknown.
        is_finished: whether the download has ended.
    """

    name: str
    done: int
    total: int | None
    is_finished: bool = False


Progress = Callable[[Transfer], object]


def endpoint() -> str | None:
    """The hub's URL if `HF_ENDPOINT` sets another one than huggingface.co."""
    return os.environ.get("HF_ENDPOINT") or None


def download_from_hub(file: HubFile, progress: Progress | None = None) -> Path:
    """The file in huggingface_hub's cache (KTB's where that is read-only); downloads it if necessary.

    A cached commit is used without a request. A branch or tag is looked up; its cached file is used if the
    hub cannot be reached. Large files are verified against the SHA-256 stated by the hub.

    Args:
        progress: called with a `Transfer` for every chunk; without it, downloads are logged.

    Raises:
        ValueError: the file cannot be obtained, is damaged, or has another checksum than `file.sha256`.
    """
    cached = _cached(file)
    if cached is not None and re.fullmatch("[0-9a-f]{40}", file.revision):
        return _checked(cached, file)
    if cached is None:
        require_online(str(file), "copy the file here and give its path")
    elif is_offline():
        return _checked(cached, file)
    try:
        url = hf_hub_url(file.repo, file.file, revision=file.revision, endpoint=endpoint())
        metadata = get_hf_file_metadata(url, endpoint=endpoint())
    except Exception as error:  # the HTTP library's types differ between versions of huggingface_hub
        if cached is None or not _is_outage(error):
            raise explained(error, file.repo, file) from error
        _log.warning("%s: the hub cannot be reached (%s); the copy in the cache is used", file, error)
        return _checked(cached, file)
    cache = _writable_cache()
    if metadata.size is not None and cached is None:
        require_size(file, metadata.size)
        require_room(file, metadata.size, cache, "HF_HOME")
        _log.info("downloading %s, %.1f MB", file, metadata.size / 1e6)
    try:
        path = hf_hub_download(
            file.repo,
            file.file,
            revision=file.revision,
            cache_dir=cache,
            endpoint=endpoint(),
            tqdm_class=_reporting(progress or _ignored, file.short_name),
        )
    except Exception as error:
        raise explained(error, file.repo, file) from error
    return _checked(Path(path), file, metadata.etag or "")


def explained(error: Exception, repo: str, what: object) -> ValueError:
    """Explain an error of huggingface_hub to the user, with a remedy."""
    login = "log in with `hf auth login` or set HF_TOKEN"
    place = f"the repository {repo} on {endpoint() or constants.ENDPOINT}"
    if isinstance(error, GatedRepoError):
        return ValueError(f"{place} is gated: ask for access on its page, then {login}.")
    if isinstance(error, RepositoryNotFoundError):
        return ValueError(
            f"{place} does not exist, or is private. Check the name; for a private one, {login}."
        )
    if isinstance(error, RevisionNotFoundError):
        return ValueError(f"{what}: {place} has no such branch, tag or commit. Look at its page.")
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return ValueError(f"{what}: {place} has no such file.{_weights_of(what)}")
    if is_no_space(error):
        return ValueError(f"there is no space left for {what}. Free some, or set HF_HOME to a larger disk.")
    if isinstance(error, HFValidationError):
        return ValueError(f"{what}: {error}")
    if isinstance(error, HfHubHTTPError) and not _is_outage(error):
        remedy = f" To {login} may help." if error.response.status_code in (401, 403) else ""
        return ValueError(f"{what}: {place} answers {' '.join(str(error).split())}{remedy}")
    return ValueError(
        f"{what}: {place} cannot be reached ({' '.join(str(error.__cause__ or error).split())}). Connect to "
        f"the internet, or copy the file here and give its path."
    )


def _is_outage(error: Exception) -> bool:
    """Whether the hub is unreachable or out of service, as opposed to rejecting the request."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    return not isinstance(error, EntryNotFoundError | HFValidationError) and not is_no_space(error)


def _weights_of(what: object) -> str:
    """A sentence with the repository's weight files, if the hub lists them."""
    if not isinstance(what, HubFile):
        return ""
    try:
        names = HfApi(endpoint=endpoint()).list_repo_files(what.repo, revision=what.revision)
    except Exception as error:  # explaining an error must not raise another one
        _log.info("the files of %s cannot be listed (%s)", what.repo, error)
        return ""
    weights = [name for name in names if name.endswith(SUFFIXES)]
    return f" Its weights: {', '.join(weights[:8]) or 'none'}; write hf://{what.repo}/FILE@{what.revision}."


def _cached(file: HubFile) -> Path | None:
    for cache in (Path(constants.HF_HUB_CACHE), *readable_folders(FOLDER)):
        path = find_cached(file.repo, file.file, cache_dir=cache, revision=file.revision)
        if isinstance(path, str):  # otherwise None, or a sentinel for a missing file
            return Path(path)
    return None


def _writable_cache() -> Path:
    cache = Path(constants.HF_HUB_CACHE)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if os.access(cache, os.W_OK):
            return cache
    except OSError as error:
        _log.info("%s cannot be written (%s)", cache, error)
    return writable_folder(FOLDER)


def _checked(path: Path, file: HubFile, tag: str = "") -> Path:
    """Return the path if the file has the checksums of the hub and the user; else ValueError.

    The hub's tag of a large file is its SHA-256, and the name of the target of the cached link.
    """
    tag = Path(os.readlink(path)).name if path.is_symlink() else tag
    if re.fullmatch("[0-9a-f]{64}", tag) and file_sha256(path) != tag:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise ValueError(
            f"{file} was damaged in the cache: its sha256 is not the hub's, {tag}. It was removed, "
            f"unread; try again."
        )
    if file.sha256 is not None:
        require_sha256(path, file.sha256, str(file))
    return path


def _ignored(transfer: Transfer) -> None:
    """Default callback that does nothing."""


def _reporting(progress: Progress, name: str) -> type[tqdm]:
    """A progress bar that draws nothing and calls `progress` instead."""
    bars: list[tqdm] = []

    class Reporting(tqdm):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **{**kwargs, "disable": True})
            bars.append(self)

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self is bars[0]:  # some transfers report the same bytes in two bars
                is_finished = bool(self.total) and self.n >= self.total
                progress(Transfer(name, int(self.n), self.total, is_finished))

    return Reporting
