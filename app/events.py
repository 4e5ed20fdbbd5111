"""How an event of the page behaves: keyword arguments for a component's listeners."""

from __future__ import annotations

from typing import Any

HIDDEN: dict[str, Any] = {"api_visibility": "private"}
RUNNING: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "network", **HIDDEN}
QUIET: dict[str, Any] = {"show_progress": "hidden", **HIDDEN}
LATEST: dict[str, Any] = {"trigger_mode": "always_last", **QUIET}
