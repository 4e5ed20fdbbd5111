"""Calibrate a model's confidences: one temperature per head, and its expected calibration error.

    python -m training.calibrate --model FILE --dataset nyuv2 --data DIR --out CALIBRATED.safetensors
    python -m training.calibrate … --split train --held-out 0.1     # fit on the held-out blocks of train
    python -m training.calibrate … --measure test                   # then measure on a split, for the card
    python -m training.calibrate … --measure test --no-fit          # measure the temperatures of the file
    python -m training.calibrate … --temperatures 1.4 1.5 1.3 --remark "where they come from"

The temperatures minimise the negative log-likelihood over the fit's frames in three conditions together: both
sensors, without X, and the RGB image at a quarter of the light. They and the measured errors are stored in
the new file, with the bits of its weights unchanged. OUT's reliability diagram is written beside it as .svg.
`training.evaluation.calibration` defines the error.
"""

import argparse
import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ktb.checkpoints.load import load_model
from ktb.checkpoints.registry import resolve
from ktb.checkpoints.rewrite import rewrite
from ktb.config import BRANCHES, HEADS
from ktb.modeling.device import choose_device
from ktb.utils.files import write_atomically
from training.command_line import run_command, without_folders
from training.data.open import chosen_frames, open_dataset
from training.evaluation.calibration import BINS, CONDITIONS, fit_temperatures, measure
from training.evaluation.reports import shown, text_table
from training.publish import write_card_beside

logger = logging.getLogger(__name__)

SEEN = (
    "The model was trained on the frames of the fit, which makes temperatures too low; those below 1 were "
    "raised to 1, so that no confidence is higher than the trained one."
)
METHOD = (
    "temperature scaling: one temperature per head with the least negative log-likelihood over the "
    "conditions together"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, fit, measure and write; a user error becomes one line on stderr, status 2."""
    run_command(_parser(), run, arguments)


def run(options: argparse.Namespace, command: str) -> None:
    """Calibrate with parsed options; ValueError for every user error."""
    if options.no_fit and options.measure is None:
        raise ValueError("--no-fit needs --measure SPLIT: otherwise there is nothing to do.")
    path = resolve(options.model)
    device = choose_device(options.device, with_mps=False)
    logger.info("device %s", device)
    model = load_model(path, device.device)
    conditions = tuple(options.conditions)
    card: dict[str, Any] = dict(model.card)
    found: dict[str, Any] = dict(card.get("calibration") or {})
    temperatures = model.config.temperatures
    if options.temperatures:
        temperatures = _given(options)
        found = {"method": "given temperatures", "remark": options.remark}
    elif not options.no_fit:
        dataset = open_dataset(model, options.dataset, options.data, options.split, options.modality)
        indices, frames = chosen_frames(dataset, options.held_out, options.every)
        temperatures = fit_temperatures(model, dataset, indices, conditions, options.size)
        found = {"method": METHOD, "fitted_on": frames, "conditions": list(conditions)}
        if options.seen:
            temperatures = tuple(max(1.0, temperature) for temperature in temperatures)
        if remark := " ".join(filter(None, [options.remark, SEEN if options.seen else ""])):
            found["remark"] = remark
        logger.info("temperatures: %s", dict(zip(BRANCHES, temperatures)))
    if options.measure is not None:
        dataset = open_dataset(model, options.dataset, options.data, options.measure, options.modality)
        indices, frames = chosen_frames(dataset, None, options.every)
        measured = measure(model, dataset, indices, temperatures, conditions, options.size)
        found |= {"measured_on": frames, "bins": BINS, "measured": _without_bins(measured)}
        logger.info(
            "expected calibration error in percent, %s\n%s", frames, text_table(error_table(measured))
        )
        diagram = options.out.with_name(f"{options.out.stem}_reliability.svg")
        draw_reliability(diagram, measured, model.config.name, frames)
    found["temperatures"] = dict(zip(BRANCHES, temperatures))
    found["command"] = without_folders(command)
    config = dataclasses.replace(model.config, temperatures=temperatures)
    rewrite(path, options.out, config, {**card, "calibration": found})
    logger.info("Written: %s", options.out)
    write_card_beside(options.out)


def _given(options: argparse.Namespace) -> tuple[float, float, float]:
    """Temperatures of the command line; ValueError if one is not positive, or without a remark."""
    fused, rgb, x = options.temperatures
    if not all(math.isfinite(value) and value > 0 for value in (fused, rgb, x)):
        raise ValueError(f"--temperatures {fused:g} {rgb:g} {x:g}: give three positive numbers.")
    if not options.remark:
        raise ValueError("--temperatures needs --remark: say in the card where the temperatures come from.")
    return fused, rgb, x


def error_table(measured: Mapping[str, Mapping[str, Any]]) -> tuple[Sequence[str], list[Sequence[str]]]:
    """One row per condition and branch: accuracy, mean confidence and ECE before and after, in percent."""
    rows = []
    for name, branches in measured.items():
        for branch, found in branches.items():
            before, after = found["before"], found["after"]
            values = (before["accuracy"], before["mean_confidence"], after["mean_confidence"])
            errors = (before["ece"], after["ece"])
            rows.append((f"{CONDITIONS[name].title}, {branch}", *(shown(v, 2) for v in (*values, *errors))))
    header = ("condition, branch", "accuracy", "confidence", "calibrated", "ECE", "calibrated ECE")
    return header, rows


def draw_reliability(path: Path, measured: Mapping[str, Any], model: str, frames: str) -> None:
    """An SVG with one panel per condition: accuracy over mean confidence of each bin of the fused head."""
    figure = Figure(figsize=(3.4 * len(measured), 3.7), layout="constrained")
    figure.suptitle(f"{model}, fused head, {frames}", fontsize=9)
    for number, (name, branches) in enumerate(measured.items()):
        axes = figure.add_subplot(1, len(measured), number + 1)
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
        for when, color, label in (("before", "#b0662a", "as trained"), ("after", "#1f6fb4", "calibrated")):
            found = branches["fused"][when]
            bins = [(confidence, accuracy) for share, confidence, accuracy in found["bins"] if share > 0]
            said = f"{label}, ECE {found['ece']:.1f} %"
            axes.plot(*zip(*bins), color=color, marker="o", markersize=3, linewidth=1.2, label=said)
        axes.set_title(CONDITIONS[name].title, fontsize=8)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="mean confidence of a bin")
        axes.set_ylabel("share of correct pixels" if number == 0 else "")
        axes.legend(fontsize=7, frameon=False, loc="upper left")
        axes.tick_params(labelsize=7)
        axes.set_aspect("equal")
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="svg", metadata={"Date": None}))


def _without_bins(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The measured errors for the card; the diagram shows the bins, of which the fused head's are kept."""
    return {
        name: {
            branch: {
                when: {key: value for key, value in report.items() if key != "bins" or branch == "fused"}
                for when, report in found.items()
            }
            for branch, found in branches.items()
        }
        for name, branches in measured.items()
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.calibrate", description=f"Calibrate the {len(HEADS)} heads of a model."
    )
    add = parser.add_argument
    add("--model", required=True, help="a model's name or its .safetensors file")
    add("--dataset", required=True, help="a dataset's name, or the YAML file of a custom dataset")
    add("--data", type=Path, help="the dataset's folder")
    add("--split", default="train", help="the split to fit on (default: train)")
    add(
        "--held-out",
        type=float,
        metavar="FRACTION",
        help="fit on the blocks of the split that this val_fraction holds out in training",
    )
    add("--every", type=int, default=1, metavar="N", help="only every N-th of these frames")
    add("--measure", metavar="SPLIT", help="the split to measure the calibration error on")
    add(
        "--temperatures", type=float, nargs=3, metavar=("FUSED", "RGB", "X"),
        help="store these instead of a fit; --remark says where they come from",
    )  # fmt: skip
    add("--no-fit", action="store_true", help="keep the temperatures of the file")
    add(
        "--conditions", nargs="+", choices=tuple(CONDITIONS), default=tuple(CONDITIONS),
        help="the conditions of the inputs (default: all)",
    )  # fmt: skip
    add("--modality", help="the modality of X (default: that of the model's training)")
    add("--size", type=int, help="short side in pixels (default: the model's own)")
    add(
        "--seen", action="store_true",
        help="the model was trained on these frames: raise temperatures below 1 to 1, and say so in the card",
    )  # fmt: skip
    add("--remark", default="", help="a sentence about the fit for the card")
    add("--out", type=Path, required=True, help="the .safetensors file to write")
    add("--device", default="auto", help="auto (a CUDA GPU that works, else the CPU), cpu, cuda:1, ...")
    return parser


if __name__ == "__main__":
    main()
