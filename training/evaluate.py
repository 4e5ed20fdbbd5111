"""Evaluate a model: one JSON file, with its tables in Markdown beside it.

    python -m training.evaluate --model FILE --dataset nyuv2 --data DIR --split test --out FILE.json
    python -m training.evaluate … --msf                       # multi-scale + flip
    python -m training.evaluate … --window 480 480            # sliding window
    python -m training.evaluate … --boundary --confusion      # boundary F1, confusion matrices
    python -m training.evaluate … --robustness                # missing, shifted and damaged inputs

Every file contains the protocol, which `training.evaluation.evaluator` describes.
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from ktb.checkpoints.load import load_model
from ktb.modeling.device import choose_device
from training.command_line import run_command
from training.data.datasets import REGISTRY
from training.data.open import frames_to_score, open_dataset
from training.evaluation.evaluator import attention_statistics, describe, evaluate
from training.evaluation.inference import MSF_SCALES
from training.evaluation.reports import (
    branch_table,
    condition_table,
    image_count,
    text_table,
    write_report,
)

__all__ = ["attention_statistics", "describe", "evaluate", "main"]

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, evaluate, print and write; a user error becomes one line on stderr, status 2."""
    run_command(_parser(), run, arguments)


def run(options: argparse.Namespace, command: str) -> None:
    """Evaluate with parsed options; ValueError for every user error."""
    if options.msf and (options.scales or options.flip):
        raise ValueError("--msf sets scales and flip itself; omit --scales and --flip, or --msf.")
    if options.robustness is not None:
        _refuse_beside_robustness(options)
    device = choose_device(options.device, with_mps=False)
    logger.info("device %s", device)
    model = load_model(options.model, device.device)
    dataset = open_dataset(model, options.dataset, options.data, options.split, options.modality)
    indices = frames_to_score(len(dataset), options.every, options.limit, options.held_out)
    if options.robustness is not None:
        from training.robustness import suite  # it imports this evaluation

        suite.run(
            model,
            dataset,
            options.out.with_name(f"{options.out.stem}_robustness"),
            indices=indices,
            size=options.size,
            bf16=options.bf16,
            conditions=options.robustness or None,
        )
        return
    result = evaluate(
        model,
        dataset,
        indices=indices,
        size=options.size,
        scales=MSF_SCALES if options.msf else options.scales or (1.0,),
        flip=options.flip or options.msf,
        window=options.window and tuple(options.window),
        overlap=options.overlap,
        bf16=options.bf16,
        reference=options.protocol == "reference",
        attention=options.attention,
        boundary=options.boundary,
        confusion=options.confusion,
        missing=options.missing,
    )
    truth = result["fused"]["accuracy_per_class"]
    if absent := [name for name, accuracy in truth.items() if accuracy is None]:
        some = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        logger.warning(
            "%d of %d classes occur in no label of this split, and the means leave them out unless they are "
            "predicted: %s. training.check says whether the labels are as meant.",
            len(absent),
            len(truth),
            some,
        )
    source = {"model": options.model, "dataset": options.dataset, "split": options.split}
    source |= {"modality": dataset.modality, "command": command}
    source |= {"missing": options.missing} if options.missing else {}
    part = ", held-out frames" if options.held_out else ""
    title = f"{model.config.name} on {dataset.name} ({dataset.modality}), {options.split} split{part}"
    files = write_report(options.out, result | source, title, command)
    tables = [branch_table(result, decimals=2)]
    tables += [condition_table(result["conditions"], decimals=2)] if "conditions" in result else []
    logger.info(
        "%s\n%s; %s, in percent, rounded down\n\n%s\n",
        title,
        result["protocol"],
        image_count(result["images"]),
        "\n\n".join(text_table(table) for table in tables),
    )
    logger.info("Written: %s", ", ".join(map(str, files)))


def _refuse_beside_robustness(options: argparse.Namespace) -> None:
    unused = [
        f"--{name}"
        for name in ("scales", "flip", "msf", "window", "attention", "boundary", "confusion", "missing")
        if getattr(options, name) not in (None, False)
    ]
    unused += ["--protocol reference"] if options.protocol == "reference" else []
    if unused:
        raise ValueError(f"--robustness runs single scale under its own protocol; omit {', '.join(unused)}.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Score a model on a dataset."
    )
    add = parser.add_argument
    add("--model", required=True, help="a model's name or its .safetensors file")
    add(
        "--dataset",
        required=True,
        help=f"one of: {', '.join(REGISTRY)}; or the YAML file of a custom dataset",
    )
    add("--data", type=Path, help="the dataset's folder")
    add("--split", default="test", help="the split (default: test)")
    add("--modality", help="the modality of X (default: that of the model's training)")
    add("--out", type=Path, required=True, help="the JSON file to write; the tables are written beside it")
    add("--size", type=int, help="short side in pixels (default: the model's own)")
    add("--scales", type=float, nargs="+", help="average over these scales of the size (default: 1)")
    add("--flip", action="store_true", help="average with the mirrored image")
    add("--msf", action="store_true", help=f"--scales {' '.join(map(str, MSF_SCALES))} --flip")
    add("--window", type=int, nargs=2, metavar=("H", "W"), help="slide a window of this size, in pixels")
    add("--overlap", type=float, default=0.5, help="fraction by which windows overlap (default: 0.5)")
    add("--bf16", action="store_true", help="run the network in bfloat16")
    add("--limit", type=int, metavar="N", help="only the first N images")
    add("--every", type=int, default=1, metavar="N", help="only every N-th image")
    add(
        "--held-out",
        type=float,
        default=0.0,
        metavar="FRACTION",
        help="only the frames that a run with this val_fraction holds out of the split",
    )
    add(
        "--protocol",
        choices=("ours", "reference"),
        default="ours",
        help="reference: the protocol of the released scripts",
    )
    add("--attention", action="store_true", help="report entropy and balance of the fusion")
    add(
        "--boundary",
        type=float,
        nargs="?",
        const=True,
        default=False,
        metavar="PIXELS",
        help="report boundary F1 with this tolerance (default: 0.75 %% of the diagonal)",
    )
    add("--missing", choices=("rgb", "x"), help="zero the tokens of this modality, as if it were absent")
    add("--confusion", action="store_true", help="write confusion matrices as CSV and as PNG")
    add(
        "--robustness",
        nargs="*",
        metavar="FAMILY",
        help="evaluate missing and corrupted inputs instead (all or these families), into OUT_robustness/",
    )
    add(
        "--device",
        default="auto",
        help="auto (default: a CUDA GPU that works, else the CPU), cpu, cuda:1, ...",
    )
    return parser


if __name__ == "__main__":
    main()
