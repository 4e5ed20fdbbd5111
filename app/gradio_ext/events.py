"""Options of event listeners, and direct events that bypass Gradio's queue."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

HIDDEN: dict[str, Any] = {"api_visibility": "private"}
RUNNING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", **HIDDEN}
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "show_progress_on": [], **HIDDEN}
"""Options of events that only draw: without the queue, its message stream, and a status."""
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
    """Handle an event that only draws through a script, without the status updates of Gradio's page.

    At every status change of a server event, Gradio's page copies the values of all components that are
    inputs of any event, which takes longer than the drawing. An event of a script has no status: the script
    (`ktbAsk` in app/static/script.js) calls the server. It makes one call at a time per event, and then one
    for the latest inputs.

    Args:
        listen: the listener, such as `button.click`; `partial(gr.on, [...])` for several.
        js: a script that maps the inputs' values to those that are sent, or to a promise of them.
        once: whether to skip a call with the same inputs as a pending one.
        lane: events of the same lane, which draw the same components, are called one after the other.
            Otherwise a slow response could overwrite a later one.

    Returns:
        The event, for `then`.
    """
    event = gr.on([], handler, inputs, outputs, **AT_ONCE)
    options = json.dumps([once, lane or event["id"]])
    script = f"async (...given) => window.ktbAsk({event['id']}, await ({js})(...given), ...{options})"
    return listen(None, inputs, outputs, js=script, **AT_ONCE)
