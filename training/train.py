"""Train a model by a recipe: `python -m training.train RECIPE --data DIR --out DIR`."""

import argparse
import logging
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ktb.build import build_model, lite_config
from ktb.checkpoint import load_model, save_model
from ktb.config import ModelConfig
from ktb.layers import require_matching
from ktb.model import BRANCHES, KTB
from training.batches import BatchLoader
from training.cpu import keep_freed_memory, strided_depthwise_in_float32
from training.datasets import build_dataset, hold_out
from training.datasets.base import PairDataset
from training.engine import EVAL_COLUMNS, MODEL_FILE, STATE_FILE, Limits, Trainer
from training.evaluate import evaluate
from training.recipes import RECIPES, Recipe, get_recipe, override
from training.state import CsvLog

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train; what the user did wrong ends as one line on stderr and status 2."""
    keep_freed_memory()
    parser = _parser()
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        run(options)
    except ValueError as error:
        parser.error(str(error))


def run(options: argparse.Namespace) -> None:
    """Train with parsed options; ValueError for anything that the user can mend."""
    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = override(get_recipe(options.recipe), options.set)
    if (options.out / STATE_FILE).exists() and not options.resume:
        raise ValueError(f"{options.out} already holds a run: add --resume, or choose another --out.")
    if options.eval_every and not recipe.val_fraction:
        raise ValueError(
            "--eval-every needs frames held out from the training split: add --set val_fraction=0.1. "
            "The test split is never used to choose a model."
        )
    torch.manual_seed(recipe.seed)
    dataset = build_dataset(recipe.dataset, options.data, "train", cache=not options.no_cache)
    kept, held = hold_out(len(dataset), recipe.val_fraction, recipe.seed)
    loader = BatchLoader(dataset, kept, recipe.batch_size, recipe.augmentation, recipe.seed, options.workers)
    model = make_model(recipe, options.init).to(options.device)
    if recipe.bf16 and torch.device(options.device).type == "cpu":
        strided_depthwise_in_float32(model)
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    trainer = Trainer(model, recipe, loader, options.out, save_model)
    if options.resume:
        trainer.resume()
    logger.info(
        "%d trainable values, %d steps", sum(p.numel() for _, p in trainer.named), trainer.total_steps
    )
    limits = Limits(
        save_every=60 * options.save_minutes,
        wall=60 * options.minutes if options.minutes else None,
        max_steps=options.steps,
    )
    signal.signal(signal.SIGTERM, lambda *_: setattr(limits, "stop", True))
    signal.signal(signal.SIGINT, lambda *_: setattr(limits, "stop", True))
    finished = trainer.train(
        limits, _evaluator(trainer, dataset, held, options) if options.eval_every else None
    )
    logger.info("%s; model: %s", "Finished" if finished else "Stopped early", options.out / MODEL_FILE)


def make_model(recipe: Recipe, start: Path | None = None) -> KTB:
    """Build the recipe's model on pretrained frozen weights, or begin with those of the saved model `start`.

    Images will be resized for it to the short side of the recipe's crop, unless the recipe says otherwise.
    Raises ValueError if `start` does not fit the recipe's model.
    """
    config = lite_config(recipe.dataset).to_dict()
    for path, value in {"inputs.short_side": min(recipe.crop), **recipe.model}.items():
        *parents, key = path.split(".")
        node = config
        for parent in parents:
            node = node.setdefault(parent, {})
        node[key] = value
    pretrained = (recipe.pretrained or True) if start is None else False
    model = build_model(ModelConfig.from_dict(config), recipe.fusion_start, pretrained)
    if start is not None:
        weights = load_model(start).state_dict()
        require_matching(model.state_dict(), weights, f"the tensors of {start}")
        model.load_state_dict(weights)
    return model


def _evaluator(
    trainer: Trainer, dataset: PairDataset, held: Sequence[int], options: argparse.Namespace
) -> Callable[[Trainer], None]:
    """A function that scores the averaged weights on the held-out frames every `eval_every` epochs."""
    log = CsvLog(options.out / "eval.csv", EVAL_COLUMNS, trainer.step)

    def after_epoch(trainer: Trainer) -> None:
        if trainer.epoch % options.eval_every:
            return
        with trainer.averaged() as model:
            result = evaluate(
                model, dataset, indices=held, bf16=trainer.recipe.bf16, size=min(trainer.recipe.crop)
            )
        log.add(
            step=trainer.step,
            epoch=trainer.epoch,
            **{f"{branch}_miou": result[branch]["miou"] for branch in BRANCHES},
            fused_pixel_accuracy=result["fused"]["pixel_accuracy"],
            images=result["images"],
        )
        logger.info("Held out, epoch %d: fused mIoU %.2f", trainer.epoch, result["fused"]["miou"])

    return after_epoch


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("recipe", help=f"one of: {', '.join(RECIPES)}")
    parser.add_argument("--data", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for the log, the state and the model")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --out exactly where it stopped"
    )
    parser.add_argument("--init", type=Path, help="model.safetensors to take the start weights from")
    parser.add_argument(
        "--set", nargs="+", default=[], action="extend", metavar="KEY=VALUE", help="change the recipe"
    )
    parser.add_argument("--minutes", type=float, help="stop and save after this time; --resume continues")
    parser.add_argument("--steps", type=int, help="stop and save after this many steps of the run")
    parser.add_argument("--save-minutes", type=float, default=5.0, help="time between saves (default 5)")
    parser.add_argument(
        "--eval-every", type=int, help="score held-out frames every N epochs (needs val_fraction)"
    )
    parser.add_argument("--workers", type=int, default=1, help="threads that prepare batches ahead (0: none)")
    parser.add_argument("--threads", type=int, help="torch's CPU threads (default: torch's choice)")
    parser.add_argument(
        "--no-cache", action="store_true", help="decode images each time instead of keeping them"
    )
    parser.add_argument(
        "--device", default="cuda" if torch.cuda.is_available() else "cpu", help="cpu, cuda, cuda:1, ..."
    )
    return parser


if __name__ == "__main__":
    main()
