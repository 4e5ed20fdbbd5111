"""Bounded reading of files, and identification of unreadable ones."""

import errno
import os
import stat
from pathlib import Path

from ktb.inputs.limits import MAX_FILE_BYTES, InputError

Source = str | Path | bytes

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_AS_PICTURE = "save it as PNG, JPEG or TIFF"
# First bytes -> what the file is and what to do; contents decide, names do not.
_SIGNATURES = (
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself; run git lfs pull"),
    (b"%PDF", f"a PDF document; export its picture, or {_AS_PICTURE}"),
    (b"%!PS", f"a PostScript document; {_AS_PICTURE}"),
    (b"PK\x05\x06", "an empty zip archive; pack the files again"),
    (b"PK", "a zip archive; unpack it and give the file inside"),
    (b"\x1f\x8b", "a gzip archive; unpack it and give the file inside"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it and give the file inside"),
    (b"Rar!", "a RAR archive; unpack it and give the file inside"),
    (b"\x93NUMPY", "a NumPy array, which is read as X only; save the RGB image as PNG or JPEG"),
    (b"\x89HDF", "an HDF5 file, which is read as an event stream only; save pictures as PNG, arrays as .npy"),
    (b"v/1\x01", "an OpenEXR picture, which is read as X only; save the RGB image as PNG or JPEG"),
    (b"MATLAB 5.0", "a MATLAB file; save the array as .npy"),
    (b"#!AER-DAT", "an event recording; give it as X, as .aedat4, .npz or .h5"),
    (b"#ROSBAG", "a ROS bag; export its messages as pictures, or its events as .npz"),
    (b"\x80\x04\x95", "a Python pickle, which can run programs and is refused; save the array as .npy"),
    (b"\x80\x05\x95", "a Python pickle, which can run programs and is refused; save the array as .npy"),
    (b"# .PCD", "a point cloud; project it into the camera and save the picture or a .npy"),
    (b"ply\n", "a point cloud; project it into the camera and save the picture or a .npy"),
    (b"\x00\x00\x00\x0cjP  ", f"a JPEG 2000 picture; {_AS_PICTURE}"),
    (b"\xff\x0a", f"a JPEG XL picture; {_AS_PICTURE}"),
    (b"8BPS", f"a Photoshop file; {_AS_PICTURE}"),
    (b"FUJIFILM", f"a camera's raw file; develop it and {_AS_PICTURE}"),
    (b"\x1aE\xdf\xa3", "a video; save single frames as PNG"),
    (b"\x7fELF", "a program; give a picture"),
    (b"MZ", "a program; give a picture"),
)


def load(source: Source, filename: str | None) -> tuple[bytes, str]:
    """Contents and name for messages.

    Raises:
        InputError: nothing there, no regular file (a pipe is not waited for), empty, or too large.
    """
    if isinstance(source, bytes):
        data, name = source, filename or "the file"
    else:
        name = filename or Path(source).name or str(source)
        data = _read_regular(source, name)
    if not data:
        raise InputError(f"{name}: the file is empty (0 bytes); upload it again")
    if len(data) > MAX_FILE_BYTES:
        raise InputError(_too_large(name))
    return data, name


def _read_regular(path: str | Path, name: str) -> bytes:
    """Read a regular file up to one byte over the limit; devices and pipes are not opened."""
    try:
        _check_regular(os.stat(path), name)
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(path, flags), "rb") as file:
            _check_regular(os.fstat(file.fileno()), name)  # the path may have changed meanwhile
            return file.read(os.fstat(file.fileno()).st_size + 1)  # room is made for so much
    except OSError as error:
        raise InputError(f"{name}: {_why_unreadable(path, error)}") from error
    except ValueError as error:  # a NUL in the path
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name!r}: no path of a file ({error}); check it") from error


def _why_unreadable(path: str | Path, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "symbolic links that lead in a circle; give the file itself"
    if error.errno not in (errno.ENOENT, errno.ENOTDIR):
        return f"cannot be read ({error.strerror or error}); check the path and its permissions"
    if os.path.islink(path):
        return "a symbolic link to nothing; give the file itself"
    return "there is no such file; check the path"


def _check_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((text for test, text in _KINDS if test(status.st_mode)), "no regular file")
        raise InputError(f"{name}: this is {kind}; give the path of a file")
    if status.st_size > MAX_FILE_BYTES:
        raise InputError(_too_large(name))
    if not status.st_size:  # also what only looks like a file, such as those of /proc
        raise InputError(f"{name}: the file is empty (0 bytes); upload it again")


def _too_large(name: str) -> str:
    return f"{name}: larger than {MAX_FILE_BYTES >> 20} MiB; crop it or store it in 16 bits"


def file_kind(data: bytes) -> str | None:
    """Description and remedy for a file that is not a readable image; None if unknown."""
    for start, found in _SIGNATURES:
        if data.startswith(start):
            return found
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
            return f"a HEIC picture, as phones take them; {_AS_PICTURE}"
        return (
            f"an AVIF picture; {_AS_PICTURE}"
            if brand in (b"avif", b"avis")
            else "a video; save frames as PNG"
        )
    if data[:4] == b"RIFF" and data[8:12] != b"WEBP":
        return "a video or a sound; save single frames as PNG"
    if data[257:262] == b"ustar":
        return "a tar archive; unpack it and give the file inside"
    return _what_text_is(data)


def _what_text_is(data: bytes) -> str | None:
    text = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<script")):
        return "a web page, not a picture; download the picture itself"
    if b"<svg" in text and text.startswith(b"<"):
        return "an SVG drawing; export it as PNG"
    if text.startswith((b"<?xml", b"<!doctype", b"<")):
        return "an XML document or a web page, not a picture; download the picture itself"
    if text.startswith((b"{", b"[")):
        return "a JSON text, not a picture; if a download made it, it may hold an error message"
    readable = text[:-4].decode("utf-8", "replace")  # the end may lie within a letter
    if readable and "\ufffd" not in readable and not any(c < " " and c not in "\t\r\n\f" for c in readable):
        return "a text; save pictures as PNG, arrays as .npy, events as .csv, .txt or .npz"
    return None
