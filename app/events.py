"""How an event of the page behaves: keyword arguments for a component's listeners."""

from __future__ import annotations

from typing import Any

HIDDEN: dict[str, Any] = {"api_visibility": "private"}
RUNNING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", **HIDDEN}
QUIET: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "show_progress_on": [],
    **HIDDEN,
}
"""What only draws is asked for and answered at once, past the queue and its stream of messages.

Nothing shows its status: at every change of any status the browser copies the values of all components that
ever showed one, which took longer than the drawing itself.
"""
LATEST: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
