"""The training run: one step, one epoch, saving and resuming."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from ktb.model import KTB
from training.batches import Batch, BatchLoader, network_input
from training.losses import LossParts, draw_masks, mmst_loss
from training.optimization import WeightAverage, parameter_groups, rate_at
from training.recipes import Recipe
from training.state import (
    CsvLog,
    load_model_state,
    model_state,
    random_state,
    set_random_state,
    write_atomically,
)

logger = logging.getLogger(__name__)

STATE_FILE, MODEL_FILE = "last.pt", "model.safetensors"
LOG_COLUMNS = ("step", "epoch", "lr", "loss", "loss_fused", "loss_rgb", "loss_x", "images_per_s")
EVAL_COLUMNS = ("step", "epoch", "fused_miou", "rgb_miou", "x_miou", "fused_pixel_accuracy", "images")

Export = Callable[[Path, KTB, dict], None]


@dataclass
class Limits:
    """When a run saves and when it stops; times in seconds. `stop` may be set from a signal handler."""

    save_every: float = 300.0
    wall: float | None = None
    max_steps: int | None = None  # stop when the run's total step count reaches this
    log_every: int = 10
    stop: bool = False

    def check(self, step: int, seconds: float) -> None:
        """Set `stop` if the run, at `step` and `seconds` old, has reached a limit."""
        self.stop |= self.wall is not None and seconds >= self.wall
        self.stop |= self.max_steps is not None and step >= self.max_steps


class Trainer:
    """Trains one model by one recipe; `train` can stop at any step and a later run continue it exactly.

    export: writes the deployable model file from (path, model, card), given the averaged weights.
    """

    def __init__(self, model: KTB, recipe: Recipe, loader: BatchLoader, out: Path, export: Export):
        self.model = model
        self.recipe = recipe
        self.loader = loader
        self.out = out
        self.export = export
        self.device = next(model.parameters()).device
        self.named = list(model.trainable_parameters())
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.named, recipe.weight_decay), lr=recipe.lr, betas=(0.9, 0.999), fused=True
        )
        self.average = WeightAverage(self.named, recipe.ema) if recipe.ema is not None else None
        self.memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.step = 0
        self.total_steps = recipe.epochs * len(loader)
        self.warmup_steps = round(recipe.warmup_epochs * len(loader))

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.step // len(self.loader)

    def train(self, limits: Limits, after_epoch: Callable[["Trainer"], None] | None = None) -> bool:
        """Train to the end or to a limit, saving on the way and at the end; True if the schedule is finished.

        Raises ValueError naming the files of the batch whose loss is not finite; nothing is saved then.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        log = CsvLog(self.out / "log.csv", LOG_COLUMNS, self.step)
        started = saved = time.monotonic()
        with tqdm(total=self.total_steps, initial=self.step, unit="step", smoothing=0.05) as bar:
            while self.step < self.total_steps and not limits.stop:
                for _ in self._epoch(log, bar, limits.log_every):
                    limits.check(self.step, time.monotonic() - started)
                    if limits.stop:
                        break
                    if time.monotonic() - saved >= limits.save_every:
                        self.save()
                        saved = time.monotonic()
                if after_epoch is not None and self.step % len(self.loader) == 0:
                    after_epoch(self)
        self.save()
        return self.step >= self.total_steps

    def _epoch(self, log: CsvLog, bar: tqdm, log_every: int) -> Iterator[int]:
        """Train from the current position to the end of the epoch, yielding after each step."""
        self.model.train()
        meter = _Meter()
        for batch in self.loader.epoch(self.epoch, self.step % len(self.loader)):
            meter.add(self._step(batch), len(batch.names))
            bar.update()
            if self.step % log_every == 0 or self.step % len(self.loader) == 0:
                row = meter.take()
                epoch, rate = self.step / len(self.loader), self._rate(self.step - 1)
                log.add(step=self.step, epoch=f"{epoch:.3f}", lr=f"{rate:.4e}", **row)
                bar.set_postfix(row)
            yield self.step

    def _step(self, batch: Batch) -> LossParts:
        """One update of the weights."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        rgb, modal_x = network_input(self.model, batch, self.device, self.memory_format)
        pick = slice((recipe.loss_stride - 1) // 2, None, recipe.loss_stride)  # nearest the cells' centres
        label = batch.label[:, pick, pick].to(self.device, non_blocking=True)
        masks = self._masks(len(label))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.bf16):
            output = self.model(rgb, modal_x, *masks, logits_hw=tuple(label.shape[-2:]))
        parts = mmst_loss(
            output,
            label,
            recipe.branch_weight,
            self_teaching=recipe.self_teaching,
            label_smoothing=recipe.label_smoothing,
        )
        if not torch.isfinite(parts.total):
            raise ValueError(
                f"The loss is {parts.total.item()} at step {self.step} for the files "
                f"{', '.join(batch.names)}. Look at these, lower the rate (--set lr=...) or set grad_clip; "
                f"{STATE_FILE} still holds the last good state."
            )
        self.optimizer.zero_grad(set_to_none=True)
        parts.total.backward()
        if recipe.grad_clip is not None:
            nn.utils.clip_grad_norm_([p for _, p in self.named], recipe.grad_clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.step)
        self.step += 1
        return parts

    def _rate(self, step: int) -> float:
        recipe = self.recipe
        part = rate_at(step, self.total_steps, self.warmup_steps, recipe.warmup_start, recipe.poly_power)
        return recipe.lr * part

    def _masks(self, batch: int) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        recipe = self.recipe
        if recipe.mask_rgb == 0 and recipe.mask_x == 0:
            return None, None
        # seeded by the step: the same masks whether or not the run was interrupted
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.step)
        mask_rgb, mask_x = draw_masks(batch, recipe.mask_rgb, recipe.mask_x, generator)
        return mask_rgb.to(self.device), mask_x.to(self.device)

    @contextmanager
    def averaged(self) -> Iterator[KTB]:
        """The model in eval mode with the averaged weights, put back afterwards."""
        training = self.model.training
        self.model.eval()
        with self.average.applied() if self.average is not None else nullcontext():
            yield self.model
        self.model.train(training)

    def save(self) -> None:
        """Write the resumable state and the model file."""
        state = {
            "recipe": self.recipe.as_dict(),
            "step": self.step,
            "steps_per_epoch": len(self.loader),
            "model": model_state(self.model),
            "average": self.average.values if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "random": random_state(),
        }
        write_atomically(self.out / STATE_FILE, lambda path: torch.save(state, path))
        card = {
            "recipe": self.recipe.as_dict(),
            "step": self.step,
            "total_steps": self.total_steps,
            "epoch": self.step / len(self.loader),
            "weights": "averaged" if self.average is not None else "last",
        }
        with self.averaged() as model:
            self.export(self.out / MODEL_FILE, model, card)
        logger.info("Saved step %d of %d in %s", self.step, self.total_steps, self.out)

    def resume(self) -> None:
        """Continue from the saved state in `out`; ValueError if there is none or it is of another recipe."""
        path = self.out / STATE_FILE
        if not path.is_file():
            raise ValueError(f"{path} does not exist: there is nothing to resume, start without --resume.")
        state = torch.load(path, map_location="cpu", weights_only=True)
        now, defaults = self.recipe.as_dict(), Recipe(self.recipe.name, self.recipe.dataset).as_dict()
        then = defaults | state["recipe"]  # settings that are newer than the file had their default
        if now != then or state["steps_per_epoch"] != len(self.loader):
            changed = {
                k: (then.get(k), now.get(k)) for k in now.keys() | then.keys() if then.get(k) != now.get(k)
            }
            raise ValueError(
                f"{path} belongs to another recipe or data set (saved, now): {changed}, steps per epoch "
                f"({state['steps_per_epoch']}, {len(self.loader)}). Resume with the same settings, or start "
                f"anew with --init {MODEL_FILE}."
            )
        load_model_state(self.model, state["model"])
        if self.average is not None:
            self.average.load(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        set_random_state(state["random"])
        self.step = state["step"]
        logger.info("Resumed at step %d of %d", self.step, self.total_steps)


class _Meter:
    """Mean losses and speed since the last look."""

    def __init__(self):
        self._parts: list[torch.Tensor] = []
        self._images, self._since = 0, time.monotonic()

    def add(self, parts: LossParts, images: int) -> None:
        self._parts.append(torch.stack(parts).detach())
        self._images += images

    def take(self) -> dict[str, str]:
        """The columns of the log, and start over."""
        losses = torch.stack(self._parts).mean(0).tolist()
        row = {name: f"{value:.5f}" for name, value in zip(LOG_COLUMNS[3:7], losses, strict=True)}
        row["images_per_s"] = f"{self._images / max(time.monotonic() - self._since, 1e-9):.2f}"
        self.__init__()
        return row
