"""Options of event listeners."""

from __future__ import annotations

from typing import Any

import gradio as gr

HIDDEN: dict[str, Any] = {"api_visibility": "private"}
RUNNING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", **HIDDEN}
AT_ONCE: dict[str, Any] = {"queue": False, "show_progress": "hidden", "show_progress_on": [], **HIDDEN}
"""Options of events that need no network: without the queue, its message stream, and a status."""
LATEST: dict[str, Any] = {**AT_ONCE, "trigger_mode": "always_last"}
"""As AT_ONCE, one call at a time, and then one for the latest values."""
PROGRESS = gr.Progress()  # as a default argument it tells Gradio to pass one
