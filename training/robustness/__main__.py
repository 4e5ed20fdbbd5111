"""Evaluate a model with a missing, corrupted, misaligned or badly lit modality.

    python -m training.robustness --model FILE --dataset nyuv2 --data DIR --out DIR
    python -m training.robustness … --families missing x-shift --limit 50
    python -m training.robustness --show --dataset nyuv2 --data DIR --out DIR

Outputs: robustness.json, robustness.csv, robustness.md (tables), and one plot per family.
`training.robustness.suite` describes the protocol.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import cv2

from ktb.checkpoints.load import load_model
from ktb.modeling.device import choose_device
from ktb.utils.files import write_atomically
from training.data.datasets import REGISTRY, build_dataset
from training.data.datasets.base import PairDataset
from training.data.open import frames_to_score, open_dataset
from training.robustness.conditions import FAMILIES
from training.robustness.report import contact_sheet
from training.robustness.suite import run, shown_score

logger = logging.getLogger(__name__)

CACHE_BYTES = 4 * 2**30  # of decoded frames in memory


def _cached(dataset: PairDataset, frames: int, name: str, data: Path | None) -> PairDataset:
    """The same dataset with a cache of decoded frames, if all of them fit into CACHE_BYTES."""
    if frames * sum(array.nbytes for array in dataset[0][1:]) > CACHE_BYTES:
        return dataset
    return build_dataset(name, data, dataset.split, modality=dataset.modality, cache=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line; run the suite, or draw its corruptions."""
    parser = argparse.ArgumentParser(
        prog="python -m training.robustness", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--model", help="a model's name or its .safetensors file")
    parser.add_argument(
        "--dataset", required=True, help=f"{', '.join(REGISTRY)}, or the YAML of a custom dataset"
    )
    parser.add_argument("--data", type=Path, help="the dataset's folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--modality", help="the modality of X (default: that of the model's training)")
    parser.add_argument(
        "--out", type=Path, required=True, help="the output folder; an interrupted run resumes in it"
    )
    parser.add_argument(
        "--families", nargs="+", help=f"only these of {', '.join(FAMILIES)}, or conditions such as x-shift/4"
    )
    parser.add_argument("--limit", type=int, help="only the first N images")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only every N-th image")
    parser.add_argument(
        "--held-out", type=float, default=0.0, metavar="FRACTION",
        help="only the frames that a run with this val_fraction holds out of the split",
    )  # fmt: skip
    parser.add_argument("--size", type=int, help="short side in pixels (default: the model's own)")
    parser.add_argument("--bf16", action="store_true", help="run the network in bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--device",
        default="auto",
        help="auto (default: a CUDA GPU that works, else the CPU), cpu, cuda:1, ...",
    )
    parser.add_argument(
        "--show", type=int, nargs="?", const=0, metavar="INDEX",
        help="only draw all corruptions of this sample (default: the first) into corruptions.png",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    if options.show is None and not options.model:
        parser.error("give --model, or --show to draw the corruptions")
    try:
        if options.show is not None:
            dataset = build_dataset(options.dataset, options.data, options.split, modality=options.modality)
            _show(dataset, options.show, options.out, options.seed)
            return
        device = choose_device(options.device, with_mps=False)
        logger.info("device %s", device)
        model = load_model(options.model, device.device)
        dataset = open_dataset(model, options.dataset, options.data, options.split, options.modality)
        indices = frames_to_score(len(dataset), options.every, options.limit, options.held_out)
        record = run(
            model,
            _cached(dataset, len(indices), options.dataset, options.data),
            options.out,
            indices=indices,
            size=options.size,
            bf16=options.bf16,
            conditions=options.families,
            seed=options.seed,
        )
    except ValueError as error:
        parser.error(str(error))
    for way, means in record["emm"].items():
        logger.info("EMM (%s): %s", way, ", ".join(f"{b} {shown_score(v)}" for b, v in means.items()))
    logger.info("tables and plots: %s", options.out)


def _show(dataset: PairDataset, index: int, out: Path, seed: int) -> None:
    if not 0 <= index < len(dataset):
        raise ValueError(f"--show {index}: choose a sample in 0..{len(dataset) - 1}.")
    sheet = contact_sheet(dataset[index], dataset.modality, index=index, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".png", sheet[..., ::-1])
    assert done
    write_atomically(out / "corruptions.png", lambda path: path.write_bytes(data.tobytes()))
    logger.info("%s", out / "corruptions.png")


if __name__ == "__main__":
    main()
