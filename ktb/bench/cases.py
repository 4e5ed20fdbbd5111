"""Cases of a benchmark: combinations of model, runtime, precision, size and batch size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ktb.checkpoints.registry import resolve
from ktb.modeling.build import VARIANTS

RANDOM_MODELS = tuple(VARIANTS)
"""Configurations measured with random weights, on which the time does not depend."""
BASELINE = "baseline"


@dataclass(frozen=True)
class Case:
    """One case of the benchmark, which runs in its own process.

    Attributes:
        model: a built-in name, a file, or one of RANDOM_MODELS.
        runtime, precision: as for `ktb.inference.runtimes.make_runtime`; the runtime may be BASELINE.
        size_hw: (height, width) of the network's inputs.
        batch: batch size.
        device: device of the model.
        threads: threads of PyTorch; None for its own choice.
        baseline: file whose `make(model)` returns the baseline, for that runtime.
    """

    model: str
    runtime: str = "eager"
    precision: str = "float32"
    size_hw: tuple[int, int] = (480, 640)
    batch: int = 1
    device: str = "cpu"
    threads: int | None = None
    baseline: Path | None = None

    @property
    def job(self) -> tuple[str, tuple[int, int], int]:
        """Key of the computation; cases of one job are comparable."""
        return self.model, self.size_hw, self.batch

    @property
    def label(self) -> str:
        """Short description of the case."""
        height, width = self.size_hw
        return f"{Path(self.model).stem} {height}×{width} ×{self.batch}, {self.runtime} {self.precision}"

    @property
    def is_reference(self) -> bool:
        """Whether other results are compared with those of this case."""
        return self.runtime == "eager" and self.precision == "float32"


def make_cases(
    models: Sequence[str],
    runtimes: Sequence[str],
    precisions: Sequence[str],
    sizes: Sequence[tuple[int, int]],
    batches: Sequence[int],
    device: str = "cpu",
    threads: int | None = None,
    baseline: Path | None = None,
) -> list[Case]:
    """All combinations; every job starts with eager float32 (and the baseline, if any), requested or not.

    Raises:
        ValueError: a batch size, size or number of threads is invalid, or the file is missing.
    """
    _check(sizes, batches, threads)
    for name in set(models) - set(RANDOM_MODELS):
        resolve(name)
    if baseline is not None and not baseline.is_file():
        raise ValueError(f"the baseline's file {baseline} does not exist.")
    cases = []
    for model, size, batch in itertools.product(models, sizes, batches):
        reference = Case(model, size_hw=size, batch=batch, device=device, threads=threads)
        if baseline is not None:
            cases.append(replace(reference, runtime=BASELINE, baseline=baseline))
        cases.append(reference)
        wanted = itertools.product(runtimes, precisions)
        cases += [replace(reference, runtime=runtime, precision=precision) for runtime, precision in wanted]
    return list(dict.fromkeys(cases))


def _check(sizes: Sequence[tuple[int, int]], batches: Sequence[int], threads: int | None) -> None:
    for height, width in sizes:
        if min(height, width) < 32 or height % 32 or width % 32:
            raise ValueError(f"size {height}x{width}: give multiples of 32, such as 480x640.")
    if wrong := [batch for batch in batches if batch < 1]:
        raise ValueError(f"batch {wrong[0]}: give at least 1 pair.")
    if threads is not None and threads < 1:
        raise ValueError(f"threads {threads}: give at least 1.")
