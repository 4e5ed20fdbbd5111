"""How an event of the page behaves: keyword arguments for a component's listeners."""

from __future__ import annotations

from typing import Any

AT_ONCE = 4
"""Visitors whom one control serves at the same time; Gradio's own default makes each wait for all before."""

HIDDEN: dict[str, Any] = {"api_visibility": "private"}
RUNNING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", **HIDDEN}
QUIET: dict[str, Any] = {"show_progress": "hidden", "concurrency_limit": AT_ONCE, **HIDDEN}
LATEST: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
