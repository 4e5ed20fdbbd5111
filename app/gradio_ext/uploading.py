"""Gradio's streaming parser of upload forms, with bounds on parts and fields."""

from __future__ import annotations

import secrets
from pathlib import Path

from gradio.route_utils import GradioMultiPartParser, GradioUploadFile, MultiPartException
from gradio.routes import file_upload_statuses
from gradio_client.utils import strip_invalid_filename_characters
from python_multipart.multipart import parse_options_header
from starlette.requests import Request

MAX_FIELDS = 16
FIELD_BYTES = 16 * 2**10
"""Maximum bytes of all non-file fields of a form: they are held in memory, and the page sends none."""
_TOO_LARGE = "File size"  # start of the parser's message
_TOO_MANY = "Too many files"


class BadForm(ValueError):
    """An upload is not a form, has a file that is too large (`is_large`), or too many files (`are_many`)."""

    def __init__(self, message: str):
        super().__init__(message)
        self.is_large, self.are_many = message.startswith(_TOO_LARGE), message.startswith(_TOO_MANY)


class _Parser(GradioMultiPartParser):
    _field_bytes = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current_part.file is not None:
            super().on_part_data(data, start, end)
            return
        self._field_bytes += end - start
        if self._field_bytes > FIELD_BYTES:
            raise MultiPartException("the fields are too long")
        self._current_part.data += data[start:end]

    def close_files(self) -> None:
        for file in self._files_to_close_on_error:
            file.close()


async def save_files(
    request: Request, folder: Path, max_bytes: int, max_files: int, progress: str | None
) -> list[str]:
    """Write the files of a form to new folders below `folder`, and return their paths.

    Args:
        max_bytes: maximum size of a file.
        max_files: maximum number of files; further ones are not written.
        progress: id under which the page queries the progress.

    Raises:
        BadForm: the form is damaged, or has a file that is too large, or too many files.
    """
    kind, _ = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        raise BadForm("no form")
    statuses = file_upload_statuses if progress else None
    if statuses and progress:
        statuses.track(progress)
    parser = _Parser(
        request.headers, request.stream(), max_files=max_files, max_fields=MAX_FIELDS, upload_dir=folder,
        upload_id=progress, upload_progress=statuses, max_file_size=max_bytes,
    )  # fmt: skip
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadForm(error.message) from error
    except (ValueError, LookupError) as error:  # of the boundary or the character set
        raise BadForm("no form") from error
    finally:
        parser.close_files()
        if statuses and progress:
            statuses.set_done(progress)
    return [str(_moved(file, folder)) for file in form.getlist("files")]


def _moved(file: object, folder: Path) -> Path:
    """Move a file to a folder named by its checksum, keep its file name, and return its path."""
    if not isinstance(file, GradioUploadFile):
        raise BadForm("a text where a file should be")
    name = strip_invalid_filename_characters(Path(file.filename).name) if file.filename else ""
    if name in (".", ".."):
        raise BadForm("no name of a file")
    place = folder / file.sha.hexdigest()
    place.mkdir(exist_ok=True)
    try:
        return Path(file.file.name).rename(place / (name or f"tmp{secrets.token_hex(5)}"))
    except ValueError as error:  # letters that no name of a file has
        raise BadForm("no name of a file") from error


def forget_progress() -> None:
    """Remove the progress of uploads that have ended, and of ids that were only queried."""
    known = file_upload_statuses
    for name, status in list(known._statuses.items()):
        if status.is_done:
            known.stop_tracking(name)
    for name in known._signals.keys() - known._statuses.keys():
        del known._signals[name]
