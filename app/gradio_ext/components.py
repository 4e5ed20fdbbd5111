"""Components that hand over the paths of uploads and open none of them."""

from __future__ import annotations

from abc import ABCMeta

import gradio as gr
from gradio.data_classes import FileData, ListFiles


def _paths(self: gr.components.Component, payload: FileData | ListFiles | None) -> str | list[str] | None:
    if isinstance(payload, ListFiles):
        return [file.path for file in payload]
    return None if payload is None else payload.path


def hands_over_files(kind: type) -> type:
    """An upload component that hands over paths: the page itself reads, and refuses, what lies there.

    Gradio's own would open a picture first, and fail on a bad one without a message for people; of other
    files it leaves an empty copy. Made by ABCMeta, because Gradio's metaclass writes a stub file beside the
    module of every subclass; a method set on the object would be lost when an event updates it.
    """
    return ABCMeta.__new__(type(kind), kind.__name__, (kind,), {"preprocess": _paths})


PhotoPlace, FilesPlace, FileButton = map(hands_over_files, (gr.Image, gr.File, gr.UploadButton))
