"""Calls of the page's own HTTP API on behalf of an agent, with every check that its address would meet."""

from __future__ import annotations

import base64
import binascii
import json
import mimetypes
import re
from typing import Any

import httpx
from starlette.requests import Request

FORWARDED = ("host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "authorization")
"""Headers of the agent's request that the call carries on: they tell its address and that of the page."""
DATA = re.compile(
    r"data:(?P<mime>[\w.+/-]*)(?:;name=(?P<name>[\w.-]{1,100}))?;base64,(?P<data>.*)", re.DOTALL
)
NO_DATA = "a file's data: address is not data:MIME;base64,CONTENTS or data:MIME;name=FILE;base64,CONTENTS."
NOT_REACHED = "the page did not answer this call: {}"
SECONDS = 2 * 3600.0
"""Time for a call, which may wait in the queue."""


class Refused(ValueError):
    """The page refused a call; the message is that of the page."""


class Caller:
    """Calls the API of the page that a request came to, in this process and with the request's address.

    So an agent can do what a caller of the HTTP API can, and nothing else: hosts, rates, sizes, the queue and
    the ownership of files are checked as for any other call.

    Args:
        request: the agent's request.
    """

    def __init__(self, request: Request):
        headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        address = (request.client.host, request.client.port) if request.client else ("", 0)
        transport = httpx.ASGITransport(request.app, client=address)
        self._http = httpx.AsyncClient(
            transport=transport,
            base_url=f"{request.url.scheme}://{request.url.netloc}",
            headers=headers,
            timeout=SECONDS,
        )

    async def call(self, endpoint: str, files: dict[str, Any], **given: Any) -> Any:
        """The answer of an endpoint.

        Args:
            files: parameter → a file, a list of files, or None; a file is the path that an upload returned,
                or a data: address.
            given: the other parameters; those that are None have the endpoint's defaults.

        Raises:
            Refused: with the page's message.
        """
        async with self._http:
            body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
            for name, value in files.items():
                many = value if isinstance(value, list) else [value]
                found = [None if one is None else await self._file(one, name) for one in many]
                body[name] = found if isinstance(value, list) else found[0]
            started = self._checked(await self._http.post(f"/gradio_api/call/v2/{endpoint}", json=body))
            stream = await self._http.get(f"/gradio_api/call/{endpoint}/{started['event_id']}")
            return _answer(stream.text)

    async def _file(self, named: str, parameter: str) -> dict[str, Any]:
        """A file as the API takes it; one in a data: address is uploaded first."""
        if named.startswith("data:"):
            found = DATA.fullmatch(named)
            if not found:
                raise Refused(NO_DATA)
            try:
                contents = base64.b64decode(found["data"], validate=True)
            except binascii.Error as error:
                raise Refused(NO_DATA) from error
            name = found["name"] or f"{parameter}{mimetypes.guess_extension(found['mime']) or ''}"
            sent = await self._http.post("/gradio_api/upload", files={"files": (name, contents)})
            (named,) = self._checked(sent)
        return {"path": named, "meta": {"_type": "gradio.FileData"}}

    def _checked(self, response: httpx.Response) -> Any:
        try:
            answer = response.json()
        except ValueError:
            answer = response.text
        if response.is_success:
            return answer
        detail = answer.get("detail") if isinstance(answer, dict) else answer
        raise Refused(str(detail or NOT_REACHED.format(response.status_code)))


def _answer(stream: str) -> Any:
    """The result of a call from its stream of events; Refused for an error."""
    lines = [line for line in stream.splitlines() if line]
    if len(lines) < 2 or not lines[-2].startswith("event: "):
        raise Refused(NOT_REACHED.format(stream[:200]))
    data = json.loads(lines[-1].removeprefix("data: "))
    if lines[-2] != "event: complete":
        said = data.get("error") if isinstance(data, dict) else data
        raise Refused(str(said or "the call failed."))
    return data[0]
