"""Gradio's parser of uploads, which writes each file of a form as it comes."""

from __future__ import annotations

from pathlib import Path

from gradio.route_utils import MultiPartException, upload_fn
from gradio.routes import file_upload_statuses
from starlette.requests import Request

_TOO_LARGE = "File size"  # how the parser begins to say so


class BadForm(ValueError):
    """An upload is no form, or has a file that is too large (`is_large`)."""

    def __init__(self, said: str):
        super().__init__(said)
        self.is_large = said.startswith(_TOO_LARGE)


async def save_files(request: Request, folder: Path, max_bytes: int, progress: str | None) -> list[str]:
    """Write the files of a form into new folders below one, and give their paths.

    Args:
        max_bytes: of one file.
        progress: name under which the page asks how far it is.

    Raises:
        BadForm: the form is damaged, or a file is too large.
    """
    statuses = file_upload_statuses if progress else None
    try:
        paths, _, _ = await upload_fn(request, str(folder), max_bytes, progress, upload_progress=statuses)
    except MultiPartException as error:
        raise BadForm(error.message) from error
    return paths
