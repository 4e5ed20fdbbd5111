"""When a run saves and stops, and what it logs on the way."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from training.engine.distributed import shared_mean

LOG_COLUMNS = ("step", "epoch", "lr", "loss", "loss_fused", "loss_rgb", "loss_x", "images_per_s")


@dataclass
class StopConditions:
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


@contextmanager
def stopped_by_signals(limits: StopConditions) -> Iterator[None]:
    """Let SIGTERM and SIGINT set `limits.stop`; afterwards they do what they did before.

    Only the main thread may say what signals do: in any other one they stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, lambda *_: setattr(limits, "stop", True))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python


class Meter:
    """Mean losses and speed since the last look."""

    def __init__(self):
        self._losses: list[Tensor] = []
        self._images, self._since = 0, time.monotonic()

    def add(self, losses: Tensor, images: int) -> None:
        self._losses.append(losses)
        self._images += images

    def take(self) -> dict[str, float]:
        """The columns of the log, and start over."""
        losses = shared_mean(torch.stack(self._losses).mean(0)).tolist()
        row = {name: round(value, 5) for name, value in zip(LOG_COLUMNS[3:7], losses, strict=True)}
        row["images_per_s"] = round(self._images / max(time.monotonic() - self._since, 1e-9), 2)
        self.__init__()
        return row
