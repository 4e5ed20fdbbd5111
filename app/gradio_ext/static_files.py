"""Static files, on Gradio's list for the lifetime of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import gradio as gr
from gradio.data_classes import _StaticFiles


def serve_in_place(paths: Iterable[Path]) -> Callable[[], None]:
    """Let Gradio serve files and folders without copying them into the upload folder.

    Gradio has one list for all pages of the process and never removes entries. `app.web.route_filter` decides
    which of them a page's visitors may fetch.

    Returns:
        A function that removes them from the list; a second call does nothing.
    """
    offered = [Path(path).resolve() for path in paths]
    gr.set_static_paths(offered)

    def forget() -> None:
        while offered:
            _StaticFiles.all_paths.remove(offered.pop())  # one entry: another page may have added it, too

    return forget
