"""Simulate event frames from RGB images and write one PNG file per image.

    python -m training.simulate_events --rgb DATA/NYUDepthv2/RGB --out DATA/NYUDepthv2/Event --margin 12

The three channels are those of `ktb.inputs.event_frame`, in RGB order: positive events, negative events,
recency. A frame depends only on the seed, the RGB image and its name. Neither the number of workers nor an
interruption changes it. RGB images that have a frame already are skipped.
"""

import argparse
import glob
import io
import json
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ktb.inputs import COUNT_SATURATION, EventStream, read_image_rgb
from ktb.utils.files import write_atomically
from training.events.simulator import EventOptions, simulate_frame

logger = logging.getLogger(__name__)

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
PNG_END = b"IEND\xaeB`\x82"


def find_rgb_images(rgb: str) -> dict[str, Path]:
    """RGB images of a folder or pattern by name stem, sorted; ValueError if none or ambiguous."""
    if Path(rgb).is_dir():
        paths = sorted(path for path in Path(rgb).iterdir() if path.suffix.lower() in SUFFIXES)
        wanted = f"files ending in {', '.join(SUFFIXES)}"
    else:
        paths = sorted(Path(path) for path in glob.glob(rgb, recursive=True) if Path(path).is_file())
        wanted = "an existing folder, or a quoted pattern such as 'DIR/*.jpg'"
    if not paths:
        raise ValueError(f"--rgb {rgb}: no RGB image there; give {wanted}")
    by_name: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_name:
            raise ValueError(
                f"{by_name[path.stem]} and {path} would both be written as {path.stem}.png: "
                "run the command once for each, with two --out folders"
            )
        by_name[path.stem] = path
    return by_name


def simulate_file(path: Path, seed: int, options: EventOptions) -> tuple[np.ndarray, EventStream]:
    """The (H, W, 3) uint8 event frame of an RGB image, and its stream; seed and file name determine both."""
    rng = np.random.default_rng([seed, *path.stem.encode()])
    return simulate_frame(read_image_rgb(path), rng, options)


def write_events(out: Path, name: str, frame: np.ndarray, stream: EventStream | None) -> None:
    """Write NAME.png, and before it NAME.npz if a stream is given: a frame then means that both exist."""
    if stream is not None:
        buffer = io.BytesIO()
        arrays = {"x": stream.x.astype(np.uint16), "y": stream.y.astype(np.uint16)}
        np.savez_compressed(buffer, **arrays, t=stream.t, p=stream.polarity.astype(np.int8))
        write_atomically(out / f"{name}.npz", lambda path: path.write_bytes(buffer.getvalue()))
    _, png = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    write_atomically(out / f"{name}.png", lambda path: path.write_bytes(png.tobytes()))


def is_complete(out: Path, name: str, streams: bool) -> bool:
    """Whether an earlier call wrote this frame completely, and its stream if `streams`."""
    png = out / f"{name}.png"
    return (
        png.is_file()
        and png.read_bytes().endswith(PNG_END)
        and (not streams or (out / f"{name}.npz").is_file())
    )


def describe(seed: int, options: EventOptions) -> dict[str, Any]:
    """The settings that determine the frames, as written to simulation.json."""
    return {
        "seed": seed,
        "options": json.loads(json.dumps(asdict(options))),  # tuples become lists, as in the file
        "channels": ["positive events", "negative events", "recency"],
        "count_saturation": COUNT_SATURATION,
    }


def simulate_folder(
    rgb: str,
    out: Path,
    options: EventOptions,
    seed: int = 0,
    workers: int = 2,
    overwrite: bool = False,
    streams: bool = False,
) -> tuple[int, int]:
    """Write the event frames of all RGB images; returns the numbers of written and of kept frames.

    Raises:
        ValueError: an invalid argument, no RGB image, an unreadable one, or frames of other options in `out`.
    """
    if seed < 0 or workers < 1:
        raise ValueError(
            f"--seed {seed}, --workers {workers}: give a seed of at least 0 and one worker or more"
        )
    images = find_rgb_images(rgb)
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file: give a folder")
    out.mkdir(parents=True, exist_ok=True)
    if any(path.parent.resolve() == out.resolve() for path in images.values()):
        raise ValueError(f"--out {out} contains the RGB images themselves: give another folder")
    _claim(out, images, describe(seed, options), overwrite)
    todo = [name for name in images if not is_complete(out, name, streams)]

    def work(name: str) -> None:
        frame, stream = simulate_file(images[name], seed, options)
        write_events(out, name, frame, stream if streams else None)

    # numpy and OpenCV release the interpreter lock on arrays of this size, so threads are enough
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, name) for name in todo]
        try:
            for future in tqdm(as_completed(futures), total=len(todo), unit="frame", desc="events"):
                future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(todo), len(images) - len(todo)


def _claim(out: Path, images: dict[str, Path], description: dict[str, Any], overwrite: bool) -> None:
    """Write simulation.json; reject files of another origin; with `overwrite` delete the old frames."""
    record = out / "simulation.json"
    present = {path.stem for path in out.glob("*.png")}
    if not record.exists() and present:
        raise ValueError(
            f"--out {out} contains {len(present)} PNG files but no {record.name}, so this command did not "
            "write them: give another folder"
        )
    if record.exists() and _read(record) != description:
        if not overwrite:
            raise ValueError(
                f"{out} contains frames of another seed or other options (see {record.name}): "
                "add --overwrite to simulate all again, or give another --out"
            )
        if others := present - set(images):
            raise ValueError(
                f"{out} also contains {len(others)} frames of RGB images outside --rgb, of another seed or "
                f"other options (such as {min(others)}.png): give another --out"
            )
    if overwrite:  # before the record: an interruption then leaves no old frame with a new record
        for name in present & set(images):
            (out / f"{name}.png").unlink()
    write_atomically(record, lambda path: path.write_text(json.dumps(description, indent=2) + "\n"))


def _read(record: Path) -> dict[str, Any]:
    try:
        return json.loads(record.read_text())
    except ValueError as error:
        raise ValueError(
            f"{record} is damaged ({error}): delete it with its frames and start again"
        ) from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and simulate."""
    parser = argparse.ArgumentParser(
        prog="python -m training.simulate_events", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--rgb", required=True, help="folder of RGB images, or a quoted pattern")
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.png and simulation.json")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--margin", type=int, default=0, help="pixels of blank border to ignore (NYUv2: 12)")
    parser.add_argument("--overwrite", action="store_true", help="simulate existing frames again")
    parser.add_argument(
        "--streams", action="store_true", help="also write the events: NAME.npz with x, y, t, p"
    )
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    cv2.setNumThreads(1)  # the workers run in parallel already
    try:
        options = EventOptions(margin_px=given.margin)
        written, kept = simulate_folder(
            given.rgb, given.out, options, given.seed, given.workers, given.overwrite, given.streams
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    logger.info("%s: %d frames written, %d kept", given.out, written, kept)


if __name__ == "__main__":
    main()
