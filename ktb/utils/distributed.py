"""Which of several processes this one is, as a launcher tells it, and where it computes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Rank:
    """Process `index` of `count`, on all machines together; `local` counts those of its own machine."""

    index: int = 0
    count: int = 1
    local: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count or self.local < 0:
            raise ValueError(
                f"RANK={self.index}, WORLD_SIZE={self.count}, LOCAL_RANK={self.local} do not fit together; "
                "start with `accelerate launch` or `torchrun`, or set none of them"
            )

    @property
    def is_alone(self) -> bool:
        """Whether there is no other process."""
        return self.count == 1

    @property
    def label(self) -> str:
        """What its lines begin with: nothing if it is alone."""
        return "" if self.is_alone else f"process {self.index + 1} of {self.count}: "

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's items: every `count`-th, so that neighbours of much work are spread."""
        return items[self.index :: self.count]


def rank_of(environment: Mapping[str, str] = os.environ) -> Rank:
    """What the launcher's variables RANK, WORLD_SIZE and LOCAL_RANK say; one process without them.

    Raises:
        ValueError: they are no numbers, or do not fit together.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return Rank()
    index = environment["RANK"]
    try:
        return Rank(int(index), int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_RANK", index)))
    except ValueError as error:
        raise ValueError(f"the launcher's variables are not usable: {error}") from None


def device_of(rank: Rank, environment: Mapping[str, str] = os.environ) -> str:
    """Where a rank computes unless told otherwise: a GPU each under a launcher, else the CPU."""
    import torch

    is_cpu = environment.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")
    if rank.is_alone or is_cpu or not torch.cuda.is_available():
        return "cpu"
    cards = torch.cuda.device_count()
    if rank.local >= cards:
        raise ValueError(
            f"process {rank.local} of this machine has no GPU of its own ({cards} are here); start "
            "as many processes as there are, or give --device"
        )
    return f"cuda:{rank.local}"


def require_device(device: str) -> None:
    """ValueError if torch cannot compute there."""
    if device == "cpu":  # which is everywhere: the page need not wait for torch
        return
    import torch

    try:
        torch.empty(0, device=device)
    except Exception as error:  # torch raises many types for unknown and absent devices
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {device!r} cannot be used here ({reason}); use cpu.") from error
