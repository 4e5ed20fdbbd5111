"""How an event of the page behaves: what its listener is given, and what goes past Gradio's own way."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

HIDDEN: dict[str, Any] = {"api_visibility": "private"}
RUNNING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", **HIDDEN}
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "show_progress_on": [], **HIDDEN}
"""What only draws is answered at once, past the queue and its stream of messages, and shows no status."""
AS_GIVEN = "(...given) => given"
Components = gr.blocks.Block | Sequence[gr.blocks.Block] | None


def direct(
    listen: Callable,
    handler: Callable,
    inputs: Components,
    outputs: Components,
    js: str = AS_GIVEN,
    once: bool = False,
    lane: str = "",
) -> gr.events.Dependency:
    """Let a handler answer an event that only draws, past what Gradio's page does for an event of the server.

    At every change of such an event's status that page copies the values of all components that an event ever
    named as its inputs, which takes longer than to draw. An event of a script has no status: here a script
    (`ktbAsk` in app/static/script.js) asks the server. It asks once at a time for an event, and then for
    the latest.

    Args:
        listen: what hears the event, such as `button.click`; `partial(gr.on, [...])` hears several.
        js: a script that is given the inputs' values, and gives (or promises) what is sent in their place.
        once: whether the same inputs need no second answer while the first is on its way.
        lane: events of the same one are asked one after the other: those that draw the same components. Else
            an answer that took longer would undo what was asked for later.

    Returns:
        The event, for what follows it.
    """
    answer = gr.on([], handler, inputs, outputs, **AT_ONCE)
    options = json.dumps([once, lane or answer["id"]])
    script = f"async (...given) => window.ktbAsk({answer['id']}, await ({js})(...given), ...{options})"
    return listen(None, inputs, outputs, js=script, **AT_ONCE)
