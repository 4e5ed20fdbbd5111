"""Which files a request may name: those that were uploaded here, nothing else of this or another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.exceptions import InvalidPathError
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse

NOT_HERE = "a file is not here, or not any more. Upload it (again); other files of this machine are not read."
NO_ADDRESSES = (
    "a file is given by its address on the internet; nothing is fetched from there. Upload the file."
)


class UploadedOnly(gr.Blocks):
    """A page that takes uploaded files only.

    Gradio itself would also fetch addresses, of any length, before the page sees them, and stumble over
    folders when it tidies up. An upload's path holds a hash of its contents and of a secret of this server:
    nobody can name a file that they do not have themselves.
    """

    async def preprocess_data(self, block_fn, inputs: list[Any], state, explicit_call: bool = False):
        """As Gradio's; gr.Error for a file that is none of the uploads."""
        traverse(inputs, _check, is_file_obj_with_meta)
        try:
            return await super().preprocess_data(block_fn, inputs, state, explicit_call)
        except InvalidPathError as error:
            raise gr.Error(NOT_HERE, print_exception=False) from error


def _check(file: dict[str, Any]) -> dict[str, Any]:
    path = file.get("path")
    if is_http_url_like(str(path)):
        raise gr.Error(NO_ADDRESSES, print_exception=False)
    if path is not None and not Path(path).is_file():
        raise gr.Error(NOT_HERE, print_exception=False)
    return file
