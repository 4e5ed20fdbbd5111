"""Time a pair of 12 megapixels on the page against one of 640 x 480, from the upload to the drawn result.

    python -m tools.bench_page.large_pictures --rounds 5

Both pairs show one scene, an example of this repository, enlarged with noise: a JPEG photograph and 16-bit
depth as PNG. They take turns, each with a new visitor without a browser. Prints for each step the medians of
the seconds and of the processor seconds, which other work on the machine affects less. For these the readers
run in the server's process; those of the visitor, who decodes the answers, are included.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import cv2
import numpy as np

from app.page import build_page, launch_options
from app.service import Service
from app.web.rate_limits import RateLimit
from app.widgets.examples import examples
from ktb.inputs.readers import sandbox
from tools.bench_page.visitor import Visitor

SIZES = {"640 x 480": (480, 640), "4000 x 3000": (3000, 4000)}
STEPS = ("upload", "read X", "run and draw")


def write_pair(folder: Path, size_hw: tuple[int, int]) -> tuple[Path, Path]:
    """An example at another size: a JPEG with sensor noise, and 16-bit depth in millimetres with holes."""
    example, rng = examples("depth")[0], np.random.default_rng(0)
    rgb = cv2.resize(cv2.imread(str(example.rgb)), size_hw[::-1], interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 4, rgb.shape).astype(np.float32)
    depth = cv2.imread(str(example.x), cv2.IMREAD_UNCHANGED)
    depth = cv2.resize(depth, size_hw[::-1], interpolation=cv2.INTER_NEAREST)
    depth = np.where(depth > 0, depth + rng.integers(-4, 5, depth.shape), 0).astype(np.uint16)
    paths = folder / f"photo_{size_hw[1]}.jpg", folder / f"depth_{size_hw[1]}.png"
    cv2.imwrite(str(paths[0]), np.clip(rgb + noise, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])
    cv2.imwrite(str(paths[1]), depth)
    return paths


def visit(address: str, rgb: Path, x: Path) -> np.ndarray:
    """Seconds and processor seconds (2, N) of each of STEPS for a new visitor."""
    with Visitor(address) as visitor:
        times = [_clocks()]
        files = visitor.upload(rgb), visitor.upload(x)
        times.append(_clocks())
        visitor.values[visitor.part("ktb-rgb")], visitor.values[visitor.part("ktb-x")] = files[0], [files[1]]
        visitor.fire("ktb-x", "upload")
        times.append(_clocks())
        visitor.fire("ktb-run")
        times.append(_clocks())
        assert "ktb-footer" in str(visitor.shown("ktb-foot"))
    return np.diff(times, axis=0).T


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def main() -> None:
    """Measure both sizes in turn and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with mock.patch.object(sandbox, "IS_ISOLATED", False):
        seconds = _measured(options.rounds)
    for clock, what in enumerate(("s", "processor s")):
        totals = {}
        for name, rows in seconds.items():
            steps = np.array(rows)[:, clock]
            totals[name] = steps.sum(axis=1)
            each = ", ".join(f"{step} {value:.2f}" for step, value in zip(STEPS, np.median(steps, axis=0)))
            sys.stdout.write(f"{name}: {np.median(totals[name]):.2f} {what} ({each})\n")
        small, large = totals.values()
        sys.stdout.write(f"ratio of {what} within a round: {np.median(large / small):.2f}\n")


def _measured(rounds: int) -> dict[str, list[np.ndarray]]:
    """The visits of both sizes in turn."""
    page = build_page(Service())
    _, address, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options(RateLimit(0)))
    with tempfile.TemporaryDirectory() as folder:
        pairs = {name: write_pair(Path(folder), size) for name, size in SIZES.items()}
        visit(address, *pairs["640 x 480"])  # loads the model
        seconds: dict[str, list[np.ndarray]] = {name: [] for name in pairs}
        for _ in range(rounds):
            for name, pair in pairs.items():
                seconds[name].append(visit(address, *pair))
    page.close()
    return seconds


if __name__ == "__main__":
    main()
