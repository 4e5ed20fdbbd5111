"""Time a control that needs no network while another visitor's slow job runs.

    python -m tools.bench_page.waiting_times

Measured over HTTP on a separate server, interleaved: idle, during a video, during runs of an RGB image of 20
megapixels, and during downloads of the report and of the figure at 600 dpi.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from tools.bench_page.many_users import ROOT, server, summary, write_recording
from tools.bench_page.visitor import Visitor

MEGAPIXELS = (3888, 5184)
CHANGES = 8


def read_often(visitor: Visitor, seconds: list[float]) -> None:
    """Read X again with another unit: the viewer's own controls ask the server nothing."""
    for _, unit in zip(range(CHANGES), itertools.cycle(("mm", "auto"))):
        begun = time.monotonic()
        visitor.set("ktb-unit", unit, "select")
        seconds.append(time.monotonic() - begun)


def write_large_pair(folder: Path) -> tuple[Path, Path]:
    """Write an example of 20 megapixels."""
    height, width = MEGAPIXELS
    paths = []
    for kind, how in (("rgb", cv2.INTER_LINEAR), ("depth", cv2.INTER_NEAREST)):
        image = cv2.imread(str(ROOT / "assets" / "examples" / f"office_{kind}.png"), cv2.IMREAD_UNCHANGED)
        paths.append(folder / f"large_{kind}.png")
        cv2.imwrite(
            str(paths[-1]), np.ascontiguousarray(cv2.resize(image, (width, height), interpolation=how))
        )
    return paths[0], paths[1]


@contextmanager
def going_on(job: Callable[[], None] | None) -> Iterator[None]:
    """Repeat a job in the background."""
    over = threading.Event()

    def repeat() -> None:
        while job and not over.is_set():
            job()

    thread = threading.Thread(target=repeat)
    thread.start()
    time.sleep(1)
    yield
    over.set()
    thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        folder, log = Path(parent) / "uploads", Path(parent) / "server.log"
        folder.mkdir()
        with server(folder, log) as (_, address), Visitor(address) as draws, Visitor(address) as slow:
            draws.choose_example(0)
            slow.choose_example(1)
            recording = slow.upload(write_recording(Path(parent) / "frames.zip", 8))
            large = [slow.upload(path) for path in write_large_pair(Path(parent))]

            def record() -> None:
                slow.values[slow.part("ktb-recording")] = recording
                slow.fire("ktb-run-frames")

            def run_large() -> None:
                slow.values[slow.part("ktb-rgb")] = large[0]
                slow.values[slow.part("ktb-x")] = [large[1]]
                slow.fire("ktb-run")

            def download(kind: str) -> None:
                slow.values[slow.part("ktb-export-kind")] = kind
                slow.fire("ktb-export-make")

            jobs: dict[str, Callable[[], None] | None] = {
                "quiet": None,
                "a report": lambda: download("html"),
                "a figure at 600 dpi": lambda: download("png 600"),
                "a video": record,
                "20 megapixels": run_large,
            }
            seconds: dict[str, list[float]] = {name: [] for name in jobs}
            for _ in range(options.repeats):
                for name, job in jobs.items():
                    with going_on(job):
                        read_often(draws, seconds[name])
                slow.choose_example(1)
    sys.stdout.write(json.dumps({name: summary(found) for name, found in seconds.items()}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
