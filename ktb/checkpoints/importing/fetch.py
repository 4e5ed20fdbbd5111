"""Download of the authors' files from their Drive folder with gdown, if it is installed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ktb.checkpoints.importing.add import (
    Outcome,
    Started,
    add_file,
    ignored,
    is_pretraining,
    source_files,
)
from ktb.checkpoints.metadata import OFFICIAL_SUFFIXES
from ktb.checkpoints.registry import DRIVE_ID, DRIVE_URL, FOLDER
from ktb.utils.cache import require_online, writable_folder

MANUAL = (
    f"The manual way: open {DRIVE_URL} in a browser, download the files or the whole folder, and import them "
    f"with `python -m ktb zoo add FILE_OR_FOLDER`; zip archives are read as they are."
)


def fetch_all(
    words: Sequence[str] = (), force: bool = False, quiet: bool = False, started: Started = ignored
) -> Iterator[Outcome]:
    """Download and import the files of the authors' folder, one outcome each; a second call resumes.

    Args:
        words: only files whose path contains one of these, ignoring case.
        force: also files whose models are imported already.
        quiet: hide gdown's progress bars.
        started: called with each file's name before its download.

    Raises:
        ValueError: gdown is not installed, or the folder cannot be listed; names the manual way.
    """
    require_online("the authors' folder", "bring the files here and `python -m ktb zoo add` them")
    gdown = _gdown()
    known = {} if force else source_files()
    for file in _chosen(_listed(gdown), words):
        if name := known.get(file.path):
            yield Outcome(file.path, "present", "is here already; --force fetches it again", name)
        else:
            started(file.path)
            yield _fetched(gdown, file, force, quiet)


def _gdown() -> Any:
    try:
        import gdown
    except ImportError as error:
        raise ValueError(
            f"gdown, which reads Drive folders, is not installed: pip install gdown. {MANUAL}"
        ) from error
    return gdown


def _listed(gdown: Any) -> list[Any]:
    """The folder's files with `id` and `path`, from gdown."""
    try:
        return list(gdown.download_folder(id=DRIVE_ID, skip_download=True, quiet=True) or ())
    except Exception as error:  # gdown and its network client raise many types
        raise ValueError(
            f"the authors' folder cannot be listed ({type(error).__name__}: {error}). {MANUAL}"
        ) from error


def _chosen(files: list[Any], words: Sequence[str]) -> list[Any]:
    weights = [file for file in files if file.path.endswith(OFFICIAL_SUFFIXES)]
    models = [file for file in weights if not is_pretraining(file.path)]
    chosen = [f for f in models if not words or any(word.lower() in f.path.lower() for word in words)]
    if not chosen:
        listed = ", ".join(file.path for file in models) or "none"
        asked = f" with {' or '.join(words)} in its name" if words else ""
        raise ValueError(f"the authors' folder lists no model{asked}. Its models: {listed}. {MANUAL}")
    return chosen


def _fetched(gdown: Any, file: Any, force: bool, quiet: bool) -> Outcome:
    folder = writable_folder(FOLDER) / "downloads" / str(PurePosixPath(file.id).name)
    path = folder / PurePosixPath(file.path.replace("\\", "/")).name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = gdown.download(id=file.id, output=str(path), resume=True, quiet=quiet)
    except Exception as error:  # as above; often a quota of the folder that is used up
        return Outcome(file.path, "failed", f"{type(error).__name__}: {error}")
    if found is None or not path.is_file():
        return Outcome(file.path, "failed", "gdown gave neither a file nor a reason")
    return _imported(path, file.path, force)


def _imported(path: Path, source: str, force: bool) -> Outcome:
    try:
        published, target = add_file(path, source, force=force)
    except (ValueError, OSError) as error:
        return Outcome(source, "failed", f"{error} The file is {path}.")
    shutil.rmtree(path.parent)
    if target is None:
        message = "is here already, from another file; --force replaces it"
        return Outcome(source, "present", message, published.name)
    return Outcome(source, "added", f"wrote {target} ({target.stat().st_size / 1e6:,.1f} MB)", published.name)
