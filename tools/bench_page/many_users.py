"""Load test with many browsers on one page: errors, waiting times, memory and disk usage of the server.

    python -m tools.bench_page.many_users --users 20 --minutes 10 --out users.json

Starts the page in its own process and opens a Chromium page for each visitor, who chooses an example, clicks
pixels, changes level, head and overlay, sometimes ablates a sensor, compares checkpoints, downloads a report,
leaves during a run or pauses; the first visitor uploads a video once. Between two actions a visitor waits for
2 to 8 seconds. Twenty headless pages use a good part of a small machine, although each draws only ten frames
per second at a lower priority than the server: the times are those of a busier machine than a dedicated
server. Memory and files of the server are sampled throughout. Exit code 1 if a page showed an error, a
response never came, or the server logged a traceback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections import defaultdict
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
VIEWPORT = {"width": 1700, "height": 1000}
WAIT_MS = 180_000
THINK = (2.0, 8.0)  # seconds
SAMPLE_EVERY = 15  # seconds
AFTERWARDS = 150  # seconds within which the server closes all sessions
TEN_FRAMES = "window.requestAnimationFrame = (then) => setTimeout(() => then(performance.now()), 100);"
"""Gradio works at every frame, also on an idle page: twenty pages would use two cores."""
VIEWER = "document.querySelector('.ktb-v')?.ktbViewer"


@dataclass(frozen=True)
class Sample:
    """A sample of the server's state; s: seconds since the first visitor."""

    s: float
    rss_mib: float
    files: int
    disk_mib: float


class Users:
    """The results of all visitors: seconds per action, and errors."""

    def __init__(self, address: str, end: float, recording: Path):
        self.address, self.end, self.recording = address, end, recording
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []

    async def timed(self, action: str, what: Awaitable[Any]) -> None:
        begun = time.monotonic()
        await what
        self.seconds[action].append(time.monotonic() - begun)

    async def live(self, browser, number: int) -> None:
        """Successive visits in one browser."""
        rng = random.Random(number)
        await asyncio.sleep(rng.uniform(0, THINK[1]))  # visitors do not arrive at the same time
        is_first = True
        while time.monotonic() < self.end:
            page = await browser.new_page(viewport=VIEWPORT)
            page.set_default_timeout(WAIT_MS)
            await page.add_init_script(TEN_FRAMES)
            page.on("pageerror", lambda error: self.errors.append(f"user {number}: script: {error}"))
            visit = Visit(self, page, rng)
            try:
                await visit.arrive()
                await visit.look_around(sends_recording=is_first and number == 0)
            except Exception as error:  # whatever goes wrong is what is looked for
                self.errors.append(f"user {number}, {visit.doing}: {str(error).splitlines()[0]}")
            await page.close()
            is_first = False


class Visit:
    """One visit of the page."""

    def __init__(self, users: Users, page, rng: random.Random):
        self.users, self.page, self.rng = users, page, rng
        self.doing = "open"

    async def arrive(self) -> None:
        await self.do("open", self.page.goto(self.users.address, wait_until="domcontentloaded"))
        await self.do("ready", self.page.wait_for_selector("#ktb-run"))

    async def look_around(self, sends_recording: bool) -> None:
        """A few runs; between them mostly redraws, and occasionally a slow action."""
        if sends_recording:
            await self.send_recording()
        for _ in range(self.rng.randint(1, 3)):
            await self.think()
            if self.is_over:
                return
            if self.rng.random() < 0.1:
                await self.leave_in_mid_run()
                return
            await self.run()
            for action in self.rng.sample(self.drawing, 3) + self.slow_ones():
                await self.think()
                if self.is_over:
                    return
                await action()

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self.users.end

    @property
    def drawing(self) -> list:
        return [
            self.click_pixels,
            self.change_level,
            self.change_map,
            self.change_head,
            self.compare_pictures,
        ]

    def slow_ones(self) -> list:
        shares = ((self.switch_sensors_off, 0.15), (self.compare, 0.1), (self.download, 0.15))
        return [action for action, share in shares if self.rng.random() < share]

    async def think(self) -> None:
        await asyncio.sleep(self.rng.uniform(*THINK))

    async def do(self, action: str, what: Awaitable[Any]) -> None:
        self.doing = action
        await self.users.timed(action, what)
        errors = self.page.locator(".toast-body.error")
        if await errors.count():
            self.users.errors.append(f"{action}: {await errors.first.inner_text()}")

    async def run(self) -> None:
        shown = f"({VIEWER}?.header.run ?? '')"
        before = await self.page.evaluate(shown)
        await self.choose_example()
        await self.do("run", self.page.wait_for_function(f"before => {shown} !== before", arg=before))

    async def choose_example(self) -> None:
        tiles = self.page.locator("#ktb-examples button.thumbnail-item")
        await tiles.first.wait_for()
        await tiles.nth(self.rng.randrange(await tiles.count())).click()

    async def leave_in_mid_run(self) -> None:
        self.doing = "leave in mid-run"
        await self.choose_example()
        await asyncio.sleep(self.rng.uniform(0, 2))

    async def open_tab(self, name: str) -> None:
        await self.page.get_by_role("tab", name=name, exact=True).first.click()

    async def redraw(self, action: str, parts: str, act: Awaitable[Any]) -> None:
        """Act, and wait until these elements of the page are replaced."""
        mark = "parts => document.querySelectorAll(parts).forEach(part => part.dataset.old = '')"
        await self.page.evaluate(mark, parts)
        await act
        await self.do(action, self.page.wait_for_selector(f"{parts}:not([data-old])", state="attached"))

    async def click_pixels(self) -> None:
        await self.open_tab("Inspect")
        picture = self.page.locator(".ktb-v canvas").first
        await picture.scroll_into_view_if_needed()
        for _ in range(self.rng.randint(1, 3)):
            box = await picture.bounding_box()
            place = {side: self.rng.uniform(0.05, 0.95) * box[length]
                     for side, length in (("x", "width"), ("y", "height"))}  # fmt: skip
            await self.redraw("click a pixel", ".ktb-v-headline", picture.click(position=place))
            await self.think()

    async def change_level(self) -> None:
        await self.click_pixels()
        await self.choose_other("change level", "level")

    async def change_head(self) -> None:
        await self.click_pixels()
        await self.choose_other("change head", "head")

    async def change_map(self) -> None:
        await self.choose_other("change overlay", "overlay")

    async def compare_pictures(self) -> None:
        await self.choose_other("compare overlays", "compare")

    async def choose_other(self, action: str, control: str) -> None:
        """Choose another option of a list of the viewer, and wait for the frame after next."""
        await self.open_tab("Inspect")
        script = f"""async (share) => {{
          const {{ box }} = {VIEWER}.controls.{control};
          const others = [...box.options].filter((option) => option.value !== box.value);
          box.value = others[Math.floor(share * others.length)].value;
          for (const name of ['input', 'change']) box.dispatchEvent(new Event(name, {{ bubbles: true }}));
          await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
        }}"""
        await self.do(action, self.page.evaluate(script, self.rng.random()))

    async def switch_sensors_off(self) -> None:
        await self.open_tab("What if")
        button = self.page.locator("#ktb-off label:not(.selected)").first
        await self.redraw("ablate a sensor", "#ktb-what-if p", button.click())

    async def compare(self) -> None:
        await self.open_tab("Evaluate")
        await self.open_tab("Another checkpoint")
        await self.redraw(
            "compare checkpoints", "#ktb-compare .ktb-words", self.page.click("#ktb-run-compare")
        )

    async def download(self) -> None:
        async def whole() -> None:
            async with self.page.expect_download() as coming:
                await self.page.click("#ktb-export-make")
            await (await coming.value).delete()

        await self.do("download a report", whole())

    async def send_recording(self) -> None:
        await self.open_tab("Evaluate")
        await self.open_tab("Video")
        await self.page.set_input_files("#ktb-recording input[type=file]", str(self.users.recording))
        await self.page.wait_for_selector(f"#ktb-recording >> text={self.users.recording.stem}")
        await self.page.click("#ktb-run-frames")
        await self.do("recording", self.recording_goes_on())
        await self.open_tab("Inspect")

    async def recording_goes_on(self) -> None:
        """Wait for the result video; each response reports one more frame."""
        shown = "document.querySelector('#ktb-sequence').textContent"
        moved = f"before => {shown} !== before || document.querySelector('#ktb-sequence video')"
        while not await self.page.locator("#ktb-sequence video").count():
            await self.page.wait_for_function(moved, arg=await self.page.evaluate(shown))


def write_recording(path: Path, frames: int) -> Path:
    """The example pairs over and over, as a zip."""
    pairs = sorted((ROOT / "assets" / "examples").glob("*_rgb.png"))
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(frames):
            rgb = pairs[index % len(pairs)]
            archive.write(rgb, f"rgb/{index:04d}.png")
            archive.write(rgb.with_name(rgb.name.replace("_rgb", "_depth")), f"x/{index:04d}.png")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(folder: Path, log: Path, *options: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """The page's server with its uploads in a folder, once it answers; `options` are those of app.py."""
    port = free_port()
    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), *options],
            cwd=ROOT,
            env=os.environ | {"GRADIO_TEMP_DIR": str(folder)},
            stdout=written,
            stderr=subprocess.STDOUT,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            try:
                urllib.request.urlopen(address, timeout=2).close()
                break
            except OSError:
                time.sleep(0.2)
            if process.poll() is not None:
                raise SystemExit(f"the server ended at once: {log.read_text()[-2000:]}")
        else:
            raise SystemExit("the server did not start")
        yield process, address
    finally:
        process.terminate()  # a shell's background jobs ignore SIGINT, and hand that on
        process.wait(30)


def measured(pid: int, folder: Path, begun: float) -> Sample:
    """Memory and files of the server now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    rss = int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024
    sizes = []
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                sizes.append(path.stat().st_size)
            except FileNotFoundError:  # deleted meanwhile
                continue
    return Sample(round(time.monotonic() - begun), round(rss), len(sizes), round(sum(sizes) / 2**20, 2))


async def watch(pid: int, folder: Path, begun: float, end: float, samples: list[Sample]) -> None:
    while time.monotonic() < end:
        samples.append(measured(pid, folder, begun))
        await asyncio.sleep(SAMPLE_EVERY)


async def crowd(users: Users, count: int, pid: int, folder: Path, samples: list[Sample]) -> None:
    from playwright.async_api import async_playwright

    # The server goes first, as if the browsers ran on machines of their own. Niceness would not do: Chromium
    # raises its own again where it may.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        lives = [users.live(browser, number) for number in range(count)]
        begun = time.monotonic()
        await asyncio.gather(watch(pid, folder, begun, users.end, samples), *lives)
        await browser.close()


def summary(seconds: list[float]) -> dict[str, float]:
    """How long an action took: the median, what 95 of 100 stayed below, the longest."""
    ordered = sorted(seconds)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)

    return {"count": len(ordered), "median": at(0.5), "95 %": at(0.95), "most": at(1.0)}


def slope(samples: list[Sample]) -> float | None:
    """MiB a minute by which memory grows over the last half: the straight line of least squares."""
    half = samples[len(samples) // 2 :]
    mean_s, mean_mib = (sum(values) / len(half) for values in zip(*((s.s, s.rss_mib) for s in half)))
    spread = sum((s.s - mean_s) ** 2 for s in half)
    if not spread:
        return None
    return round(60 * sum((s.s - mean_s) * (s.rss_mib - mean_mib) for s in half) / spread, 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--frames", type=int, default=60, help="of the recording that one visitor sends")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as parent:
        folder, log = Path(parent) / "uploads", Path(parent) / "server.log"
        folder.mkdir()
        recording = write_recording(Path(parent) / "recording.zip", options.frames)
        with server(folder, log) as (process, address):
            begun = time.monotonic()
            users = Users(address, begun + 60 * options.minutes, recording)
            asyncio.run(crowd(users, options.users, process.pid, folder, samples))
            time.sleep(AFTERWARDS)
            left = measured(process.pid, folder, begun)
            alive = process.poll() is None
        tracebacks = log.read_text().count("Traceback")
    report = {
        "users": options.users,
        "minutes": options.minutes,
        "seconds": {action: summary(found) for action, found in sorted(users.seconds.items())},
        "errors": users.errors,
        "tracebacks": tracebacks,
        "growth_mib_per_minute": slope(samples),
        "most_mib": max(sample.rss_mib for sample in samples),
        "samples": [asdict(sample) for sample in samples],
        "after everyone left": asdict(left),
    }
    text = json.dumps(report, indent=1) + "\n"
    if options.out:
        options.out.write_text(text)
    sys.stdout.write(text)
    return 1 if users.errors or tracebacks or not alive else 0


if __name__ == "__main__":
    sys.exit(main())
