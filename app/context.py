"""Shared context of the tabs: models, sessions, and the components that several tabs use."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr

from app.server.sessions import SessionStore
from app.service import Service
from app.viewer import ViewerFiles

OPEN_TAB = """(...given) => {
  const open = '#ktb-tabs [role=tab][aria-selected=true], #ktb-tabs .overflow-dropdown .selected';
  const tab = document.querySelector(open);
  given[given.length - 1] = tab ? tab.textContent.trim() : '';
  given[given.length - 2] = window.ktbView?.() ?? '';
  return given; }"""
"""Runs before a handler: sets its last two inputs to the viewer's state (JSON) and the open tab's label,
which a narrow page has in a menu."""


@dataclass(frozen=True)
class Context:
    """The argument of each tab's `build`.

    Attributes:
        service: the models.
        store: the sessions; `store.result(request.session_hash)` is the session's latest result.
        viewer: writes bundles for a session's viewer.
        changed: a State whose value changes after every run; None before the first.
        given: the components that describe the current input: RGB image, X files, source of X, checkpoint,
            then the fields of X (`app.widgets.x_form.XForm`).
    """

    service: Service
    store: SessionStore
    viewer: ViewerFiles
    changed: gr.State
    given: tuple[gr.components.Component, ...]
