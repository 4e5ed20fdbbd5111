"""Shared context of the tabs: models, sessions, and event wiring that draws a tab only when it is visible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from app.gradio_ext.events import direct
from app.server.private_files import PrivateFiles
from app.server.sessions import SessionStore
from app.service import Service

OPEN_TAB = """(...given) => {
  const open = '#ktb-tabs [role=tab][aria-selected=true], #ktb-tabs .overflow-dropdown .selected';
  const tab = document.querySelector(open);
  given[given.length - 1] = tab ? tab.textContent.trim() : '';
  return given; }"""
"""Runs before a handler: sets its last input to the open tab's label, which a narrow page has in a menu."""
IN_A_WHILE = """async (...given) => {
  await new Promise((later) => setTimeout(later, 800));
  await new Promise((idle) => window.requestIdleCallback?.(idle, { timeout: 2000 }) ?? idle());
  return given; }"""
"""Runs before a handler: waits until the result is drawn and its maps are precomputed."""


@dataclass(frozen=True)
class Context:
    """The argument of each tab's `build`.

    Attributes:
        service: the models.
        store: the sessions; `store.result(request.session_hash)` is the session's latest result.
        changed: a State whose value changes after every run; None before the first.
        pixel: a State with the inspected pixel of the RGB image as (y, x), or None.
        at: receives the clicked or dragged position from the page's script: "y,x", fractions of the image.
        given: the components that describe the current input: RGB image, X files, source of X, checkpoint,
            then the fields of X (`app.widgets.x_form.XForm`).
        drawn: a State with a dict: label of a tab → the run that it shows (a value of `changed`), and
            "LABEL: controls" → the values that its controls were last drawn with.
        files: writes files for a session.
        opened: receives the label of the open tab from `OPEN_TAB`.
    """

    service: Service
    store: SessionStore
    changed: gr.State
    pixel: gr.State
    at: gr.HTML
    given: tuple[gr.components.Component, ...]
    drawn: gr.State
    opened: gr.Textbox
    files: PrivateFiles

    def draws(
        self,
        tab: gr.Tab,
        handler: Callable,
        inputs: Sequence[gr.components.Component],
        outputs: Sequence[gr.components.Component],
        is_precomputed: bool = False,
    ) -> None:
        """Draw a tab once per run: when the run ends if the tab is open, otherwise when it is opened.

        Args:
            handler: (request, values of inputs) → outputs.
            is_precomputed: also draw a closed tab shortly after the run, if the network is idle then, so that
                it opens instantly.
        """
        label = tab.label

        def draw(request: gr.Request, run: str | None, drawn: dict[str, Any], *values):
            if run is None or drawn.get(label) == run:
                return gr.skip()
            drawn[label] = run
            return handler(request, *values)

        def draw_if_open(request: gr.Request, *given):
            *given, opened = given
            return draw(request, *given) if opened == label else gr.skip()

        def draw_if_free(request: gr.Request, *given):
            return draw(request, *given) if self.service.scheduler.is_free else gr.skip()

        given = [self.changed, self.drawn, *inputs]
        direct(tab.select, draw, given, outputs, lane=label)
        if is_precomputed:
            direct(self.changed.change, draw_if_free, given, outputs, IN_A_WHILE, lane=label)
        direct(self.changed.change, draw_if_open, [*given, self.opened], outputs, OPEN_TAB, lane=label)

    def redraws(
        self,
        tab: gr.Tab,
        events: Sequence[Callable],
        handler: Callable,
        inputs: Sequence[gr.components.Component],
        outputs: Sequence[gr.components.Component],
    ) -> None:
        """Redraw a part of a tab when its controls are used.

        Gradio's lists report a choice twice; the second report is ignored.

        Args:
            events: such as `control.input`.
            handler: (request, values of inputs) → outputs.
            inputs: every control that affects the drawing; the same for all handlers of the tab.
        """
        key = f"{tab.label}: controls"

        def draw(request: gr.Request, run: str | None, drawn: dict[str, Any], *values):
            if drawn.get(key) == (run, values):
                return gr.skip()
            drawn[key] = run, values
            return handler(request, *values)

        direct(
            partial(gr.on, events),
            draw,
            [self.changed, self.drawn, *inputs],
            outputs,
            once=True,
            lane=tab.label,
        )
