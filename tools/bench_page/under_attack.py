"""Compare the response times of twenty clients with and without an attack from another address.

    python -m tools.bench_page.under_attack --clients 20 --minutes 3 --out attack.json

Starts the page in its own process, and runs the same load twice: first alone, then with
`tools.bench_page.attacks` from 127.0.0.2. Each client has its own address (127.0.1.1 and on; with
--one-address all share one), opens pages, runs examples, opens tabs, uploads pairs and calls the API, with
2 to 6 seconds between two actions. Exit code 1 if a call of a client failed, or if the 95th percentile of the
response times is more than twice that without the attack.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx

from tools.bench_page.attacks import EXAMPLES, file_data
from tools.bench_page.many_users import ROOT, server, summary
from tools.bench_page.visitor import KEPT, Visitor

THINK = (2.0, 6.0)  # seconds
WAIT = 120.0
MAX_RATIO = 2.0
PAIRS = tuple(path.name.removesuffix("_rgb.png") for path in sorted(EXAMPLES.glob("*_rgb.png")))


class Client:
    """A visitor or program at one address; records the seconds of each action, and errors."""

    def __init__(self, address: str, source: str, number: int, end: float):
        self.address, self.source, self.end = address, source, end
        self.rng = random.Random(number)
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []

    def live(self) -> None:
        """Alternate between visits of the page and calls of the API."""
        time.sleep(self.rng.uniform(0, THINK[1]))
        while time.monotonic() < self.end:
            self.visit() if self.rng.random() < 0.5 else self.calls()

    def visit(self) -> None:
        visitor: Visitor | None = None

        def enter() -> None:
            nonlocal visitor
            visitor = Visitor(self.address, source=self.source)

        self.timed("open the page", enter)
        if visitor is None:
            return
        with visitor:
            self.timed("run an example", lambda: visitor.choose_example(self.rng.randrange(len(PAIRS))))
            self.timed("ablate X", lambda: visitor.set("ktb-off", "x"))
            self.timed("read X again", lambda: visitor.set("ktb-unit", "mm", "select"))
            self.timed("upload a pair", lambda: self._choose_pair(visitor))

    def _choose_pair(self, visitor: Visitor) -> None:
        rgb, x = (visitor.upload(path) for path in self._pair())
        visitor.set("ktb-rgb", rgb)
        visitor.set("ktb-x", [x], "upload")
        assert "<img" in visitor.shown("ktb-x-read")

    def calls(self) -> None:
        transport = httpx.HTTPTransport(local_address=self.source, limits=KEPT)
        with httpx.Client(base_url=self.address, timeout=WAIT, transport=transport) as http:
            self.timed("call models", lambda: self._call(http, "models"))
            model = self.rng.choice(self.models)
            self.timed("call read_x", lambda: self._call(http, "read_x", *self._sent(http), model, {}))
            segment = [model, {}, "file"]
            self.timed("call segment", lambda: self._call(http, "segment", *self._sent(http), *segment))

    @property
    def models(self) -> list[str]:
        return ["ktb-lite-nyuv2-depth"]

    def _sent(self, http: httpx.Client) -> list[Any]:
        paths = []
        for path in self._pair():
            with path.open("rb") as file:
                answer = http.post("gradio_api/upload", files={"files": (path.name, file)})
            paths += answer.raise_for_status().json()
        return [file_data(paths[0]), [file_data(paths[1])]]

    def _call(self, http: httpx.Client, endpoint: str, *data: Any) -> None:
        place = f"gradio_api/call/{endpoint}"
        event = http.post(place, json={"data": list(data)}).raise_for_status().json()["event_id"]
        said = http.get(f"{place}/{event}").raise_for_status().text
        if "event: complete" not in said:
            raise ValueError(said[-300:])

    def _pair(self) -> list[Path]:
        name = self.rng.choice(PAIRS)
        return [EXAMPLES / f"{name}_{kind}.png" for kind in ("rgb", "depth")]

    def timed(self, action: str, do: Callable[[], object]) -> None:
        if time.monotonic() > self.end:
            return
        begun = time.monotonic()
        try:
            do()
        except Exception as error:  # whatever goes wrong is what is looked for
            self.errors.append(f"{self.source}, {action}: {type(error).__name__}: {str(error)[:300]}")
        self.seconds[action].append(time.monotonic() - begun)
        time.sleep(self.rng.uniform(*THINK))


def load(address: str, count: int, seconds: float, is_one_address: bool) -> dict[str, Any]:
    """Run the clients' load for a given time."""
    end, before = time.monotonic() + seconds, os.getloadavg()[0]
    sources = ["127.0.1.1" if is_one_address else f"127.0.1.{number + 1}" for number in range(count)]
    clients = [Client(address, source, number, end) for number, source in enumerate(sources)]
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(client.live) for client in clients]:
            done.result()
    by_action: dict[str, list[float]] = defaultdict(list)
    for client in clients:
        for action, found in client.seconds.items():
            by_action[action] += found
    everything = [one for found in by_action.values() for one in found]
    return {
        "all": summary(everything),
        "actions": {action: summary(found) for action, found in sorted(by_action.items())},
        "errors": [error for client in clients for error in client.errors],
        "load_average": [round(before, 1), round(os.getloadavg()[0], 1)],
    }


def memory_mib(pid: int) -> dict[str, int]:
    """Current and peak memory of the server."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    named = {"now": "VmRSS", "most": "VmHWM"}
    return {
        name: int(next(line for line in lines if line.startswith(key)).split()[1]) >> 10
        for name, key in named.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--one-address", action="store_true", help="all clients share an address")
    parser.add_argument("--server", help="the address of a running page; by default one is started")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seconds, report = 60 * options.minutes, {}
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "uploads"
        folder.mkdir()
        log = Path(parent) / "server.log"
        started = nullcontext((None, options.server)) if options.server else server(folder, log)
        with started as (process, address):
            Client(address, "127.0.1.99", 0, time.monotonic() + 60).calls()  # loads the model
            report["alone"] = load(address, options.clients, seconds, options.one_address)
            command = [sys.executable, "-m", "tools.bench_page.attacks", address]
            attack = subprocess.Popen(
                [*command, "--seconds", str(seconds + 5)], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            report["attacked"] = load(address, options.clients, seconds, options.one_address)
            report["attack"] = json.loads(attack.communicate()[0] or "{}")
            if process is not None:
                report["server_mib"] = memory_mib(process.pid)
                report["tracebacks"] = log.read_text().count("Traceback")
    ratio = report["attacked"]["all"]["95 %"] / max(0.01, report["alone"]["all"]["95 %"])
    report["ratio of 95 %"] = round(ratio, 2)
    text = json.dumps(report, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    sys.stdout.write(text)
    failed = report["alone"]["errors"] or report["attacked"]["errors"]
    return 1 if failed or ratio > MAX_RATIO else 0


if __name__ == "__main__":
    sys.exit(main())
