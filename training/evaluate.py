"""Score a model.

    python -m training.evaluate --model FILE --dataset nyuv2 --data DIR --split test --out FILE.json

Protocol: the images are resized so that their short side is `size`, both sides up to multiples of 32
(bilinear); the logits are brought to the label's own resolution (bilinear) and scored there over the whole
split at once.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from ktb.checkpoint import load_model
from ktb.model import BRANCHES
from training.datasets import REGISTRY, build_dataset
from training.scoring import attention_statistics, describe, evaluate
from training.state import write_atomically

__all__ = ["attention_statistics", "describe", "evaluate", "main"]

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, evaluate and write the JSON file."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description="Score a model on a dataset."
    )
    parser.add_argument("--model", required=True, help="a model's name or its .safetensors file")
    parser.add_argument("--dataset", required=True, help=f"one of: {', '.join(REGISTRY)}")
    parser.add_argument("--data", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--size", type=int, help="short side in pixels (default: the model's own)")
    parser.add_argument(
        "--scales", type=float, nargs="+", default=[1.0], help="e.g. 0.5 0.75 1 1.25 1.5 1.75"
    )
    parser.add_argument("--flip", action="store_true", help="average with the mirrored image")
    parser.add_argument("--bf16", action="store_true", help="run the network in bfloat16")
    parser.add_argument("--limit", type=int, help="only the first N images")
    parser.add_argument("--protocol", choices=("ours", "reference"), default="ours")
    parser.add_argument("--attention", action="store_true", help="report the fusion's entropy and balance")
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1, ..."
    )
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        dataset = build_dataset(options.dataset, options.data, options.split)
        model = load_model(options.model).to(options.device)
        result = evaluate(
            model,
            dataset,
            indices=range(min(options.limit or len(dataset), len(dataset))),
            size=options.size,
            scales=options.scales,
            flip=options.flip,
            bf16=options.bf16,
            reference=options.protocol == "reference",
            attention=options.attention,
        )
    except ValueError as error:
        parser.error(str(error))
    result |= {"model": options.model, "dataset": options.dataset, "split": options.split}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(options.out, lambda path: path.write_text(json.dumps(result, indent=1) + "\n"))
    logger.info("mIoU: %s", ", ".join(f"{branch} {result[branch]['miou']:.2f}" for branch in BRANCHES))


if __name__ == "__main__":
    main()
