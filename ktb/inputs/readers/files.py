"""Bounded reading of files, and identification of unreadable ones."""

import errno
import os
import re
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
_FROM_BAG = "export its messages as pictures (depth as 16-bit PNG), or its events as .npz"
_TEMPERATURES = "export its temperatures as a TIFF or .npy with the camera's software"
_PROJECT = "project it into the camera, and save depth as .npy in metres or as a 16-bit PNG"
_OLD_AEDAT = "convert it to AEDAT 4 (.aedat4), or give its events as X, as .npz, .h5 or .csv"
_PROPHESEE = "convert it with metavision_file_to_hdf5 or metavision_file_to_csv, and give the .h5 or .csv"
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
    (b"MATLAB ", "a MATLAB file; save the array as .npy (scipy.io.loadmat, or h5py for version 7.3)"),
    (b"#!AER-DAT2", f"an event recording (AEDAT 2); {_OLD_AEDAT}"),
    (b"#!AER-DAT3", f"an event recording (AEDAT 3); {_OLD_AEDAT}"),
    (b"#!AER-DAT", "an event recording; give it as X, as .aedat4, .npz or .h5"),
    (b"#ROSBAG", f"a ROS bag; {_FROM_BAG}"),
    (b"\x89MCAP0\r\n", f"an MCAP recording, as ROS 2 writes it; {_FROM_BAG}"),
    (b"SQLite format 3\0", f"a database (SQLite), as ROS 2 stores its bags; {_FROM_BAG}"),
    (b"Event Stream", "an Event Stream recording (.es); convert it, and give its events as .csv or .npz"),
    (b"#!SER", f"a FLIR recording; {_TEMPERATURES}"),
    (b"FFF\0", f"a FLIR recording (SEQ, FFF); {_TEMPERATURES}"),
    (b"SIMPLE  =", "a FITS picture; save its array as .npy"),
    (b"#?RADIANCE", f"a Radiance HDR picture; {_AS_PICTURE}, or its floats as .npy"),
    (b"PIEH", "a map in Middlebury's float format (.flo, .dpt); save its array as .npy"),
    (b"DDS ", f"a DDS texture; {_AS_PICTURE}"),
    (b"qoif", f"a QOI picture; {_AS_PICTURE}"),
    (b"II\xbc", f"a JPEG XR picture; {_AS_PICTURE}"),
    (b"PAR1", "a Parquet table; save its columns as .npz (events: x, y, t, p)"),
    (b"BZh", "a bzip2 archive; unpack it and give the file inside"),
    (b"\xfd7zXZ\0", "an xz archive; unpack it and give the file inside"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive; unpack it and give the file inside"),
    (b"\x80\x04\x95", "a Python pickle, which can run programs and is refused; save the array as .npy"),
    (b"\x80\x05\x95", "a Python pickle, which can run programs and is refused; save the array as .npy"),
    (b"# .PCD", f"a point cloud (PCD); {_PROJECT}"),
    (b"VERSION .7", f"a point cloud (PCD); {_PROJECT}"),
    (b"ply\n", f"a point cloud or mesh (PLY); {_PROJECT}"),
    (b"ply\r", f"a point cloud or mesh (PLY); {_PROJECT}"),
    (b"LASF", f"a point cloud (LAS, LAZ); {_PROJECT}"),
    (b"ASTM-E57", f"a point cloud (E57); {_PROJECT}"),
    (b"glTF", f"a 3D model (glTF); {_PROJECT}"),
    (b"\x00\x00\x00\x0cjP  ", f"a JPEG 2000 picture; {_AS_PICTURE}"),
    (b"\xff\x4f\xff\x51", f"a JPEG 2000 picture; {_AS_PICTURE}"),
    (b"\xff\x0a", f"a JPEG XL picture; {_AS_PICTURE}"),
    (b"8BPS", f"a Photoshop file; {_AS_PICTURE}"),
    (b"FUJIFILM", f"a camera's raw file; develop it and {_AS_PICTURE}"),
    (b"\x1aE\xdf\xa3", "a video; save single frames as PNG"),
    (b"\x7fELF", "a program; give a picture"),
    (b"MZ", "a program; give a picture"),
)


_WIDE = (b"\xff\xfe", b"\xfe\xff")  # marks of UTF-16
_NUMBER = re.compile(r"[+-]?\d*[.,]?\d+(?:[eE][+-]?\d+)?|nan|NaN")
_PIXEL_COLUMNS = 16
_MOST_COLUMNS = 2**14  # wider than any thermal camera's picture
"""Numbers on a line from which a table holds a value per pixel; one of events has four."""


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
    if found := signed_format(data):
        return found
    if data[128:132] == b"DICM":
        return f"a DICOM picture; {_AS_PICTURE}, or its array as .npy"
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


def signed_format(data: bytes) -> str | None:
    """Description and remedy for a file whose first bytes say its format; None if they do not."""
    for start, found in _SIGNATURES:
        if data.startswith(start):
            return found
    return _prophesee(data[:4096]) if data.startswith(b"% ") else None


def _prophesee(start: bytes) -> str | None:
    """Description of a Prophesee recording, whose header are lines that begin with "% "."""
    lines = [line for line in start.split(b"\n") if line.startswith(b"%")]
    header = b"\n".join(lines).decode("latin-1")
    if version := re.search(r"% (?:evt|format) (?:EVT)?([\d.]+)", header, re.IGNORECASE):
        return f"a Prophesee RAW recording (EVT {version[1]}); {_PROPHESEE}"
    if "Data file containing" in header or re.search(r"% Version \d", header):
        return f"a Prophesee DAT recording; {_PROPHESEE}"
    if re.search(r"% (?:camera_integrator|geometry|plugin|serial_number|system_ID)", header, re.IGNORECASE):
        return f"a Prophesee RAW recording; {_PROPHESEE}"
    return None


def value_table(data: bytes) -> str | None:
    """Description and remedy for a text table of a number per pixel, None for others."""
    text = data[: 2**18].decode("utf-16" if data[:2] in _WIDE else "latin-1", "replace")
    for line in text.splitlines()[:100]:
        for mark in (";", "\t", ",", None):
            cells = [cell.strip() for cell in line.split(mark) if cell.strip()]
            numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in cells)
            if not _PIXEL_COLUMNS <= numbers <= _MOST_COLUMNS or numbers < 0.9 * len(cells):
                continue
            how = f"numpy.loadtxt(FILE, delimiter={mark!r})" if mark else "numpy.loadtxt(FILE)"
            commas = " and decimal points in place of commas" if mark != "," and "," in line else ""
            return (
                f"a text table of {len(cells):,} numbers on a line, one for each pixel, such as the "
                f"temperatures that a thermal camera's software exports. Save it as .npy (numpy.save of {how}"
                f"{commas}), or export a TIFF"
            )
    return None


def _what_text_is(data: bytes) -> str | None:
    if found := value_table(data):
        return found
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
