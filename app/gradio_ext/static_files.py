"""Files that Gradio serves where they lie: on its list for as long as a page needs them there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import gradio as gr
from gradio.data_classes import _StaticFiles


def serve_in_place(paths: Iterable[Path]) -> Callable[[], None]:
    """Let Gradio serve files and folders without copying them among the uploads.

    Gradio has one list for all pages of the process, from which it takes nothing off. Which of them the
    visitors of a page may fetch is up to `app.web.route_filter`.

    Returns:
        What takes them off the list again; a second call does nothing.
    """
    offered = [Path(path).resolve() for path in paths]
    gr.set_static_paths(offered)

    def forget() -> None:
        while offered:
            _StaticFiles.all_paths.remove(offered.pop())  # once: another page may have put it there, too

    return forget
