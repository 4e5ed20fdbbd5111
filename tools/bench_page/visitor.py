"""A visitor of the page without a browser: fires events over HTTP and follows the events they trigger.

Many visitors are cheap, which makes loads measurable for which browsers would be too slow. Work of the
browser (scripts, rendering) is not included.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx

OPEN_TAB = "[role=tab]"  # in the scripts that give a handler the open tab's label as its last input
KEPT = httpx.Limits(keepalive_expiry=2.0)  # seconds; the server closes idle connections after five
WAIT = 90.0  # seconds; a busy machine is slow, a broken page never responds


class Refused(Exception):
    """An event ended with an error, which is the page's message."""


class Visitor:
    """One open page.

    Args:
        address: the address of the page, as returned by `launch`.
        stays: whether to hold the connection by which the server detects that the page is closed.
        source: the visitor's address; by default chosen by the system.
    """

    def __init__(self, address: str, stays: bool = True, source: str | None = None):
        transport = httpx.HTTPTransport(local_address=source, limits=KEPT)
        self._http = httpx.Client(base_url=address, timeout=WAIT, transport=transport)
        self.config = self._http.get("/config").raise_for_status().json()
        self.session = uuid.uuid4().hex
        self._api = self.config.get("api_prefix", "")
        parts = self.config["components"]
        self._props = {part["id"]: part["props"] for part in parts}
        self._states = {part["id"] for part in parts if part["type"] == "state"}
        self.values: dict[int, Any] = {number: props.get("value") for number, props in self._props.items()}
        self._tab = next(part["props"]["label"] for part in parts if part["type"] == "tabitem")
        self._heart: AbstractContextManager | None = None
        if stays:
            self._heart = self._http.stream("GET", f"{self._api}/heartbeat/{self.session}")
            self._heart.__enter__()

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Close the page."""
        if self._heart:
            self._heart.__exit__(None, None, None)
        self._http.close()

    def part(self, name: str) -> int:
        """The number of a component by its elem_id, or of a tab by its id."""
        found = [
            number for number, props in self._props.items() if name in (props.get("elem_id"), props.get("id"))
        ]
        assert len(found) == 1, f"{len(found)} components are called {name!r}"
        return found[0]

    def shown(self, name: str) -> Any:
        """The value of a component."""
        return self.values[self.part(name)]

    def upload(self, path: Path) -> dict[str, Any]:
        """Upload a file; returns the value of a file component."""
        with path.open("rb") as file:
            answer = self._http.post(f"{self._api}/upload", files={"files": (path.name, file)})
        (place,) = answer.raise_for_status().json()
        return {"path": place, "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}

    def set(self, name: str, value: Any, event: str = "input") -> None:
        """Change a component's value as a visitor does."""
        self.values[self.part(name)] = value
        self.fire(name, event)

    def open_tab(self, name: str) -> None:
        """Open a tab by its id."""
        number = self.part(name)
        self._tab = self._props[number]["label"]
        self._fire(number, "select", {"index": 0, "value": self._tab, "selected": True})

    def choose_example(self, index: int) -> None:
        """Click an example, which is then run."""
        self.fire("ktb-examples", "select", {"index": index, "value": None, "selected": True})

    def fire(self, name: str, event: str = "click", data: dict[str, Any] | None = None) -> None:
        """Fire an event of a component; returns when all triggered events have ended.

        Raises:
            Refused: with the page's message.
        """
        self._fire(self.part(name), event, data)

    def _fire(self, part: int, event: str, data: dict[str, Any] | None = None) -> None:
        for dependency in self.config["dependencies"]:
            if [part, event] in [list(target) for target in dependency["targets"]]:
                self._run(dependency, part, data)

    def _run(self, dependency: dict[str, Any], part: int | None, data: dict[str, Any] | None = None) -> None:
        error, changed = None, []
        if dependency["backend_fn"]:
            try:
                changed = self._ask(dependency, part, data)
            except Refused as refused:
                error = refused
        for after in self.config["dependencies"]:
            wanted = not (after.get("trigger_only_on_failure") if error is None
                          else after.get("trigger_only_on_success"))  # fmt: skip
            if after["trigger_after"] == dependency["id"] and wanted:
                self._run(after, None)
        for state in changed:
            self._fire(state, "change")
        if error:
            raise error

    def _ask(self, dependency: dict[str, Any], part: int | None, data: dict[str, Any] | None) -> list[int]:
        """Call one event of the server; returns the numbers of the changed states."""
        given = dependency["inputs"]
        values = [None if number in self._states else self.values[number] for number in given]
        if OPEN_TAB in str(dependency["js"]):
            values[-1] = self._tab
        body = {
            "data": values,
            "fn_index": dependency["id"],
            "session_hash": self.session,
            "trigger_id": part,
            "event_data": data,
        }
        is_queued = dependency["queue"] is not False
        way = "queue/join" if is_queued else "run/predict"
        answer = self._http.post(f"{self._api}/{way}", json=body)
        said = answer.json()
        if answer.status_code != httpx.codes.OK:
            raise Refused(said.get("detail") or said.get("error") or "an error without a text")
        output = self._answer(said["event_id"]) if is_queued else said
        for number, value in zip(dependency["outputs"], output["data"]):
            self._update(number, value)
        return output.get("changed_state_ids") or []

    def _answer(self, event: str) -> dict[str, Any]:
        for message in self._messages():
            if message.get("event_id") != event or message["msg"] != "process_completed":
                continue
            if not message["success"]:
                raise Refused(message["output"].get("error") or "an error without a text")
            return message["output"]
        raise Refused("the server stopped answering")

    def _messages(self) -> Iterator[dict[str, Any]]:
        query = {"session_hash": self.session}
        with self._http.stream("GET", f"{self._api}/queue/data", params=query) as lines:
            for line in lines.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[len("data:") :])

    def _update(self, number: int, value: Any) -> None:
        if not (isinstance(value, dict) and value.get("__type__") == "update"):
            self.values[number] = value
        elif "value" in value:
            self.values[number] = value["value"]
