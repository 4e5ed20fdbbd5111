"""Conditions for saving and stopping a run, and the values that it logs."""

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
    """Conditions for saving and stopping; times in seconds. A signal handler may set `stop`."""

    save_every: float = 300.0
    wall: float | None = None
    max_steps: int | None = None  # of the whole run, over all sessions
    log_every: int = 10
    stop: bool = False

    def check(self, step: int, seconds: float) -> None:
        """Set `stop` if the run has reached a limit at `step` and after `seconds`."""
        self.stop |= self.wall is not None and seconds >= self.wall
        self.stop |= self.max_steps is not None and step >= self.max_steps


@contextmanager
def stopped_by_signals(limits: StopConditions) -> Iterator[None]:
    """Let SIGTERM and SIGINT set `limits.stop`, and restore the previous handlers afterwards.

    Only the main thread can set signal handlers; in any other thread this does nothing.
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
            signal.signal(
                number, signal.SIG_DFL if handler is None else handler
            )  # None: it was not set by Python


class Meter:
    """Mean losses and speed since the last row of the log."""

    def __init__(self):
        self._losses: list[Tensor] = []
        self._images, self._since = 0, time.monotonic()

    def add(self, losses: Tensor, images: int) -> None:
        self._losses.append(losses)
        self._images += images

    def take(self) -> dict[str, float]:
        """The values of the log's columns; the meter then starts again."""
        losses = shared_mean(torch.stack(self._losses).mean(0)).tolist()
        row = {name: round(value, 5) for name, value in zip(LOG_COLUMNS[3:7], losses, strict=True)}
        row["images_per_s"] = round(self._images / max(time.monotonic() - self._since, 1e-9), 2)
        self.__init__()
        return row
