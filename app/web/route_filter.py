"""An allow-list of Gradio's routes, and of the files that are served."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

READS = re.compile(
    r"^/("
    r"|healthz/?|config/?|theme\.css|robots\.txt|favicon\.ico|manifest\.json|pwa_icon(/[0-9]+)?"
    r"|(assets|static|svelte)/.+"
    r"|viewer/([a-z]+\.(js|css)|example\.safetensors\.gz)"
    r"|answers/[0-9a-f]{32}/[A-Za-z0-9._-]{1,100}"
    r"|gradio_api/("
    r"info/?|openapi\.json|theme\.css|app_id/?|startup-events"
    r"|queue/data|call/[^/]+/[^/]+|heartbeat/[^/]+|upload_progress"
    r"))$"
)
"""GET routes that the page and its API clients need, apart from files."""
FILE = re.compile(r"^/gradio_api/file[=/](.*)$", re.DOTALL)
WRITES = re.compile(r"^/gradio_api/(upload|queue/join|run/predict|cancel|call/[^/]+|call/v2/[^/]+)/?$")
"""The only POST routes. run/predict refuses every event of the queue."""
RANGE = re.compile(rb"^bytes=([0-9]{1,15}-([0-9]{1,15})?|-[0-9]{1,15})$")
MAX_PATH = 4096
KEPT = ("/gradio_api/upload_progress", "/gradio_api/queue/data")
"""What is asked for by a name in the query, which Gradio keeps."""
MAX_QUERY = 1024


class RouteFilter:
    """Responds 404 to other routes, and to files that `serves` refuses.

    Args:
        serves: (scope, path) → whether a visitor may fetch the file there.
        also: paths that are open for POST as well.
    """

    def __init__(self, app: ASGIApp, serves: Callable[[Scope, str], bool], also: Collection[str] = ()):
        self.app, self._serves, self._also = app, serves, frozenset(also)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] == "http" and not self._is_open(scope):
            await JSONResponse({"detail": "There is nothing here."}, 404)(scope, receive, send)
            return
        await self.app(_with_known_range(scope), receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        if len(path) > MAX_PATH or "\0" in path:
            return False
        if scope["method"] == "POST":
            return WRITES.match(path) is not None or path in self._also
        if scope["method"] not in ("GET", "HEAD"):
            return False
        if file := FILE.match(path):
            return self._serves(scope, file[1])
        if len(scope.get("query_string", b"")) > MAX_QUERY and path in KEPT:
            return False
        return READS.match(path) is not None


def _with_known_range(scope: Scope) -> Scope:
    """Gradio fails on several ranges, and a server may ignore what it does not serve."""
    given = scope.get("headers", ())
    headers = [(key, value) for key, value in given if key != b"range" or RANGE.match(value)]
    return scope if len(headers) == len(given) else {**scope, "headers": headers}
