"""Frames from a zip archive; members are read into memory one by one, never extracted to the disk."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from ktb.datasets.pairing import PICTURES, X_FILES
from ktb.inputs import AUTO, InputError, XOptions
from ktb.inputs.limits import (
    MAX_FILE_BYTES,
    MAX_SEQUENCE_BYTES,
    MAX_SEQUENCE_DIRECTORY,
    MAX_SEQUENCE_MEMBERS,
    check_bytes,
)
from ktb.inputs.readers.zip_guard import DirectoryTooLarge, open_zip
from ktb.utils.text import natural_key
from ktb.video.frames import Frame, left_out, read_frame

RGB_FOLDERS = ("rgb", "color", "colour", "image", "images", "img", "photo", "photos", "photographs", "left")
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
)
_JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")


class ZipFrames:
    """Frames from an archive with a folder of RGB images and a folder of X, matched by name.

    The folder of RGB images is called rgb (or color, images, photos ...); the other one is X. A single folder
    contains RGB images alone. Both folders may be inside another folder.

    Args:
        path: the archive.
        with_x: False ignores X.
        options: options of the reader of X (event streams).

    Raises:
        InputError: the file is not a zip archive; it has members outside the archive, links, encrypted or too
            many members, or more bytes than `ktb.inputs.limits` allow; or it has no folder of RGB images, or
            no common name.
    """

    fps = None

    def __init__(self, path: str | Path, with_x: bool = True, options: XOptions = AUTO):
        self._path, self._options = Path(path), options
        folders = _folders(self._members())
        rgb, x = (
            _chosen(folders, self._path.name) if with_x else (_rgb_images(folders, self._path.name), None)
        )
        photos = _named(folders[rgb], rgb, PICTURES)
        modal_x = {} if x is None else _named(folders[x], x, X_FILES)
        names = [name for name in photos if x is None or name in modal_x]
        if not names:
            raise InputError(
                f"{self._path.name}: no name is found in both folders ('{rgb}': {', '.join([*photos][:3])}; "
                f"'{x}': {', '.join([*modal_x][:3])}); give the files of a pair the same name"
            )
        self._pairs = [(name, photos[name], modal_x.get(name)) for name in sorted(names, key=natural_key)]
        self.length: int | None = len(self._pairs)
        self.has_x = x is not None
        self.notes: list[str] = []
        if x is not None:
            for folder, own, other in ((x, modal_x, photos), (rgb, photos, modal_x)):
                if lacking := [name for name in other if name not in own]:
                    self.notes.append(left_out(f"'{folder}'", lacking))

    def __iter__(self) -> Iterator[Frame]:
        with open_zip(self._path, MAX_SEQUENCE_DIRECTORY) as archive:
            for name, rgb, x in self._pairs:
                try:
                    photo = self._read(archive, rgb)
                    modal_x = [] if x is None else [self._read(archive, x)]
                except InputError as error:
                    yield Frame(name, None, error=str(error))
                    continue
                x_names = None if x is None else [PurePosixPath(x.filename).name]
                yield read_frame(name, photo, modal_x, x_names, self._options)

    def _members(self) -> list[zipfile.ZipInfo]:
        name = self._path.name
        try:
            with open_zip(self._path, MAX_SEQUENCE_DIRECTORY) as archive:
                members = archive.infolist()
        except DirectoryTooLarge as error:
            raise InputError(
                f"{name}: far more than {MAX_SEQUENCE_MEMBERS:,} members ({error}); split it"
            ) from error
        except (*_DAMAGED, ValueError) as error:
            raise InputError(
                f"{name}: no zip archive, or its end is missing or damaged ({error}); pack the frames again"
            ) from error
        if len(members) > MAX_SEQUENCE_MEMBERS:
            raise InputError(f"{name}: {len(members):,} members; at most {MAX_SEQUENCE_MEMBERS:,} are taken")
        for info in members:
            _check_member(info, name)
        if (total := sum(info.file_size for info in members)) > MAX_SEQUENCE_BYTES:
            raise InputError(
                f"{name}: {total >> 20:,} MiB unpacked; at most {MAX_SEQUENCE_BYTES >> 20:,} MiB are taken"
            )
        return [info for info in members if not info.is_dir()]

    def _read(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
        """A member's contents, at most the size in its entry; InputError if it is damaged or too large."""
        name = f"{self._path.name}: {info.filename}"
        if info.file_size > MAX_FILE_BYTES:
            raise InputError(f"{name}: larger than {MAX_FILE_BYTES >> 20} MiB")
        check_bytes(info.file_size, name, info.compress_size)
        try:
            with archive.open(info) as stream:
                data = stream.read(info.file_size + 1)  # reading to the end verifies the checksum
        except (*_DAMAGED, ValueError) as error:
            raise InputError(f"{name}: damaged ({error}); pack the frames again") from error
        if len(data) != info.file_size:
            raise InputError(f"{name}: {len(data):,} bytes in place of {info.file_size:,}; pack it again")
        return data


def _check_member(info: zipfile.ZipInfo, archive: str) -> None:
    """Raise an InputError for a suspicious member."""
    name = info.filename
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\\" in info.orig_filename or name[1:2] == ":":
        raise InputError(f"{archive}: the member {name!r} leads out of the archive; pack the folders again")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError(f"{archive}: the member {name!r} is a symbolic link; pack the files themselves")
    if info.flag_bits & 0x1:
        raise InputError(f"{archive}: the member {name!r} is locked with a password; pack it without one")


def _folders(members: list[zipfile.ZipInfo]) -> Mapping[str, dict[str, zipfile.ZipInfo]]:
    """Folder -> path below it -> member, at the first level where the archive has several entries."""
    paths = [
        (PurePosixPath(info.filename).parts, info)
        for info in members
        if PurePosixPath(info.filename).suffix.lower() in X_FILES
        and not any(part.startswith(".") or part in _JUNK for part in PurePosixPath(info.filename).parts)
    ]
    while paths and len({parts[0] for parts, _ in paths}) == 1 and all(len(p) > 2 for p, _ in paths):
        paths = [(parts[1:], info) for parts, info in paths]
    folders: dict[str, dict[str, zipfile.ZipInfo]] = defaultdict(dict)
    for parts, info in paths:
        folder, rest = (parts[0], parts[1:]) if len(parts) > 1 else ("", parts)
        folders[folder]["/".join(rest)] = info
    return folders


def _rgb_images(folders: Mapping[str, dict], archive: str) -> str:
    named = [folder for folder in folders if folder.lower() in RGB_FOLDERS]
    if len(named) == 1:
        return named[0]
    if len(folders) == 1:
        return next(iter(folders))
    found = ", ".join(f"'{folder}'" for folder in sorted(folders)) or "none"
    raise InputError(
        f"{archive}: which folder has the RGB images? Call one 'rgb' and the other one 'x'; found {found}"
    )


def _chosen(folders: Mapping[str, dict], archive: str) -> tuple[str, str | None]:
    """The folders of the RGB images and of X, None if there is no other one."""
    rgb = _rgb_images(folders, archive)
    others = [folder for folder in folders if folder not in (rgb, "")]
    if len(others) > 1 and "x" in map(str.lower, others):
        others = [folder for folder in others if folder.lower() == "x"]
    if len(others) > 1:
        found = ", ".join(f"'{folder}'" for folder in sorted(others))
        raise InputError(f"{archive}: which folder is X? Call it 'x', or leave the others out; found {found}")
    return rgb, others[0] if others else None


def _named(
    files: Mapping[str, zipfile.ZipInfo], folder: str, suffixes: tuple[str, ...]
) -> dict[str, zipfile.ZipInfo]:
    """Name -> member; the name is the path below the folder without suffix."""
    named: dict[str, zipfile.ZipInfo] = {}
    for path, info in files.items():
        if PurePosixPath(path).suffix.lower() not in suffixes:
            continue
        name = str(PurePosixPath(path).with_suffix(""))
        if name in named:
            raise InputError(f"{named[name].filename} and {info.filename} are both '{name}'; leave one out")
        named[name] = info
    if not named:
        raise InputError(f"the folder '{folder}' of the archive has no file of {', '.join(suffixes)}")
    return named
