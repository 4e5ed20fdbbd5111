"""Import of downloaded official files into the zoo folder; a failed file does not stop the others."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from ktb.checkpoints.importing.identify import identify
from ktb.checkpoints.load import from_official, save_model
from ktb.checkpoints.metadata import OFFICIAL_SUFFIXES, read_header
from ktb.checkpoints.official import infer_config, read_pth
from ktb.checkpoints.registry import FOLDER, PROTOCOL, PublishedModel, zoo_file, zoo_files
from ktb.checkpoints.remote.limits import require_room
from ktb.utils.cache import writable_folder
from ktb.utils.files import file_sha256

Started = Callable[[str], object]
Status = Literal["added", "present", "skipped", "failed"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of one file.

    Attributes:
        source: the file, or a zip archive and the member.
        status: "present" if the model is imported already, "skipped" for a file that is not a model.
        message: for the user; includes the remedy after a failure.
        name: of the published model, "" if it was not identified.
    """

    source: str
    status: Status
    message: str
    name: str = ""


def ignored(source: str) -> None:
    """Default callback that does nothing."""


def add_all(
    place: Path, modality: str | None = None, force: bool = False, started: Started = ignored
) -> Iterator[Outcome]:
    """Convert official files to KTB's format, one outcome each; `load_model` then accepts their names.

    Args:
        place: a file, a zip archive from Drive, or a folder with either, searched recursively.
        modality: of X, for a single file with an ambiguous name.
        force: replace models that are imported already.
        started: called with each file's name before its conversion; large files take half a minute.

    Raises:
        ValueError: there is nothing to import, or the modality is given for more than one file.
    """
    sources = list(_sources(place))
    if not sources:
        suffixes = ", ".join(OFFICIAL_SUFFIXES)
        raise ValueError(f"{place}: no file with {suffixes}, nor a zip archive with one, is there.")
    if modality is not None and len(sources) > 1:
        raise ValueError(f"--modality is for one file; {place} has {len(sources)}. Give the file itself.")
    for source in sources:
        started(source.label)
        yield _outcome(source, modality, force)


def add_file(
    path: Path, source: str, modality: str | None = None, force: bool = False
) -> tuple[PublishedModel, Path | None]:
    """Convert one official file; returns the model and its new file, None if it was imported already.

    Args:
        source: original name of the file, stored in the card.

    Raises:
        ValueError: the file is not official, not a published model, or the disk is full.
    """
    state = read_pth(path)
    published = identify(infer_config(state), source, modality)
    if zoo_file(published.name) is not None and not force:
        return published, None
    model = from_official(state, path, published.name, dataset=published.dataset, modality=published.modality)
    card = {
        **model.card,
        "origin": "published by the authors of Keep the Balance (CVPR 2025), converted from their file",
        "source_file": source,
        "source_sha256": file_sha256(path),
        "data": published.title,
        "published": {"miou": published.miou, "protocol": _protocol(published)},
    }
    target = writable_folder(FOLDER) / f"{published.name}.safetensors"
    require_room(published.name, sum(t.nbytes for t in model.state_dict().values()), target.parent)
    save_model(target, model, card)
    return published, target


def source_files() -> dict[str, str]:
    """Original file names of the imported models, and the models' names."""
    return {str(read_header(path)[1].get("source_file")): name for name, path in zoo_files().items()}


def is_pretraining(name: str) -> bool:
    """Whether a file's name is that of a backbone's pretrained weights, which accompany the models."""
    return PurePosixPath(name).name.startswith("swin_") and "patch4" in name


@dataclass(frozen=True)
class _Source:
    """An official file, a member of an archive, or a broken archive; `label` is its relative path."""

    label: str
    file: Path
    member: zipfile.ZipInfo | None = None
    problem: str = ""


def _sources(place: Path) -> Iterator[_Source]:
    if not place.exists():
        raise ValueError(f"there is no file or folder {place}.")
    files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
    for file in files:
        label = file.relative_to(place).as_posix() if place.is_dir() else file.name
        if file.suffix in OFFICIAL_SUFFIXES:
            yield _Source(label, file)
        elif file.suffix.lower() == ".zip":
            yield from _members(file, label)


def _members(archive: Path, label: str) -> Iterator[_Source]:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
    except (zipfile.BadZipFile, OSError) as error:
        problem = f"cannot be read as a zip archive ({error}); download it again."
        yield _Source(label, archive, problem=problem)
        return
    for member in members:
        if PurePosixPath(member.filename).suffix in OFFICIAL_SUFFIXES:
            yield _Source(member.filename, archive, member)


def _outcome(source: _Source, modality: str | None, force: bool) -> Outcome:
    if source.problem:
        return Outcome(source.label, "failed", source.problem)
    if is_pretraining(source.label):
        return Outcome(source.label, "skipped", "the backbone's pretrained weights; models have them inside")
    try:
        with _as_file(source) as path:
            published, target = add_file(path, source.label, modality, force)
    except (ValueError, OSError) as error:
        return Outcome(source.label, "failed", str(error))
    if target is None:
        return Outcome(source.label, "present", "is here already; --force replaces it", published.name)
    size = f"{target.stat().st_size / 1e6:,.1f} MB"
    return Outcome(source.label, "added", f"wrote {target} ({size})", published.name)


@contextmanager
def _as_file(source: _Source) -> Iterator[Path]:
    """The file, or a temporarily unpacked member of an archive."""
    if source.member is None:
        yield source.file
        return
    place = writable_folder(FOLDER)
    require_room(source.label, source.member.file_size, place)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        path = Path(folder) / f"member{PurePosixPath(source.member.filename).suffix}"
        try:
            with (
                zipfile.ZipFile(source.file) as archive,
                archive.open(source.member) as packed,
                path.open("wb") as out,
            ):
                shutil.copyfileobj(packed, out, 1 << 20)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise ValueError(f"{source.label} cannot be unpacked from {source.file} ({error}).") from error
        yield path


def _protocol(published: PublishedModel) -> str:
    return PROTOCOL + (f" It is {published.remark}." if published.remark else "")
