"""Scores on validation frames during training, and the choice of the best weights by them."""

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
    """Scores the averaged weights every `recipe.eval_every` epochs and keeps the best model file.

    Attributes:
        description: which frames these are, for the card.
        seen_in_reports: whether figures are usually reported on these very frames.
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
        if trainer.step < trainer.total_steps:  # at the end the trainer saves anyway
            trainer.save()  # the best row belongs to the state

    def selection(self, trainer: Trainer) -> str:
        """How the weights were chosen, for the card."""
        recipe, best = trainer.recipe, trainer.best
        text = (
            f"best {recipe.select} ({best[recipe.select]:.2f}, epoch {best['epoch']}) of one look every "
            f"{recipe.eval_every} epochs at {self.description}"
        )
        if self.seen_in_reports:
            text += "; CHOSEN ON THE FRAMES THAT FIGURES ARE REPORTED ON: such figures are too good"
        return text


def require_metric(recipe: Recipe) -> None:
    """ValueError if the recipe selects by a metric that validation does not give."""
    if recipe.select not in METRICS:
        raise ValueError(f"select is '{recipe.select}'; choose one of {', '.join(METRICS)}.")
