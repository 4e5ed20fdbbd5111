"""Score a street model on real RGB-thermal pairs with boxes, by day and by night: one JSON file with tables.

    python -m training.evaluate_boxes --model FILE --pairs DATA/MSRS --split val --out FILE.json

A person's box of the thermal annotation is found if at least 20 % of its pixels are predicted as pedestrian
or bicyclist. Stray is the share of the pixels so predicted that lie outside every person's and bicycle's box,
of any of the three annotations. Cars alike, with the boxes of cars. There are no labels of pixels, so there
is no mIoU.
"""

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from ktb.checkpoints.card import BOX_CONDITIONS, box_rows
from ktb.checkpoints.load import load_model
from ktb.config import BRANCHES
from ktb.modeling.device import choose_device
from ktb.modeling.model import KTB
from ktb.utils.files import write_atomically
from training.box_loss import outside_boxes
from training.command_line import run_command
from training.data.datasets.sample import Sample
from training.data.pairs import (
    ANNOTATIONS,
    BICYCLE,
    CAR,
    PERSON,
    Annotation,
    Boxes,
    Pair,
    PairFolder,
    is_night,
)
from training.evaluation.inference import Missing, Views
from training.evaluation.reports import text_table

logger = logging.getLogger(__name__)

FOUND = 0.2
PRESENT: Mapping[str, Missing | None] = dict(zip(BOX_CONDITIONS, (None, "x", "rgb"), strict=True))
OBJECTS = {"person": (PERSON, (PERSON, BICYCLE), ("pedestrian", "bicyclist")), "car": (CAR, (CAR,), ("car",))}


@dataclass
class Count:
    """Boxes and those found, predicted pixels and those outside all boxes."""

    boxes: int = 0
    found: int = 0
    pixels: int = 0
    stray: int = 0

    def add(self, predicted: np.ndarray, demanded: np.ndarray, allowed: np.ndarray) -> None:
        """Add one image: predicted (H, W) bool; boxes (N, 4) to find, and boxes that may hold such pixels."""
        for left, top, right, bottom in np.round(demanded).astype(int).tolist():
            window = predicted[top:bottom, left:right]
            if window.size:
                self.boxes += 1
                self.found += bool(window.mean() >= FOUND)
        self.pixels += int(predicted.sum())
        self.stray += int((predicted & outside_boxes(predicted.shape, allowed)).sum())

    def scores(self) -> dict[str, float | int | None]:
        """found and stray in percent (None without boxes or pixels), and the four counts."""
        found = 100 * self.found / self.boxes if self.boxes else None
        stray = 100 * self.stray / self.pixels if self.pixels else None
        counts = {
            "boxes": self.boxes,
            "boxes_found": self.found,
            "pixels": self.pixels,
            "pixels_stray": self.stray,
        }
        return {"found": found, "stray": stray, **counts}


@dataclass
class Tally:
    """The counts of one condition by head and object."""

    images: int = 0
    counts: dict[str, dict[str, Count]] = field(
        default_factory=lambda: {branch: {name: Count() for name in OBJECTS} for branch in BRANCHES}
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, score, print and write; a user error becomes one line on stderr, status 2."""
    run_command(_parser(), run, arguments)


def run(options: argparse.Namespace, command: str) -> None:
    """Score with parsed options; ValueError for every user error."""
    if options.every < 1:
        raise ValueError(f"--every is {options.every}; give 1 for all pairs, 2 for every other one, ...")
    device = choose_device(options.device, with_mps=False)
    logger.info("device %s", device)
    model = load_model(options.model, device.device)
    folder = PairFolder(options.pairs, model.config.inputs, options.split)
    if not folder.has_boxes:
        raise ValueError(f"{options.pairs} has no folder Boxes, and without boxes there is nothing to score")
    result = evaluate_boxes(
        model,
        [folder[index] for index in range(0, len(folder), options.every)],
        present=options.present,
        annotation=options.annotation,
        bf16=options.bf16,
    )
    source = {"model": options.model, "pairs": str(options.pairs), "split": options.split, "command": command}
    titles, *rows = box_rows(result)
    text = json.dumps(result | source, indent=1)
    write_atomically(options.out, lambda path: path.write_text(text + "\n"))
    logger.info("%s\n\n%s\n\nWritten: %s", result["protocol"], text_table((titles, rows)), options.out)


def evaluate_boxes(
    model: KTB,
    pairs: Sequence[Pair],
    *,
    present: Sequence[str] = tuple(PRESENT),
    annotation: Annotation = "thermal",
    bf16: bool = False,
) -> dict:
    """Scores of annotated pairs in percent, by sensors present, time of day, head and object.

    Args:
        present: some of "both", "rgb only", "x only"; the tokens of the missing sensor are zero.
        annotation: whose boxes of persons and cars have to be found.

    Returns:
        {"protocol": text, "images": {time: count}, present: {time: {branch: {object: scores}}}}; time is
        "day" or "night", scores as `Count.scores`.

    Raises:
        ValueError: a pair has no boxes, or the model lacks a class.
    """
    classes = list(model.config.classes)
    needed = [name for *_, names in OBJECTS.values() for name in names]
    if missing := [name for name in needed if name not in classes]:
        raise ValueError(f"the model has no class {', '.join(missing)}; give a street model")
    indices = {name: [classes.index(c) for c in names] for name, (*_, names) in OBJECTS.items()}
    device = next(model.parameters()).device
    model.eval()
    tallies = {kind: {"day": Tally(), "night": Tally()} for kind in present}
    for pair in tqdm(pairs, unit="pair", desc="boxes"):
        if pair.boxes is None:
            raise ValueError(f"{pair.name} has no boxes")
        time = "night" if is_night(pair.name) else "day"
        sample = Sample(pair.name, pair.rgb, pair.modal_x, np.zeros(pair.modal_x.shape, np.uint8))
        for kind in present:
            views = Views(model.config.inputs.short_side, missing=PRESENT[kind])
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                preds, _ = views.predict(model, sample, sample.label.shape)
            tally = tallies[kind][time]
            tally.images += 1
            for branch, pred in zip(BRANCHES, preds, strict=True):
                for name, (demanded, allowed, _) in OBJECTS.items():
                    tally.counts[branch][name].add(
                        np.isin(pred.cpu().numpy(), indices[name]),
                        pair.boxes[annotation].of(demanded),
                        _corners(pair.boxes, allowed),
                    )
    first = tallies[present[0]]
    return {
        "protocol": f"boxes of the {annotation} annotation, found from {FOUND:.0%} of the pixels; stray "
        f"outside the boxes of all annotations; short side {model.config.inputs.short_side}, single scale, "
        f"{'bfloat16' if bf16 else 'float32'}",
        "images": {time: tally.images for time, tally in first.items()},
    } | {
        kind: {
            time: {
                branch: {name: count.scores() for name, count in objects.items()}
                for branch, objects in tally.counts.items()
            }
            for time, tally in times.items()
        }
        for kind, times in tallies.items()
    }


def _corners(boxes: Mapping[Annotation, Boxes], kinds: Sequence[int]) -> np.ndarray:
    return np.concatenate([boxes[name].of(*kinds) for name in ANNOTATIONS])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate_boxes",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", required=True, help="a model's name or its .safetensors file")
    add("--pairs", type=Path, required=True, help="the folder of the pairs, with Boxes")
    add("--split", default="val", help="val (default): the blocks that no training sees; train, or all")
    add("--out", type=Path, required=True, help="the JSON file to write")
    add(
        "--present",
        nargs="+",
        choices=tuple(PRESENT),
        default=list(PRESENT),
        help="sensors (default: all three)",
    )
    add("--annotation", choices=ANNOTATIONS, default="thermal", help="whose boxes have to be found")
    add("--every", type=int, default=1, metavar="N", help="only every N-th pair")
    add("--bf16", action="store_true", help="run the network in bfloat16")
    add("--device", default="auto", help="auto (a CUDA GPU that works, else the CPU), cpu, cuda:1, ...")
    return parser


if __name__ == "__main__":
    main()
