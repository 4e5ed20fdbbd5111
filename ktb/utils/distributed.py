"""The rank of this process under a launcher, and its device."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Rank:
    """Process `index` of `count` over all machines; `local` is its index on its own machine."""

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
        """Whether this is the only process."""
        return self.count == 1

    @property
    def label(self) -> str:
        """Prefix of its output lines; empty for a single process."""
        return "" if self.is_alone else f"process {self.index + 1} of {self.count}: "

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's shard: every `count`-th item, so that adjacent expensive items are spread."""
        return items[self.index :: self.count]


def rank_of(environment: Mapping[str, str] = os.environ) -> Rank:
    """The rank from the launcher's variables RANK, WORLD_SIZE and LOCAL_RANK; one process without them.

    Raises:
        ValueError: the variables are not numbers, or are inconsistent.
    """
    if "RANK" not in environment or "WORLD_SIZE" not in environment:
        return Rank()
    index = environment["RANK"]
    try:
        return Rank(int(index), int(environment["WORLD_SIZE"]), int(environment.get("LOCAL_RANK", index)))
    except ValueError as error:
        raise ValueError(f"the launcher's variables are not usable: {error}") from None


def device_of(rank: Rank, environment: Mapping[str, str] = os.environ) -> str:
    """Default device of a rank: "auto" for a single process; under a launcher a GPU each, else the CPU."""
    if environment.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes"):
        return "cpu"
    if rank.is_alone:
        return "auto"
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    gpus = torch.cuda.device_count()
    if rank.local >= gpus:
        raise ValueError(
            f"process {rank.local} of this machine has no GPU of its own ({gpus} are available); start "
            "as many processes as there are, or give --device"
        )
    return f"cuda:{rank.local}"
