"""The trainer: steps, epochs, saving and resuming."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from ktb.modeling.model import KTB, KTBOutput
from ktb.utils.files import remove_leftovers
from training.data.loader import Batch, BatchLoader, network_input
from training.engine.batch_norm import (
    BATCHES,
    Statistics,
    measure_statistics,
    set_statistics,
    statistics_kept,
)
from training.engine.distributed import (
    gathered,
    shared_mean,
    summed,
    synchronise_batch_norms,
    world,
)
from training.engine.optim import WeightAverage, parameter_groups, rate_at
from training.engine.state import (
    STATE_FILE,
    RunLog,
    frozen_fingerprint,
    load_model_state,
    model_state,
    random_state,
    read_state,
    set_random_state,
    write_state,
)
from training.engine.stopping import LOG_COLUMNS, Meter, StopConditions
from training.losses import LossParts, PixelLoss, draw_masks, mmst_loss
from training.recipes import Recipe

logger = logging.getLogger(__name__)

MODEL_FILE, BEST_FILE = "model.safetensors", "best.safetensors"
AUTOCAST_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Export = Callable[[Path, KTB, dict], None]


def batch_masks(recipe: Recipe, step: int) -> tuple[Tensor, Tensor] | None:
    """Masks (B,) of a step's whole batch: samples without rgb tokens, samples without x tokens.

    None without masking. The step is part of the seed, so the masks are the same with any number of processes
    and after an interruption.
    """
    if not recipe.masking or (recipe.mask_rgb == 0 and recipe.mask_x == 0):
        return None
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    return draw_masks(recipe.batch_size, recipe.mask_rgb, recipe.mask_x, generator)


class Trainer:
    """Train one model with one recipe. `train` can stop at any step; a later run continues exactly there.

    Every process of a distributed run has its own Trainer and calls the same methods.

    Args:
        loader: loads this process's shard of every batch.
        export: writes a deployable model file from (path, model, card); the model has the averaged weights.
        class_weights: (K,) float32 weights of the loss, or None for equal weights.
    """

    def __init__(
        self,
        model: KTB,
        recipe: Recipe,
        loader: BatchLoader,
        out: Path,
        export: Export,
        accelerator: Accelerator,
        class_weights: Tensor | None = None,
    ):
        self.process, self.processes = world()
        if self.processes > 1:
            synchronise_batch_norms(model)
        self.accelerator = accelerator
        self.device = accelerator.device
        self.model = model.to(self.device)
        self.recipe = recipe
        self.loader = loader
        self.out = out
        self.export = export
        self.named = list(model.trainable_parameters())
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.named, recipe.weight_decay, recipe.decay_tables),
            lr=recipe.lr,
            betas=(0.9, 0.999),
            fused=True,
        )
        self.network = accelerator.prepare_model(
            self.model
        )  # the model, or DistributedDataParallel around it
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.average = WeightAverage(self.named, recipe.ema) if recipe.ema is not None else None
        self.pixel_loss = PixelLoss(
            recipe.loss,
            recipe.ohem_threshold,
            recipe.ohem_min_kept,
            recipe.label_smoothing,
            None if class_weights is None else class_weights.to(self.device),
            shared_mean,
        )
        self.memory_format = torch.channels_last if recipe.channels_last else torch.contiguous_format
        self.step = 0
        self.total_steps = recipe.epochs * len(loader)
        self.warmup_steps = round(recipe.warmup_epochs * len(loader))
        self.seconds = 0.0  # of training, over all sessions
        self.best: dict = {}  # the row of the best validation
        self.validated = 0  # step of the last call of `after_epoch`
        # batch-norm statistics of the average and their step, by the number of steps that they are used for
        self._measured: dict[int, tuple[int, Statistics]] = {}
        self.log_listener: Callable[[dict], None] | None = None  # receives every row of the log

    @property
    def epoch(self) -> int:
        """Epochs finished."""
        return self.step // len(self.loader)

    @cached_property
    def frozen(self) -> str:
        """The fingerprint of the frozen weights, which no step changes."""
        return frozen_fingerprint(self.model)

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.process == 0

    def train(self, limits: StopConditions, after_epoch: Callable[["Trainer"], None] | None = None) -> bool:
        """Train to the end or to a limit, saving regularly and at the end; True if the schedule is finished.

        `after_epoch` is called at the end of each epoch. A state may be saved before that call; the run that
        resumes from it calls it first.

        Raises ValueError with the sample names of a batch whose loss is not finite; nothing is saved then.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        if self.is_main:
            remove_leftovers(self.out)
        log = RunLog(
            self.out / "log.csv", LOG_COLUMNS, self.step, active=self.is_main, listener=self.log_listener
        )
        started = saved = time.monotonic()
        before = self.seconds
        limits.check(self.step, 0.0)  # a resumed run may have reached it already
        with tqdm(
            total=self.total_steps, initial=self.step, unit="step", smoothing=0.05, disable=not self.is_main
        ) as bar:
            self._finish_epoch(after_epoch)
            while self.step < self.total_steps and not limits.stop:
                for _ in self._epoch(log, bar, limits.log_every):
                    now = time.monotonic()
                    self.seconds = before + now - started
                    limits.check(self.step, now - started)
                    limits.stop, due = self._agree(limits.stop, now - saved >= limits.save_every)
                    if limits.stop:
                        break
                    if due:
                        self.save()
                        saved = time.monotonic()
                self._finish_epoch(after_epoch)
        self.save()
        return self.step >= self.total_steps

    def _finish_epoch(self, after_epoch: Callable[["Trainer"], None] | None) -> None:
        """Call `after_epoch` at the end of an epoch, once, also if the run was resumed there."""
        if after_epoch is None or self.step % len(self.loader) or self.step <= self.validated:
            return
        self.validated = self.step  # before the call, which saves a state when it is done
        after_epoch(self)

    def _agree(self, *flags: bool) -> list[bool]:
        """Each flag is true in every process if any process has set it."""
        if self.processes == 1:
            return list(flags)
        return (summed(torch.tensor(flags, dtype=torch.float32, device=self.device)) > 0).tolist()

    def _epoch(self, log: RunLog, bar: tqdm, log_every: int) -> Iterator[int]:
        """Train from the current position to the end of the epoch; yield after each step."""
        self.network.train()
        meter = Meter()
        for batches in self.loader.epoch(self.epoch, self.step % len(self.loader)):
            meter.add(self._step(batches), self.recipe.batch_size)
            bar.update()
            if self.step % log_every == 0 or self.step % len(self.loader) == 0:
                row = meter.take()
                epoch, rate = self.step / len(self.loader), self._rate(self.step - 1)
                log.add(step=self.step, epoch=round(epoch, 3), lr=float(f"{rate:.4e}"), **row)
                bar.set_postfix(row)
            yield self.step

    def _step(self, batches: list[Batch]) -> Tensor:
        """One update of the weights from this process's micro-batches; returns the four losses, (4,)."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for number, (batch, masks) in enumerate(zip(batches, self._masks(self.step), strict=True), start=1):
            last = number == len(batches)
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                parts = self._losses(batch, masks)
                self._require_finite(parts.total, batch)
                self.scaler.scale(parts.total / len(batches)).backward()
            losses.append(torch.stack(parts).detach())
        if recipe.grad_clip is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_([p for _, p in self.named], recipe.grad_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.step)
        self.step += 1
        return torch.stack(losses).mean(0)

    def _losses(self, batch: Batch, masks: tuple[Tensor | None, Tensor | None]) -> LossParts:
        recipe = self.recipe
        pick = slice(
            (recipe.loss_stride - 1) // 2, None, recipe.loss_stride
        )  # nearest to the centre of each cell
        label = batch.label[:, pick, pick].to(self.device, non_blocking=True)
        output = self._forward(self.network, batch, masks, label.shape[-2:])
        weight = recipe.branch_weight if recipe.self_teaching else 0.0
        return mmst_loss(output, label, weight, mask_labels=recipe.mask_labels, pixel_loss=self.pixel_loss)

    def _forward(
        self,
        network: nn.Module,
        batch: Batch,
        masks: tuple[Tensor | None, Tensor | None],
        logits_hw: Sequence[int],
    ) -> KTBOutput:
        rgb, modal_x = network_input(self.model, batch, self.device, self.memory_format)
        kind = AUTOCAST_TYPES[self.recipe.precision]
        with torch.autocast(self.device.type, kind, enabled=self.recipe.precision != "fp32"):
            return network(rgb, modal_x, *masks, logits_hw=tuple(logits_hw))

    def _require_finite(self, loss: Tensor, batch: Batch) -> None:
        bad = not bool(torch.isfinite(loss))
        if not self._agree(bad)[0]:
            return
        whose = (
            f"for the samples {', '.join(batch.names)}"
            if bad
            else "in another process, which names the samples"
        )
        raise ValueError(
            f"The loss is not finite ({loss.item()}) at step {self.step} {whose}. Check them, lower "
            f"the rate (--set lr=...) or set grad_clip; {STATE_FILE} still contains the last saved state."
        )

    def _rate(self, step: int) -> float:
        recipe = self.recipe
        part = rate_at(step, self.total_steps, self.warmup_steps, recipe.warmup_start, recipe.poly_power)
        return recipe.lr * part

    def _masks(self, step: int) -> list[tuple[Tensor | None, Tensor | None]]:
        """For each micro-batch of this process in a step: the masks of rgb and of X."""
        shard = self.loader.shard
        masks = batch_masks(self.recipe, step)
        if masks is None:
            return [(None, None)] * shard.micro_batches
        return list(zip(*(shard.of(mask.to(self.device)) for mask in masks), strict=True))

    @contextmanager
    def averaged(self, steps: int = 1) -> Iterator[KTB]:
        """The model in eval mode with the averaged weights and their own batch-norm statistics.

        Weights, statistics and mode are restored afterwards. Without averaged weights it is the model itself.
        Every process calls this, because the processes measure the statistics together.

        Args:
            steps: the number of steps for which measured statistics are used; 1: only for their own.
        """
        training = self.model.training
        try:
            if self.average is None:
                yield self.model.eval()
                return
            with self.average.applied(), statistics_kept(self.model):
                self._set_own_statistics(steps)
                yield self.model.eval()
        finally:
            self.model.train(training)

    def _set_own_statistics(self, used_for: int) -> None:
        """Measure the batch-norm statistics of the weights in the model, once in `used_for` steps.

        The running statistics belong to the weights that were trained. These are measured as in training,
        with masks and dropout, on the first batches of the first epoch, which are the same at every call.
        """
        if used_for not in self._measured or self._measured[used_for][0] // used_for != self.step // used_for:
            steps = enumerate(islice(self.loader.epoch(0), BATCHES))
            cuda = [self.device] if self.device.type == "cuda" else []
            with torch.random.fork_rng(cuda):
                torch.manual_seed(self.recipe.seed + self.process)
                parts = (
                    (step, *part)
                    for step, batches in steps
                    for part in zip(batches, self._masks(step), strict=True)
                )
                found = measure_statistics(self.model, parts, lambda part: self._pass(*part))
            self._measured[used_for] = self.step, found
        set_statistics(self.model, self._measured[used_for][1])

    def _pass(self, step: int, batch: Batch, masks: tuple[Tensor | None, Tensor | None]) -> None:
        """Pass a step's micro-batch with its masks through the model, at the size of its finest features."""
        self._forward(self.model, batch, masks, [side // 4 for side in batch.label.shape[-2:]])

    def card(self) -> dict:
        """The card of a model file: recipe, step, epoch, weights."""
        return {
            "recipe": self.recipe.as_dict(),
            "step": self.step,
            "total_steps": self.total_steps,
            "epoch": self.step / len(self.loader),
            "weights": "averaged" if self.average is not None else "last",
            "batch_norm": "measured with the averaged weights" if self.average is not None else "running",
        }

    def save(self) -> None:
        """Write the resumable state and the model file; every process calls this, the first one writes."""
        random = gathered(random_state())
        if self.is_main:
            state = {
                "recipe": self.recipe.as_dict(),
                "step": self.step,
                "validated": self.validated,
                "seconds": self.seconds,
                "best": self.best,
                "steps_per_epoch": len(self.loader),
                "frozen": self.frozen,
                "model": model_state(self.model),
                "average": self.average.values if self.average is not None else None,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "random": random,
                "measured": {steps: found for steps, found in self._measured.items() if steps > 1},
            }
            write_state(self.out, state)
        with self.averaged() as model:
            if self.is_main:
                self.export(self.out / MODEL_FILE, model, self.card())
        logger.info("Saved step %d of %d in %s", self.step, self.total_steps, self.out)

    def resume(self) -> None:
        """Continue from the saved state in `out`.

        Raises:
            ValueError: the state is missing, damaged, of another recipe, or of other frozen weights.
        """
        path, state = self.out / STATE_FILE, read_state(self.out)
        now, defaults = self.recipe.as_dict(), Recipe(self.recipe.name, self.recipe.dataset).as_dict()
        then = defaults | state["recipe"]  # settings newer than the file had their defaults
        if now != then or state["steps_per_epoch"] != len(self.loader):
            changed = {
                k: (then.get(k), now.get(k)) for k in now.keys() | then.keys() if then.get(k) != now.get(k)
            }
            raise ValueError(
                f"{path} belongs to another recipe or dataset (saved, now): {changed}, steps per epoch "
                f"({state['steps_per_epoch']}, {len(self.loader)}). Resume with the same settings, or start "
                f"again with --init {MODEL_FILE}."
            )
        if "frozen" not in state:
            logger.warning("%s is of an older version and does not name its frozen weights.", path)
        elif state["frozen"] != self.frozen:
            raise ValueError(
                f"{path} was trained on other frozen weights (SHA-256 {state['frozen'][:12]}… then, "
                f"{self.frozen[:12]}… now). Give the same --init or pretrained file as at the run's start."
            )
        load_model_state(self.model, state["model"])
        if self.average is not None:
            self.average.load(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds, self.best = state["step"], state["seconds"], state["best"]
        self.validated = state.get("validated", self.step)  # older states follow the validation of their step
        self._measured = state.get("measured", {})
        if len(state["random"]) == self.processes:
            set_random_state(state["random"][self.process])
        else:  # only dropout differs from an uninterrupted run
            logger.warning(
                "The state was saved by %d processes and is resumed by %d.",
                len(state["random"]),
                self.processes,
            )
        logger.info("Resumed at step %d of %d", self.step, self.total_steps)
