"""Validation during training, and the selection of the best weights by its scores."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

from ktb.config import BRANCHES
from training.data.datasets import PairDataset
from training.engine.distributed import summed
from training.engine.state import RunLog
from training.engine.trainer import BEST_FILE, Trainer
from training.evaluation.evaluator import evaluate
from training.recipes import Recipe

logger = logging.getLogger(__name__)

METRICS = tuple(f"{b}_{m}" for b in BRANCHES for m in ("miou", "pixel_accuracy", "class_accuracy"))
EVAL_COLUMNS = ("step", "epoch", *METRICS, "images")


@dataclass
class Validation:
    """Score the averaged weights every `recipe.eval_every` epochs and save the best model file.

    Attributes:
        description: the validation frames in words, for the card.
        seen_in_reports: whether scores are usually reported on these same frames.
    """

    dataset: PairDataset
    indices: list[int]
    description: str
    seen_in_reports: bool
    out: Path
    log: RunLog = field(init=False)

    def __call__(self, trainer: Trainer) -> None:
        recipe = trainer.recipe
        if trainer.epoch % recipe.eval_every and trainer.step < trainer.total_steps:
            return
        with trainer.averaged() as model:
            result = evaluate(
                model,
                self.dataset,
                indices=self.indices[trainer.process :: trainer.processes],
                bf16=recipe.precision != "fp32",
                size=model.config.inputs.short_side or min(recipe.crop),
                reduce=lambda counts: summed(counts.to(trainer.device)).cpu(),
                progress=trainer.is_main,
            )
            row = {m: round(result[m.split("_", 1)[0]][m.split("_", 1)[1]], 4) for m in METRICS}
            row = {"step": trainer.step, "epoch": trainer.epoch, **row, "images": result["images"]}
            self.log.add(**row)
            if row[recipe.select] > trainer.best.get(recipe.select, float("-inf")):
                trainer.best = row
                if trainer.is_main:
                    card = trainer.card() | {"selection": self.selection(trainer)}
                    trainer.export(self.out / BEST_FILE, model, card)
        logger.info(
            "Validation, epoch %d: %s %.2f (best %.2f)",
            trainer.epoch,
            recipe.select,
            row[recipe.select],
            trainer.best[recipe.select],
        )
        if trainer.step < trainer.total_steps:  # at the end the trainer saves
            trainer.save()  # the state contains the best row

    def selection(self, trainer: Trainer) -> str:
        """The selection of the weights in words, for the card."""
        recipe, best = trainer.recipe, trainer.best
        text = (
            f"best {recipe.select} ({best[recipe.select]:.2f}, epoch {best['epoch']}) of a validation every "
            f"{recipe.eval_every} epochs on {self.description}"
        )
        if self.seen_in_reports:
            text += "; SELECTED ON THE FRAMES ON WHICH SCORES ARE REPORTED: such scores are too high"
        return text


def require_metric(recipe: Recipe) -> None:
    """Raise ValueError if the recipe selects by a metric that validation does not compute."""
    if recipe.select not in METRICS:
        raise ValueError(f"select is '{recipe.select}'; choose one of {', '.join(METRICS)}.")
