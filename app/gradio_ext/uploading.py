"""Gradio's parser of uploads, which writes each file of a form as it comes; parts and fields are bounded."""

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
"""Of all fields of a form that are no files: they are kept in memory, and the page sends none."""
_TOO_LARGE = "File size"  # how the parser begins to say so
_TOO_MANY = "Too many files"


class BadForm(ValueError):
    """An upload is no form, has a file that is too large (`is_large`), or too many files (`are_many`)."""

    def __init__(self, said: str):
        super().__init__(said)
        self.is_large, self.are_many = said.startswith(_TOO_LARGE), said.startswith(_TOO_MANY)


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
    """Write the files of a form into new folders below one, and give their paths.

    Args:
        max_bytes: of one file.
        max_files: of the form; the next one is not written.
        progress: name under which the page asks how far it is.

    Raises:
        BadForm: the form is damaged, or a file is too large or one too many.
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
    """Where a file lies in a folder of its contents, under its own name."""
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
    """Forget how far uploads are that have ended, and names that somebody only asked for."""
    known = file_upload_statuses
    for name, status in list(known._statuses.items()):
        if status.is_done:
            known.stop_tracking(name)
    for name in known._signals.keys() - known._statuses.keys():
        del known._signals[name]
