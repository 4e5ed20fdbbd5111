"""What every tab of the page needs: the models, the sessions, and what tells it to draw again."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.service import Service
from app.sessions import SessionStore


@dataclass(frozen=True)
class Context:
    """Handed to each tab's `build`.

    Attributes:
        service, store: models and runs; `store.result(request.session_hash)` is the session's latest result.
        changed: a State that gets a new value after every run: tabs draw on its `change`.
        pixel: a State with the inspected pixel of the photograph as (y, x), or None.
        at: where the page's script writes what is clicked or dragged: "y,x" as fractions of the picture.
        given: the components that describe the current input, as inputs of a handler: photograph, X files,
            source of X, checkpoint, then the fields of X (`app.x_form.XForm`).
    """

    service: Service
    store: SessionStore
    changed: gr.State
    pixel: gr.State
    at: gr.HTML
    given: tuple[gr.components.Component, ...]
