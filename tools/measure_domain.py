"""Measure a depth model's domain check on pictures that are not rooms, or not as they claim.

    PYTHONPATH=. python tools/measure_domain.py MODEL DATA [EVERY]

DATA holds NYUDepthv2, CamVid, MSRS and RoadScene as training/README.md lists them; every EVERY-th frame is
used (default: 12). Printed are, per set and stream, the flagged share and the area under the ROC curve
against NYUv2's test frames. "alone" is the RGB image without X. Close-ups, drawings and other scales of depth
are made from the test frames. No frame here was used to fit the check, except where MODEL saw it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from ktb import Predictor, XOptions, load_model, read_image_rgb, read_x
from ktb.config import LEVELS
from ktb.modeling.domain import pooled_tokens
from ktb.modeling.model import mask_streams
from training.evaluation.domain import auroc

DEPTH = XOptions(modality="depth")
METRES = XOptions(modality="depth", unit="m")
Item = tuple[np.ndarray, object, XOptions]  # RGB image, X or None, options of X
LEVELS_PER_METRE = 25.5


def rooms(data: Path, every: int, split: str = "test") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """RGB images and depth in metres of NYUv2."""
    root = data / "NYUDepthv2"
    for name in (root / f"{split}.txt").read_text().split()[::every]:
        depth = cv2.imread(str(root / "Depth" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        yield read_image_rgb(root / "RGB" / f"{name}.jpg"), depth.astype(np.float32) / LEVELS_PER_METRE


def streets(data: Path, folder: str, every: int, with_x: bool) -> Iterator[Item]:
    """RGB images, and their thermal images given as depth."""
    for file in sorted((data / folder / "RGB").iterdir())[::every]:
        x = read_x(data / folder / "Thermal" / file.name) if with_x else None
        yield read_image_rgb(file), x, DEPTH


def close_up(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    part = rgb[height // 3 : height // 2, width // 3 : width // 2]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC)


def drawing(rgb: np.ndarray) -> np.ndarray:
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (0, 0), 1.5)
    return cv2.merge([255 - cv2.Canny(grey, 40, 100)] * 3)


def cartoon(rgb: np.ndarray) -> np.ndarray:
    grey = cv2.medianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), 7)
    lines = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 4)
    flat = cv2.pyrMeanShiftFiltering(rgb, 20, 40)
    return cv2.bitwise_and(flat, flat, mask=lines)


def quarter_turn(rgb: np.ndarray) -> np.ndarray:
    return np.rot90(rgb).copy()


def screenshots(every: int) -> Iterator[Item]:
    for file in sorted(Path("assets/figures").glob("page_*.png")):
        yield read_image_rgb(file), None, DEPTH


def made(frames: Iterable, change: Callable[[np.ndarray], np.ndarray]) -> Iterator[Item]:
    for rgb, _ in frames:
        yield change(rgb), None, DEPTH


def scaled(frames: Iterable, change: Callable[[np.ndarray], np.ndarray]) -> Iterator[Item]:
    for rgb, metres in frames:
        yield rgb, change(metres), METRES


def sets(data: Path, every: int) -> dict[str, Iterator[Item]]:
    """The sets by name; those of rooms first."""

    def some() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return rooms(data, every)

    found: dict[str, Iterator[Item]] = {
        "rooms, alone": made(rooms(data, every // 3), lambda rgb: rgb),
        "rooms": scaled(rooms(data, every // 3), lambda metres: metres),
        "page screenshots, alone": screenshots(every),
    }
    for name in ("CamVid", "MSRS", "RoadScene"):
        found[f"{name}, alone"] = streets(data, name, every, False)
    for name in ("MSRS", "RoadScene"):
        found[f"{name}, thermal as depth"] = streets(data, name, every, True)
    for change in (close_up, drawing, cartoon, quarter_turn):
        found[f"{change.__name__.replace('_', ' ')}, alone"] = made(some(), change)
    found["depth times 3"] = scaled(some(), lambda metres: 3 * metres)
    found["depth in decimetres"] = scaled(some(), lambda metres: metres / 10)
    found["depth near bright"] = scaled(some(), lambda metres: metres.max() + 0.5 - metres)
    return found


@torch.inference_mode()
def distances(predictor: Predictor, item: Item) -> dict[str, float]:
    """Relative distances of the streams, by the backbone alone."""
    model, (rgb, x, options) = predictor.model, item
    prepared = predictor.prepare(rgb, x, options=options)
    mask = torch.tensor([x is None])
    tokens = mask_streams(model.backbone.embed(prepared.rgb, prepared.modal_x), None, mask)
    pooled = []
    for level in range(LEVELS):
        tokens = model.level_features(tokens, level)[0]
        pooled.append(pooled_tokens(tokens))
    assert model.domain is not None
    return {name: float(d) for name, d in model.domain.distances(pooled, False, x is None).items()}


def main(model: str, data: Path, every: int) -> None:
    predictor = Predictor(load_model(model), runtime="eager")
    inside: dict[tuple[str, bool], torch.Tensor] = {}
    print("set, stream: frames, flagged %, AUROC against held-out rooms")
    for name, items in sets(data, every).items():
        rows = [distances(predictor, item) for item in items]
        for stream in rows[0]:
            values = torch.tensor([row[stream] for row in rows])
            reference = inside.setdefault((stream, "x" not in rows[0]), values)
            flagged = 100 * float((values > 1).double().mean())
            area = "" if reference is values else f", {auroc(reference, values):.3f}"
            print(f"{name}, {stream}: {len(values)}, {flagged:.1f}{area}", flush=True)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) == 4 else 12)
