"""Zip archives with a bounded member list, whatever their end records claim."""

import io
import zipfile
from pathlib import Path


class DirectoryTooLarge(zipfile.BadZipFile):
    """The member list exceeds the limit."""


def open_zip(source: str | Path | bytes, max_directory: int) -> zipfile.ZipFile:
    """A zip archive, opened for reading.

    An end record may hide another one, and each tells the size of the list anew. So not the records are
    believed: while the archive is opened, the file gives no more bytes than a list of that size takes.

    Raises:
        DirectoryTooLarge: the list takes more than max_directory bytes.
        zipfile.BadZipFile, OSError, ValueError: as `zipfile.ZipFile`.
    """
    file = _Bounded(io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb"))  # noqa: SIM115
    file.left = max_directory + _END_RECORDS
    try:
        archive = zipfile.ZipFile(file)
    except BaseException:
        file.close()
        raise
    file.left = None
    return archive


_END_RECORDS = 4 * 2**16
"""Bytes that are read to find the end records: the last 64 KiB, twice at most, and the records themselves."""


class _Bounded(io.BufferedIOBase):
    """A file that gives `left` bytes more; any number if that is None."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file, self.left = file, None

    def read(self, size: int | None = -1) -> bytes:
        if self.left is None:
            return self._file.read(size)
        wanted = self.left + 1 if size is None or size < 0 else min(size, self.left + 1)
        data = self._file.read(wanted)
        if len(data) > self.left:
            raise DirectoryTooLarge(f"its list of members takes over {self.left >> 10:,} KiB")
        self.left -= len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()
