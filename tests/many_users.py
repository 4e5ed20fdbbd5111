"""Many browsers on one page for a while: errors, waiting times, memory and disk of the server.

    python tests/many_users.py --users 20 --minutes 10 --out users.json

Starts the page in a process of its own, opens that many Chromium tabs, and lets each choose an example,
switch tabs, run again, leave and come back. Memory and files of the server are measured all along. Exit
code 1 if a page showed an error or an answer never came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = "/usr/bin/chromium"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
WAIT_MS = 180_000


class Users:
    """What all users together saw: seconds by action, and errors."""

    def __init__(self, address: str, end: float):
        self.address, self.end = address, end
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []

    async def timed(self, action: str, what) -> None:
        begun = time.monotonic()
        await what
        self.seconds[action].append(time.monotonic() - begun)

    async def live(self, browser, number: int) -> None:
        rng = random.Random(number)
        while time.monotonic() < self.end:
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            page.set_default_timeout(WAIT_MS)
            page.on("pageerror", lambda error: self.errors.append(f"user {number}: script: {error}"))
            try:
                await self.timed("open", page.goto(self.address, wait_until="domcontentloaded"))
                await self.timed("ready", page.wait_for_selector("#ktb-run"))
                await self.visit(page, rng)
            except Exception as error:  # whatever goes wrong is what is looked for
                self.errors.append(f"user {number}: {str(error).splitlines()[0]}")
            await page.close()

    async def visit(self, page, rng: random.Random) -> None:
        """A visit of a few runs; between them only what draws again."""
        for _ in range(rng.randint(1, 4)):
            if time.monotonic() > self.end:
                return
            tile = page.locator("#ktb-examples button.thumbnail-item").nth(rng.randrange(4))
            await page.evaluate("document.querySelector('.ktb-footer')?.setAttribute('data-old', '')")
            await tile.click()
            await self.timed("run", page.wait_for_selector(".ktb-footer:not([data-old])"))
            if await page.locator(".toast-body.error").count():
                self.errors.append(await page.locator(".toast-body.error").first.inner_text())
            for tab in rng.sample(["Fusion", "X input", "Result"], 3):
                await page.locator(f"button[role=tab]:has-text('{tab}')").first.click()
                await asyncio.sleep(rng.uniform(0.5, 3))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder: Path) -> tuple[subprocess.Popen, str]:
    """The server with its uploads in a folder, once it answers."""
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | {"GRADIO_TEMP_DIR": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=(folder.parent / "server.log").open("w"),
    )
    address = f"http://127.0.0.1:{port}"
    for _ in range(120):
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return server, address
        except OSError:
            time.sleep(1)
    raise SystemExit("the server did not start")


def memory_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def files_in(folder: Path) -> tuple[int, float]:
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes) / 2**20


async def watch(pid: int, folder: Path, end: float, samples: list[dict]) -> None:
    begun = time.monotonic()
    while time.monotonic() < end:
        count, size = files_in(folder)
        samples.append({"s": round(time.monotonic() - begun), "rss_mib": round(memory_mib(pid)),
                        "files": count, "disk_mib": round(size, 2)})  # fmt: skip
        await asyncio.sleep(15)


async def crowd(users: Users, count: int, pid: int, folder: Path, samples: list[dict]) -> None:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        lives = [users.live(browser, number) for number in range(count)]
        await asyncio.gather(watch(pid, folder, users.end, samples), *lives)
        await browser.close()


def summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

    return {"count": len(ordered), "median": at(0.5), "95 %": at(0.95), "most": at(1.0)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "uploads"
        folder.mkdir()
        server, address = start(folder)
        samples: list[dict] = []
        users = Users(address, time.monotonic() + 60 * options.minutes)
        try:
            asyncio.run(crowd(users, options.users, server.pid, folder, samples))
            time.sleep(15)
            left = {"rss_mib": round(memory_mib(server.pid)), "files": files_in(folder)[0]}
            alive = server.poll() is None
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
        log = (Path(parent) / "server.log").read_text()
    report = {
        "users": options.users,
        "minutes": options.minutes,
        "seconds": {action: summary(found) for action, found in users.seconds.items()},
        "errors": users.errors,
        "tracebacks": log.count("Traceback"),
        "samples": samples,
        "after everyone left": left,
    }
    text = json.dumps(report, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    sys.stdout.write(text)
    return 1 if users.errors or not alive else 0


if __name__ == "__main__":
    sys.exit(main())
