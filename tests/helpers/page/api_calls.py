"""Calls of the page's HTTP API."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx

from helpers.page.browsing import below

API = "gradio_api"


def send(http, path: Path, name: str | None = None) -> httpx.Response:
    """Upload a file, under another name if one is given; the response."""
    with path.open("rb") as file:
        return http.post(f"{API}/upload", files={"files": (name or path.name, file)})


def sent(http, path: Path) -> str:
    """Upload a file; its path on the server."""
    (place,) = send(http, path).raise_for_status().json()
    return place


def file_data(path: str) -> dict:
    """A file of the server as an API call takes it."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def called(http, endpoint: str, *values) -> tuple[str, str]:
    """Kind of an API call's answer ("complete" or "error"), and all that it says."""
    event = http.post(f"{API}/call/{endpoint}", json={"data": list(values)}).raise_for_status().json()
    answer = http.get(f"{API}/call/{endpoint}/{event['event_id']}").text
    return answer.splitlines()[0].removeprefix("event: "), answer


def contents(delivered: str) -> bytes:
    """A file of an answer, fetched where the answer has a link."""
    if delivered.startswith("http"):
        return httpx.get(delivered, timeout=60).raise_for_status().content
    return base64.b64decode(delivered)


def left(uploads: Path) -> list[Path]:
    """Uploads that lie on the disk."""
    return [path for path in below(uploads, "*") if path.is_file() and path.suffix != ".lock"]
