"""Check for memory growth of the server over many visits without browsers.

    python -m tools.bench_page.many_visits --visits 400 --at-once 4

Each visitor opens the page, runs an example, ablates a sensor, reads X with another unit, and leaves. This is
cheap enough for hundreds of visits on a small machine; work of the browser is not included.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tools.bench_page.many_users import AFTERWARDS, SAMPLE_EVERY, Sample, measured, server, slope
from tools.bench_page.visitor import Visitor


def visit(address: str, number: int) -> None:
    with Visitor(address) as visitor:
        visitor.choose_example(number % 4)
        visitor.set("ktb-off", "x")
        visitor.set("ktb-unit", "mm", "select")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=int, default=400)
    parser.add_argument("--at-once", type=int, default=4)
    options = parser.parse_args()
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "uploads"
        folder.mkdir()
        with server(folder, Path(parent) / "server.log") as (process, address):
            begun = time.monotonic()
            with ThreadPoolExecutor(options.at_once) as pool:
                visits = [pool.submit(visit, address, number) for number in range(options.visits)]
                while not all(done.done() for done in visits):
                    samples.append(measured(process.pid, folder, begun))
                    time.sleep(SAMPLE_EVERY)
            failed = [str(done.exception()) for done in visits if done.exception()]
            time.sleep(AFTERWARDS)
            left = measured(process.pid, folder, begun)
    report = {
        "visits": options.visits,
        "at once": options.at_once,
        "failed": failed,
        "growth_mib_per_minute": slope(samples),
        "samples": [asdict(sample) for sample in samples],
        "after everyone left": asdict(left),
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
