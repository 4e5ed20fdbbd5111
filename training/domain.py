"""Fit a model's domain check: which images are like those of its training.

    python -m training.domain --model FILE --dataset nyuv2 --data DIR --trained-on "the rooms of …" --out OUT
    python -m training.domain … --held-out 0.1      # fit on the frames that training kept, check the others
    python -m training.domain … --measure test      # then count the flagged frames of a split, for the card
    python -m training.domain … --measure test --no-fit     # count with the statistics of the file

The statistics are tensors of the new file; the bits of its weights are unchanged. A threshold is a quantile
of cross-fitted distances, and no lower than the quantile of the held-out frames. `training.evaluation.domain`
describes the fit, `ktb.modeling.domain` the distance.
"""

import argparse
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ktb.checkpoints.load import load_model
from ktb.checkpoints.registry import resolve
from ktb.checkpoints.rewrite import rewrite
from ktb.config import DOMAIN_CASES, DomainConfig
from ktb.modeling.device import choose_device
from ktb.modeling.model import KTB
from training.command_line import run_command, without_folders
from training.data.open import chosen_frames, open_dataset, other_frames
from training.evaluation.domain import case_features, fit_case, flagged_share, gaussian_of
from training.evaluation.reports import text_table
from training.publish import write_card_beside
from training.robustness.corruptions import Corruption

logger = logging.getLogger(__name__)

QUANTILE = 0.99
LIGHTS = (1.0, 0.25)
"""Fractions of the RGB image's light in which the frames are used: a dark room is a room."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, fit, measure and write; a user error becomes one line on stderr, status 2."""
    run_command(_parser(), run, arguments)


def run(options: argparse.Namespace, command: str) -> None:
    """Fit with parsed options; ValueError for every user error."""
    if options.no_fit and options.measure is None:
        raise ValueError("--no-fit needs --measure SPLIT: otherwise there is nothing to do.")
    path = resolve(options.model)
    device = choose_device(options.device, with_mps=False)
    logger.info("device %s", device)
    model = load_model(path, device.device)
    config, card = model.config, dict(model.card)
    found: dict[str, Any] = dict(card.get("domain") or {})
    tensors: dict[str, Tensor] = {}
    if options.no_fit:
        if model.domain is None or config.domain is None:
            raise ValueError(f"{options.model} has no domain check; fit one without --no-fit.")
        tensors = {n: t.cpu() for n, t in model.state_dict().items() if n.startswith("domain.")}
    else:
        config, tensors, found = _fit(model, options)
    if options.measure is not None:
        dataset = open_dataset(model, options.dataset, options.data, options.measure, options.modality)
        indices, frames = chosen_frames(dataset, None, options.every)
        assert config.domain is not None
        features = _features(model, dataset, indices, config.domain.levels, options.lights)
        measured = _flagged(features, config.domain, tensors, options.lights)
        found |= {"measured_on": frames, "flagged": measured}
        logger.info("flagged in percent, %s\n%s", frames, text_table(_table(measured)))
    found["command"] = without_folders(command)
    rewrite(path, options.out, config, {**card, "domain": found}, tensors)
    logger.info("Written: %s", options.out)
    write_card_beside(options.out)


def _fit(model: KTB, options: argparse.Namespace) -> tuple[Any, dict[str, Tensor], dict[str, Any]]:
    """The configuration with a domain check, its tensors by their names in a file, and lines for the card."""
    if not options.trained_on:
        raise ValueError(
            '--trained-on is missing: name the training images, "the 795 rooms of NYU Depth V2".'
        )
    dataset = open_dataset(model, options.dataset, options.data, options.split, options.modality)
    held, _ = chosen_frames(dataset, options.held_out, 1) if options.held_out else ((), "")
    kept = other_frames(dataset, held)[:: options.every]
    parts = [_features(model, dataset, kept, options.levels, options.lights)]
    checks = [_features(model, dataset, held, options.levels, options.lights)] if held else []
    for folder in options.pairs:
        for split, found in (("train", parts), ("val", checks)):
            pairs = _pairs(folder, model, split)
            indices = range(0, len(pairs), options.every)
            found.append(_features(model, pairs, indices, options.levels, options.lights))
    features, checked = _joined(parts), _joined(checks)
    frames = features["rgb"].shape[1]
    if frames <= 2 * options.rank:
        raise ValueError(f"{frames} frames are too few for a rank of {options.rank}; lower --rank.")
    tensors, thresholds = {}, []
    for case in DOMAIN_CASES:
        buffers, threshold, _ = fit_case(features[case], options.rank, options.quantile)
        if checked:
            own = gaussian_of(buffers)(checked[case]).flatten()
            threshold = max(threshold, float(own.quantile(options.quantile)))
        thresholds.append(round(threshold, 4))
        tensors |= {f"domain.cases.{case}.{name}": tensor for name, tensor in buffers.items()}
    domain = DomainConfig(options.trained_on, tuple(thresholds), tuple(options.levels), options.rank)
    found = {
        "fitted_on": f"{frames} frames: "
        + ", ".join([f"{dataset.name} {options.split}", *(folder.name for folder in options.pairs)]),
        "threshold": f"the {options.quantile:g} quantile of cross-fitted distances"
        + (f", and of {checked['rgb'].shape[1]} held-out frames" if checked else ""),
    }
    logger.info("thresholds: %s", dict(zip(DOMAIN_CASES, thresholds)))
    return dataclasses.replace(model.config, domain=domain), tensors, found


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Features of several sources of frames side by side; {} for none."""
    return {case: torch.cat([part[case] for part in parts], dim=1) for case in parts[0]} if parts else {}


def _pairs(folder: Path, model: KTB, split: str) -> Any:
    from training.data.pairs import PairFolder

    return PairFolder(folder, model.config.inputs, split)


def _features(
    model: KTB, frames: Any, indices: Sequence[int], levels: Sequence[int], lights: Sequence[float]
) -> dict[str, Tensor]:
    changes = [None if light == 1 else Corruption("dark", light) for light in lights]
    return case_features(model, frames, indices, levels, changes)


def _flagged(
    features: Mapping[str, Tensor],
    domain: DomainConfig,
    tensors: Mapping[str, Tensor],
    lights: Sequence[float],
) -> dict[str, dict[str, float]]:
    """{light: {case: flagged frames in percent}}."""
    found: dict[str, dict[str, float]] = {f"{light:g} of the light": {} for light in lights}
    for case, threshold in zip(DOMAIN_CASES, domain.thresholds):
        prefix = f"domain.cases.{case}."
        own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        with torch.inference_mode():
            distances = gaussian_of(own)(features[case])
        for row, name in zip(distances, found):  # a case without the RGB image has no second light
            found[name][case] = 100 * flagged_share(row, threshold)
    return found


def _table(measured: Mapping[str, Mapping[str, float]]) -> tuple[Sequence[str], list[Sequence[str]]]:
    rows = [
        (name, *(f"{cases[case]:.2f}" if case in cases else "" for case in DOMAIN_CASES))
        for name, cases in measured.items()
    ]
    return ("frames with", *DOMAIN_CASES), rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.domain", description="Fit a domain check.")
    add = parser.add_argument
    add("--model", required=True, help="a model's name or its .safetensors file")
    add("--dataset", required=True, help="a dataset's name, or the YAML file of a custom dataset")
    add("--data", type=Path, help="the dataset's folder")
    add("--trained-on", default="", help='the training images in words: "the 795 rooms of NYU Depth V2"')
    add("--split", default="train", help="the split to fit on (default: train)")
    add(
        "--held-out",
        type=float,
        metavar="FRACTION",
        help="leave out the blocks that this val_fraction holds out in training, and check on them",
    )
    add(
        "--pairs", type=Path, nargs="+", default=[], metavar="DIR",
        help="also folders of pairs without labels that the model was trained on",
    )  # fmt: skip
    add("--every", type=int, default=1, metavar="N", help="only every N-th frame of the fit and of --measure")
    add("--measure", metavar="SPLIT", help="the split whose flagged frames are counted")
    add("--no-fit", action="store_true", help="keep the statistics of the file")
    add("--levels", type=int, nargs="+", default=[1, 2, 3], help="levels of the features (default: 1 2 3)")
    add("--rank", type=int, default=32, help="number of principal directions (default: 32)")
    add(
        "--quantile", type=float, default=QUANTILE,
        help=f"fraction of held-out frames below the threshold (default: {QUANTILE})",
    )  # fmt: skip
    add(
        "--lights", type=float, nargs="+", default=list(LIGHTS),
        help="fractions of the RGB image's light in which frames are used (default: 1 0.25)",
    )  # fmt: skip
    add("--modality", help="the modality of X (default: that of the model's training)")
    add("--out", type=Path, required=True, help="the .safetensors file to write")
    add("--device", default="auto", help="auto (a CUDA GPU that works, else the CPU), cpu, cuda:1, ...")
    return parser


if __name__ == "__main__":
    main()
