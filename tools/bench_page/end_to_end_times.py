"""Time a model from two files on disk to a mask as PNG, with each runtime.

    python -m tools.bench_page.end_to_end_times --runtime auto --runtime eager --uses 20

Uses the examples of this repository in turn, decoded each time, with all three heads and the trace. The
preparation of a runtime, such as the export of `auto`, is not counted. Prints milliseconds.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np

from ktb import Predictor, load_model, read_image_rgb, read_x
from ktb.outputs.files import png_bytes

RGB_PATHS = sorted((Path(__file__).resolve().parents[2] / "assets" / "examples").glob("*_rgb.png"))


def main() -> None:
    """Measure each runtime in turn and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ktb-lite-nyuv2-depth")
    parser.add_argument("--runtime", action="append")
    parser.add_argument("--uses", type=int, default=20)
    options = parser.parse_args()
    for runtime in options.runtime or ["auto"]:
        predictor = Predictor(load_model(options.model), runtime=runtime)
        while once(predictor, RGB_PATHS[0])[0] != predictor.runtime.name:
            time.sleep(1)
        rgb_paths = itertools.islice(itertools.cycle(RGB_PATHS), options.uses)
        steps = 1000 * np.array([once(predictor, rgb_path)[1:] for rgb_path in rgb_paths])
        low, median, high = np.percentile(steps.sum(axis=1), (25, 50, 75))
        reading, predicting, writing = np.median(steps, axis=0)
        sys.stdout.write(
            f"{predictor.runtime.name}: median {median:.0f}, quartiles {low:.0f} and {high:.0f}; "
            f"reading {reading:.0f}, predicting {predicting:.0f}, PNG {writing:.0f}\n"
        )


def once(predictor: Predictor, rgb_path: Path) -> tuple[str, float, float, float]:
    """The runtime, and the seconds for reading a pair, predicting its labels and encoding the mask."""
    begun = time.perf_counter()
    rgb, x = read_image_rgb(rgb_path), read_x(rgb_path.with_name(rgb_path.name.replace("_rgb", "_depth")))
    read = time.perf_counter()
    prediction = predictor(rgb, x)
    predicted = time.perf_counter()
    png_bytes(prediction.labels["fused"], prediction.model, prediction.palette)
    return prediction.runtime, read - begun, predicted - read, time.perf_counter() - predicted


if __name__ == "__main__":
    main()
