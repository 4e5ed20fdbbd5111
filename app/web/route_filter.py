"""Ways into Gradio that this page does not need are shut, and files are served only if they are offered."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

SHUT = re.compile(
    r"^(/gradio_api)?/("
    r"run(?!/predict/?$)|api|stream|process_recording|component_server|custom_component|deep_link|dev|mcp|"
    r"monitoring|profiling|run-history|runs|vibe-[a-z-]+"
    r")(/|$)|^(/gradio_api)?/proxy="
)
"""Named calls past the queue, recordings of the screen, saved states, statistics, editors, files elsewhere.

What only draws is asked for at run/predict, where the page refuses all that has to wait its turn.
"""
FILE = re.compile(r"^/gradio_api/file[=/](.*)$", re.DOTALL)
WRITES = re.compile(r"^/gradio_api/(upload|queue/join|run/predict|cancel|call/[^/]+(/[^/]+)?)/?$")
"""The only addresses that take anything."""
MAX_PATH = 4096


class Doors:
    """Answers 404 for what is shut, and for files that `serves` does not know.

    Args:
        serves: (scope, path) → whether a visitor may fetch the file there.
    """

    def __init__(self, app: ASGIApp, serves: Callable[[Scope, Path], bool]):
        self.app, self._serves = app, serves

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] == "http" and not self._is_open(scope):
            await JSONResponse({"detail": "There is nothing here."}, 404)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        if len(path) > MAX_PATH or "\0" in path or SHUT.match(path):
            return False
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not WRITES.match(path):
            return False
        if file := FILE.match(path):
            return self._serves(scope, Path(file[1]))
        return True
