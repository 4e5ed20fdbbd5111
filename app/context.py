"""What every tab of the page needs: the models, the sessions, and what lets it draw when it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from app.gradio_ext.events import direct
from app.server.sessions import SessionStore
from app.service import Service

OPEN_TAB = """(...given) => {
  const open = '#ktb-tabs [role=tab][aria-selected=true], #ktb-tabs .overflow-dropdown .selected';
  const tab = document.querySelector(open);
  given[given.length - 1] = tab ? tab.textContent.trim() : '';
  return given; }"""
"""Before a handler: the label of the open tab as its last input. On a narrow page it may lie in the menu."""
IN_A_WHILE = """async (...given) => {
  await new Promise((later) => setTimeout(later, 800));
  await new Promise((idle) => window.requestIdleCallback?.(idle, { timeout: 2000 }) ?? idle());
  return given; }"""
"""Before a handler: when the result has been drawn, and what was worked out of it ahead."""


@dataclass(frozen=True)
class Context:
    """Handed to each tab's `build`.

    Attributes:
        service, store: models and runs; `store.result(request.session_hash)` is the session's latest result.
        changed: a State that gets a new value after every run; None before the first.
        pixel: a State with the inspected pixel of the RGB image as (y, x), or None.
        at: where the page's script writes what is clicked or dragged: "y,x" as fractions of the picture.
        given: the components that describe the current input, as inputs of a handler: RGB image, X files,
            source of X, checkpoint, then the fields of X (`app.widgets.x_form.XForm`).
        drawn: a State with a dict that the tabs write into: label of a tab → the run that it shows, as
            `changed` has it, and what its controls were last asked for.
        opened: for `OPEN_TAB`.
    """

    service: Service
    store: SessionStore
    changed: gr.State
    pixel: gr.State
    at: gr.HTML
    given: tuple[gr.components.Component, ...]
    drawn: gr.State
    opened: gr.Textbox

    def draws(
        self,
        tab: gr.Tab,
        handler: Callable,
        inputs: Sequence[gr.components.Component],
        outputs: Sequence[gr.components.Component],
        is_ahead: bool = False,
    ) -> None:
        """Let a handler draw a tab once per run: at its end if the tab is open, else when it gets opened.

        Args:
            handler: (request, values of inputs) → outputs.
            is_ahead: draw a closed tab, too, a while after the run and if the network has nothing to do then,
                so that it opens at once.
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
            return draw(request, *given) if self.service.turns.is_free else gr.skip()

        given = [self.changed, self.drawn, *inputs]
        direct(tab.select, draw, given, outputs, lane=label)
        if is_ahead:
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
        """Let a handler draw a part of a tab again when its controls are used.

        Gradio's lists report a choice twice; what was asked for last is not asked for or drawn again.

        Args:
            events: such as `control.input`.
            handler: (request, values of inputs) → outputs.
            inputs: all that decides what is drawn, and the same for all handlers of the tab.
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
