"""Publish a trained checkpoint: half precision, with its model card inside the file and beside it.

    python -m training.publish runs/NAME/model.safetensors --out NAME.safetensors --card card.json
    python -m training.evaluate --model NAME.safetensors … --out evaluation.json
    python -m training.publish runs/NAME/model.safetensors --out NAME.safetensors --card card.json \\
        --evaluation evaluation.json
    python -m training.publish … --blend BEFORE.safetensors 0.3   # 30 % of the weights from another file

The metrics describe the published file, so evaluate it after its conversion to half precision.
"""

import argparse
import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ktb.checkpoints.card import BOX_CONDITIONS, figure_tables
from ktb.checkpoints.load import load_model, save_model
from ktb.checkpoints.metadata import read_header
from ktb.config import BRANCHES
from ktb.modeling.model import KTB
from ktb.utils.files import write_atomically

logger = logging.getLogger(__name__)

REQUIRED = ("data", "split", "commands", "hours", "limits")


@torch.no_grad()
def blend(model: KTB, other: KTB, fraction: float) -> None:
    """Blend the model's weights and batch-norm statistics with those of another: `fraction` of the other's.

    A model that was trained further on one kind of images keeps more of what it knew of others when it is
    blended with itself as it was before. Source: Wortsman et al., Robust fine-tuning of zero-shot models,
    CVPR 2022.

    Raises:
        ValueError: the models have other tensors or classes, or the fraction lies outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction of the blend is {fraction}: give one from 0 to 1.")
    own, theirs = (
        {n: t for n, t in m.state_dict().items() if not n.startswith("domain.")} for m in (model, other)
    )
    same = {n: t.shape for n, t in own.items()} == {n: t.shape for n, t in theirs.items()}
    if not same or model.config.classes != other.config.classes:
        raise ValueError(
            "the models to blend differ in tensors or classes: blend a model with its own --init."
        )
    for name, tensor in own.items():
        if tensor.is_floating_point():
            tensor.lerp_(theirs[name].to(tensor), fraction)


def build_card(
    written: Mapping[str, Any],
    trained: Mapping[str, Any],
    evaluation: Mapping[str, Any] | None,
    boxes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Combine the written card, the trainer's card, the evaluation and the scores against boxes.

    An evaluation without X becomes "without_x" and gives no score of the fused head with both images.

    Raises ValueError with the missing fields of `REQUIRED`, and for an evaluation without rgb.
    """
    if missing := [key for key in REQUIRED if key not in written]:
        raise ValueError(f"the card lacks {', '.join(missing)}: add them to the --card file.")
    card = {**written, "recipe": trained.get("recipe", {}), "step": trained.get("step")}
    if "selection" in trained:
        card["selection"] = trained["selection"]
    if evaluation is not None and evaluation.get("missing"):
        if evaluation["missing"] != "x":
            raise ValueError(
                "the evaluation was made without rgb: evaluate with both images, or --missing x."
            )
        data = f"{evaluation['dataset']}, {evaluation['split']} split"
        figures = {branch: evaluation[branch] for branch in BRANCHES if branch != "x"}
        alone = {"data": data, "figures": figures}
        card["without_x"] = alone | {key: evaluation[key] for key in ("protocol", "images")}
    elif evaluation is not None:
        card["protocol"] = evaluation["protocol"]
        card["images"] = evaluation["images"]
        card["figures"] = {branch: evaluation[branch] for branch in BRANCHES}
        if "attention" in evaluation:
            card["attention"] = evaluation["attention"]
    if boxes is not None:
        card["boxes"] = {key: boxes[key] for key in ("protocol", "images", *BOX_CONDITIONS) if key in boxes}
    return card


def card_markdown(name: str, card: Mapping[str, Any]) -> str:
    """The card as Markdown: text, metrics per branch, IoU per class."""
    lines = [f"# {name}", ""]
    for key in ("version", "data", "split", "selection", "protocol", "hours", "limits"):
        if key in card:
            lines += [f"**{key.capitalize()}**: {card[key]}", ""]
    lines += ["**Commands**:", "", "```", *card["commands"], "```", ""]
    return "\n".join([*lines, *figure_tables(card)])


def write_card_beside(path: Path) -> None:
    """Write a published file's card beside it as Markdown; nothing for a file without a published card."""
    config, card = read_header(path)
    if any(key not in card for key in REQUIRED):
        return
    text = card_markdown(config.name, card)
    write_atomically(path.with_suffix(".md"), lambda temporary: temporary.write_text(text))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the checkpoint and its card."""
    parser = argparse.ArgumentParser(prog="python -m training.publish", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="model.safetensors of a training run")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--card", type=Path, required=True, help=f"JSON with {', '.join(REQUIRED)}")
    parser.add_argument("--evaluation", type=Path, help="JSON that training.evaluate wrote for --out")
    parser.add_argument("--boxes", type=Path, help="JSON that training.evaluate_boxes wrote for --out")
    parser.add_argument("--name", help="the model's name (default: as trained)")
    parser.add_argument(
        "--blend", nargs=2, metavar=("FILE", "FRACTION"),
        help="take this fraction of the weights from FILE, such as the model that the run started from",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        model = load_model(options.model, "cpu")
        if options.blend is not None:
            blend(model, load_model(options.blend[0], "cpu"), float(options.blend[1]))
        if options.name is not None:
            model.config = dataclasses.replace(model.config, name=options.name)
        written = json.loads(options.card.read_text())
        evaluation = json.loads(options.evaluation.read_text()) if options.evaluation else None
        boxes = json.loads(options.boxes.read_text()) if options.boxes else None
        card = build_card(written, model.card, evaluation, boxes)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    save_model(options.out, model, card, dtype=torch.float16)
    write_card_beside(options.out)
    logger.info("%s: %.1f MB", options.out, options.out.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
