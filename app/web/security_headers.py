"""Security headers, by which the browser blocks what the page never does."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EMBEDDED_BY = ("'self'", "https://huggingface.co", "https://*.huggingface.co", "https://*.hf.space")
"""Origins that may embed the page in a frame."""
ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), clipboard-read=(self), clipboard-write=(self), "
    "display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
OF_FILES = "default-src 'none'; sandbox"
"""The policy of uploaded and generated files: opened directly, they cannot run anything."""
FILES = re.compile(r"^/(gradio_api/file[=/]|answers/)")
_SCRIPT = re.compile(r"<script\b(?![^>]*\ssrc\s*=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)


def page_policy(hashes: Iterable[str]) -> str:
    """The Content-Security-Policy of the page: only its own scripts, and no external resources.

    Gradio compiles texts to functions (js=... of events), which needs 'unsafe-eval', and uses inline styles.
    Inline scripts run only by their hash, so that injected HTML runs nothing.
    """
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' 'unsafe-eval' {' '.join(hashes)}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "frame-src 'none'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            f"frame-ancestors {' '.join(EMBEDDED_BY)}",
        )
    )


def script_hashes(html: str) -> list[str]:
    """The hash of each inline script, in the syntax of a Content-Security-Policy."""
    found = (hashlib.sha256(text.encode()).digest() for text in _SCRIPT.findall(html))
    return [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in found]


class SecurityHeaders:
    """Adds the headers to every response.

    Args:
        added: HTML that Gradio adds to the page in the browser; its scripts may run.
    """

    def __init__(self, app: ASGIApp, added: str = ""):
        self.app, self._added = app, script_hashes(added)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start: Message | None = None  # of a page; sent after its scripts are known
        body = bytearray()

        async def with_headers(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers[name] = value
                if FILES.match(scope["path"]):
                    headers["Content-Security-Policy"] = OF_FILES
                elif headers.get("content-type", "").startswith("text/html"):
                    start = message
                    return
            elif start is not None:
                body.extend(message.get("body", b""))
                if message.get("more_body"):
                    return
                hashes = dict.fromkeys([*self._added, *script_hashes(body.decode("utf-8", "replace"))])
                MutableHeaders(scope=start)["Content-Security-Policy"] = page_policy(hashes)
                await send(start)
                message = {"type": "http.response.body", "body": bytes(body)}
            await send(message)

        await self.app(scope, receive, with_headers)
