"""Which files a request may name: those of its own page, nothing else of this or another machine."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.exceptions import InvalidPathError
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse

from app.server.uploads import Uploads

NOT_HERE = "a file is not here, or not any more. Upload it (again); other files of this machine are not read."
NO_ADDRESSES = (
    "a file is given by its address on the internet; nothing is fetched from there. Upload the file."
)
session: ContextVar[str] = ContextVar("session", default="")
"""The page, or the caller, whose event is being worked on."""


class UploadedOnly(gr.Blocks):
    """A page that takes files only from who uploaded them.

    Gradio itself would also fetch addresses, of any length, before the page sees them, and stumble over
    folders when it tidies up.
    """

    uploads: Uploads

    async def preprocess_data(self, block_fn, inputs: list[Any], state, explicit_call: bool = False):
        """As Gradio's; gr.Error for a file that is none of this session's uploads."""
        named: list[dict[str, Any]] = []
        traverse(inputs, lambda file: named.append(file) or file, is_file_obj_with_meta)
        for file in named:
            self._check(file)
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except InvalidPathError as error:
            raise gr.Error(NOT_HERE, print_exception=False) from error

    def _check(self, file: dict[str, Any]) -> None:
        path = file.get("path")
        if is_http_url_like(str(path)):
            raise gr.Error(NO_ADDRESSES, print_exception=False)
        if path is not None and not self._is_own(str(path)):
            raise gr.Error(NOT_HERE, print_exception=False)

    def _is_own(self, path: str) -> bool:
        try:
            return self.uploads.claim(session.get(), Path(path))
        except (OSError, ValueError):  # no name of a file at all
            return False
