"""Time the controls of the page's viewer in Chromium, from the event to the end of the next frame.

    python -m tools.bench_page.control_times --uses 20 --out times.json
    python -m tools.bench_page.control_times --uses 20 --visitors 20

Starts the page in its own process and uses each control of the finished first example `--uses` times. Reports
the median, the 95th percentile and the maximum in milliseconds, and how often a control asked the server,
which must be never. Exit code 1 if a control asked the server, or a median is above the limit.

With --visitors the server works for that many other clients meanwhile (those of `under_attack`, in a process
of their own): each opens pages, runs examples, uploads pairs and calls the API, with 2 to 6 seconds between
two actions. Server, clients and browser share the machine.

A virtual machine may temporarily get less CPU time: the last line reports how slow it was.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter

from playwright.sync_api import sync_playwright

from tools.bench_page.many_users import ARGS, CHROMIUM, server
from tools.bench_page.under_attack import load

LIMIT_MS = 100
WAIT_MS = 180_000
RAMP_MS = 20_000  # until every visitor has begun
LONGEST_LOAD = 3600.0  # seconds
VIEWER = "document.querySelector('.ktb-v')?.ktbViewer"
TIMES = """async (uses) => {
  const viewer = document.querySelector('.ktb-v').ktbViewer;
  const [canvas] = document.querySelectorAll('.ktb-v canvas');
  const choose = (label, value) => {
    const box = viewer.controls[label].box;
    box.value = value;
    for (const name of ['input', 'change']) box.dispatchEvent(new Event(name, { bubbles: true }));
  };
  const pointer = (names, number) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [0.1 + 0.8 * ((number * 0.37) % 1), 0.1 + 0.8 * ((number * 0.61) % 1)];
    const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true,
      pointerId: 1, pointerType: 'mouse' };
    for (const name of names) canvas.dispatchEvent(new PointerEvent(name, at));
  };
  canvas.setPointerCapture = () => {};  // refuses the pointers of scripts
  const heads = viewer.level.heads, maps = [...viewer.layers.keys()].filter((id) => id.startsWith('map.'));
  const masks = ['labels.fused', 'labels.rgb', 'labels.x', 'layer.rests_on'];
  const controls = {
    hover: (i) => pointer(['pointermove'], i),
    'click a pixel': (i) => pointer(['pointerdown', 'pointerup'], i),
    'arrow key': (i) => canvas.dispatchEvent(
      new KeyboardEvent('keydown', { key: ['ArrowLeft', 'ArrowUp', 'ArrowRight'][i % 3], bubbles: true })),
    level: (i) => choose('level', i % viewer.levels.length),
    'attention head': (i) => choose('head', i % heads),
    map: (i) => choose('overlay', maps[i % maps.length]),
    'level of a map': (i) => choose('level', i % viewer.levels.length),
    mask: (i) => choose('overlay', masks[i % masks.length]),
    compare: (i) => choose('compare', masks[(i + 1) % masks.length]),
    opacity: (i) => choose('opacity', 0.2 + 0.1 * (i % 7)),
    zoom: (i) => canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: i % 2 ? 120 : -120, cancelable: true,
      clientX: canvas.getBoundingClientRect().left + 50, clientY: canvas.getBoundingClientRect().top + 50 })),
  };
  const painted = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  const found = {};
  for (const [name, act] of Object.entries(controls)) {
    found[name] = [];
    for (let number = 0; number < uses; number += 1) {
      await painted();
      performance.mark('begun');
      act(number);
      await painted();
      found[name].push(performance.measure(name, 'begun').duration);
    }
  }
  return found;
}"""


@contextmanager
def other_visitors(address: str, count: int) -> Iterator[None]:
    """Let clients use the page at an address while the context lasts."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=load, args=(address, count, LONGEST_LOAD, False), daemon=True)
    process.start()
    try:
        yield
        if not process.is_alive():
            raise RuntimeError("the other visitors ended before the measurement did")
    finally:
        process.terminate()
        process.join()


def time_controls(address: str, uses: int, visitors: int = 0) -> tuple[dict[str, list[float]], list[str]]:
    """Milliseconds of each use of each control of the page at an address; the addresses that were asked."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        page.goto(address, wait_until="domcontentloaded")
        page.wait_for_function(f"{VIEWER}?.header.ablated.length === 2")
        page.wait_for_timeout(2000)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        with other_visitors(address, visitors) if visitors else nullcontext():
            page.wait_for_timeout(RAMP_MS if visitors else 0)
            found = page.evaluate(TIMES, uses)
        browser.close()
    return found, asked


def fixed_work() -> float:
    """Seconds of a constant loop."""
    begun, total = perf_counter(), 0
    for number in range(60_000):
        total += number
    return perf_counter() - begun


def summary(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum."""
    ordered = sorted(values)
    high = ordered[int(0.95 * (len(ordered) - 1))]
    figures = {"median": statistics.median(ordered), "95 %": high, "most": ordered[-1]}
    return {name: round(value, 1) for name, value in figures.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uses", type=int, default=20, help="uses of each control")
    parser.add_argument("--visitors", type=int, default=0, help="other clients that use the page meanwhile")
    parser.add_argument("--out", type=Path, help="JSON with all rows")
    given = parser.parse_args()
    loops = [fixed_work() for _ in range(100)]
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "uploads"
        folder.mkdir()
        with server(folder, Path(parent) / "server.log") as (_, address):
            found, asked = time_controls(address, given.uses, given.visitors)
    loops += [fixed_work() for _ in range(100)]
    slowness = statistics.median(loops) / min(loops)
    rows = {name: summary(times) for name, times in found.items()}
    if given.out:
        report = {
            "limit_ms": LIMIT_MS,
            "visitors": given.visitors,
            "slowness": round(slowness, 2),
            "asked": asked,
            "controls": rows,
        }
        given.out.write_text(json.dumps(report, indent=1) + "\n")
    sys.stdout.write(f"{'control':20} {'median':>8} {'95 %':>8} {'most':>8}  ms\n")
    for name, row in rows.items():
        sys.stdout.write(f"{name:20} {row['median']:8.1f} {row['95 %']:8.1f} {row['most']:8.1f}\n")
    slow = [name for name, row in rows.items() if row["median"] > LIMIT_MS]
    sys.stdout.write(f"above {LIMIT_MS} ms: {', '.join(slow) or 'none'}; requests: {len(asked)}\n")
    sys.stdout.write(f"a constant loop took {slowness:.2f} times its best time in the median\n")
    return 1 if slow or asked else 0


if __name__ == "__main__":
    sys.exit(main())
