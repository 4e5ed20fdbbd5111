"""Measure a tab over many runs: seconds from *Run* to the first mask, and the memory of the tab.

    python -m tools.bench_page.many_runs --runs 50 --out runs.json

Starts the page in its own process. In one tab of Chromium it chooses the four examples in turn, which runs
them, and then presses *Run*, so that a step has two runs. Reported are the seconds from choosing, and from
pressing *Run*, until the masks are painted and until the viewer has their levels, beside the seconds that the
server needed for reading X, the network and the labels; and after every tenth step,
after a collection of garbage, the JavaScript heap with its array buffers, the nodes of the document, and the
resident memory of Chromium's renderers. The automatic ablations are left out unless --ablations is given.
Exit code 1 if the heap or the renderers grew by more than a tenth since the tenth run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from playwright.sync_api import CDPSession, Page, sync_playwright

from tools.bench_page.control_times import summary
from tools.bench_page.many_users import ARGS, CHROMIUM, server

WAIT_MS = 180_000
EVERY = 10
GROWTH = 1.1
VIEWER = "document.querySelector('.ktb-v')?.ktbViewer"
EXAMPLES = ("Kitchen", "Living room", "Office", "Bedroom")


def time_runs(address: str, runs: int) -> tuple[list[dict[str, Any]], list[dict[str, float]]]:
    """Seconds of each step, and the memory after every tenth one."""
    times, memory = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        page.goto(address, wait_until="domcontentloaded")
        page.wait_for_function(f"{VIEWER} && !{VIEWER}.header.is_stored")
        session = page.context.new_cdp_session(page)
        for number in range(runs):
            page.wait_for_timeout(300)
            example = EXAMPLES[number % len(EXAMPLES)]
            chosen = _run(page, f"#ktb-examples button[aria-label='Example: {example}']")
            page.wait_for_timeout(300)
            run = _run(page, "#ktb-run")
            times.append({"example": chosen, "run": run})
            if (number + 1) % EVERY == 0:
                memory.append({"steps": number + 1, **_memory(session)})
        browser.close()
    return times, memory


def _run(page: Page, button: str) -> dict[str, float]:
    """Press a button that runs a pair, and wait for it; a frame after they are there, masks are painted."""
    before = page.evaluate(f"{VIEWER}.header.run")
    begun = perf_counter()
    page.click(button)
    shown = f"{VIEWER}.header.run !== before && !{VIEWER}.header.is_stored"
    page.evaluate(
        f"""before => new Promise(done => {{
          const look = () => {shown} ? requestAnimationFrame(() => setTimeout(done)) : setTimeout(look, 10);
          look();
        }})""",
        before,
    )
    masks = perf_counter() - begun
    page.wait_for_function(f"!{VIEWER}.header.details_follow")
    return {"masks": masks, "levels": perf_counter() - begun}


def _memory(session: CDPSession) -> dict[str, float]:
    session.send("HeapProfiler.collectGarbage")
    heap, counters = session.send("Runtime.getHeapUsage"), session.send("Memory.getDOMCounters")
    used = heap["usedSize"] + heap.get("backingStorageSize", 0)
    return {"heap_mib": used / 2**20, "nodes": counters["nodes"], "renderers_mib": _renderers()}


def _renderers() -> float:
    """Resident memory of all renderers of Chromium in MiB."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if b"--type=renderer" in (status.parent / "cmdline").read_bytes():
                total += int(status.read_text().split("VmRSS:")[1].split()[0])
        except (OSError, IndexError):  # the process has ended
            continue
    return total / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50, help="steps of two runs each")
    parser.add_argument("--ablations", action="store_true", help="let the ablations follow each run")
    parser.add_argument("--out", type=Path, help="JSON with all rows")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        folder, log = Path(parent) / "uploads", Path(parent) / "server.log"
        folder.mkdir()
        with server(folder, log, *([] if given.ablations else ["--no-ablations"])) as (_, address):
            times, memory = time_runs(address, given.runs)
        network = _server_seconds(log.read_text())
    report: dict[str, Any] = {"runs": times, "server_seconds": network, "memory": memory}
    if given.out:
        given.out.write_text(json.dumps(report, indent=1) + "\n")
    for name, values in (
        ("server: network and labels", network),
        *(
            (f"{button} to {what}", [step[button][what] for step in times])
            for button in ("run", "example")
            for what in ("masks", "levels")
        ),
    ):
        row = summary([1000 * value for value in values])
        sys.stdout.write(f"{name:28} median {row['median']:.0f} ms, 95 % {row['95 %']:.0f} ms\n")
    for row in memory:
        sys.stdout.write(
            f"after {row['steps']:3} steps: heap {row['heap_mib']:.1f} MiB, {row['nodes']} nodes, "
            f"renderers {row['renderers_mib']:.0f} MiB\n"
        )
    if not memory:
        sys.stdout.write(f"the growth of memory needs at least {EVERY} runs\n")
        return 0
    first, last = memory[0], memory[-1]
    grew = [name for name in ("heap_mib", "renderers_mib") if last[name] > GROWTH * first[name]]
    sys.stdout.write(f"grew by more than a tenth: {', '.join(grew) or 'nothing'}\n")
    return 1 if grew else 0


def _server_seconds(log: str) -> list[float]:
    """Seconds that the log tells of the runs of the network."""
    lines = [line for line in log.splitlines() if " run model=" in line]
    return [float(line.rsplit("seconds=", 1)[1].split()[0]) for line in lines]


if __name__ == "__main__":
    sys.exit(main())
