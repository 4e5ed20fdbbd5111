"""Upload components that pass paths to handlers without opening the files."""

from __future__ import annotations

from abc import ABCMeta

import gradio as gr
from gradio.data_classes import FileData, ListFiles


def _paths(self: gr.components.Component, payload: FileData | ListFiles | None) -> str | list[str] | None:
    if isinstance(payload, ListFiles):
        return [file.path for file in payload]
    return None if payload is None else payload.path


def hands_over_files(kind: type) -> type:
    """An upload component that passes paths: the page itself reads and validates the files.

    Gradio's components would open an image first, and fail on a bad one without a useful message; of other
    files they leave an empty copy. The class is made by ABCMeta, because Gradio's metaclass writes a stub
    file beside the module of every subclass; a method of an instance would be lost when an event updates it.
    """
    return ABCMeta.__new__(type(kind), kind.__name__, (kind,), {"preprocess": _paths})


ImageInput, FilesInput, FileButton = map(hands_over_files, (gr.Image, gr.File, gr.UploadButton))
