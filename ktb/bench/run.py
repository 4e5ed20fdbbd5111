"""The parent process: it starts the processes of all cases, runs the rounds and collects the results."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ktb.analysis.ground_truth import Numbering
from ktb.analysis.metrics import class_iou
from ktb.bench.cases import BASELINE, Case
from ktb.bench.models import model_file
from ktb.bench.worker import serve
from ktb.datasets.pairing import scan

NOTES = (
    "seconds: the network alone, from normalised images to logits of all heads. The baseline upsamples "
    "them to the image's size, as the reference does; every runtime returns a quarter of it.",
    "speedup: median over the rounds of the ratio within a round.",
    "flops: matrix products and convolutions, two per multiply-add; bilinear sampling (grid_sample, "
    "upsampling), norms and activations are not counted.",
    "floor_seconds: the same work at the speed of one large matrix product of that precision, measured in "
    "the same run.",
    "memory: peak memory of the process until the last round, including weights and libraries; memory that "
    "it shares with others, such as a mapped file, counts in each.",
    "parity: fused logits and labels at the image's size against eager float32 on a random image; random "
    "weights (swin-b, swin-l, lite) give many near-ties, so that labels agree less than those of a trained "
    "network.",
)


@dataclass(frozen=True)
class Frames:
    """Labelled pairs: patterns as for `ktb.datasets.pairing.scan`, and the numbering of the labels."""

    rgb: str
    x: str
    labels: str
    numbering: Numbering = "stored"
    most: int = 50

    def files(self) -> list[dict[str, str]]:
        """Paths "rgb", "x" and "label" of each pair; ValueError if no names match."""
        here = Path()
        found = {"rgb": scan(here, self.rgb), "x": scan(here, self.x), "label": scan(here, self.labels)}
        names = [name for name in found["rgb"] if name in found["x"] and name in found["label"]]
        if not names:
            raise ValueError(
                f"no RGB image of {self.rgb} has an X file in {self.x} and labels in {self.labels} of its "
                f"name."
            )
        return [{kind: str(files[name]) for kind, files in found.items()} for name in names[: self.most]]


class Worker:
    """One case's process. `first_logits` is its first result, `first_result` the seconds until then."""

    def __init__(self, case: Case, file: str):
        self.case = case
        context = multiprocessing.get_context("spawn")
        self._connection, other_end = context.Pipe()
        self._process = context.Process(target=serve, args=(other_end, case, file), daemon=True)
        started = time.perf_counter()
        self._process.start()
        other_end.close()
        try:
            self.first_logits: np.ndarray = self._answer()
        except Exception:
            self.close()
            raise
        self.first_result = time.perf_counter() - started

    def ask(self, method: str, *arguments: Any) -> Any:
        """Call a method of `ktb.bench.worker.Session` and return its result."""
        self._connection.send((method, arguments))
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _answer(self) -> Any:
        try:
            kind, value = self._connection.recv()
        except EOFError:
            self._process.join(timeout=5)
            code = self._process.exitcode
            raise RuntimeError(f"the process of {self.case.label} ended with code {code}.") from None
        if kind == "ok":
            return value
        raise (ValueError(value) if kind == "ValueError" else RuntimeError(f"{kind}: {value}"))


def run_cases(
    cases: Sequence[Case],
    rounds: int = 5,
    frames: Frames | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure and compare all cases, each in a fresh process; cases that cannot run are skipped.

    Args:
        cases: from `make_cases`; cases of one job run together.
        rounds: number of runs of each case after its first result.
        frames: labelled pairs for the mean IoU of every runtime.
        report: called with lines on the progress.

    Returns:
        JSON-compatible values: "machine", "rounds", "notes" and "results", one per case.

    Raises:
        ValueError: `rounds` is below 1, frames are missing, or the reference cannot run.
    """
    if rounds < 1:
        raise ValueError(f"rounds {rounds}: give at least 1.")
    files = frames.files() if frames else []
    jobs = {case.job: [other for other in cases if other.job == case.job] for case in cases}
    results = []
    for job in jobs.values():
        results += _run_job(job, rounds, (files, frames.numbering) if frames else None, report)
    return {"machine": _machine(cases), "rounds": rounds, "notes": list(NOTES), "results": results}


def _run_job(
    cases: Sequence[Case], rounds: int, scored: tuple[list, Numbering] | None, report: Callable[[str], None]
) -> list[dict[str, Any]]:
    with _started(cases, report) as (workers, missing):
        seconds = _interleaved(workers, rounds, report)
        reference = next(worker for worker in workers if worker.case.is_reference)
        common = {"flops": reference.ask("flops"), "rates": reference.ask("matrix_product_rates")}
        found = {}
        for worker in workers:
            # memory first, because the other measurements allocate more
            memory = worker.ask("memory")
            found[worker.case] = {
                **_figures(worker, seconds, workers[0].case, common),
                "memory": memory,
                "parity": _parity(worker.first_logits, reference.first_logits, worker.case.size_hw),
                "parts": worker.ask("parts") if worker.case.runtime == "eager" else None,
            }
        if scored is not None:
            _add_scores(found, workers, reference, scored, report)
    return [{**_description(case), **(found.get(case) or {"skipped": missing[case]})} for case in cases]


@contextmanager
def _started(
    cases: Sequence[Case], report: Callable[[str], None]
) -> Iterator[tuple[list[Worker], dict[Case, str]]]:
    """Workers of the cases that run here, and the reasons of the others; the reference must run."""
    workers, missing = [], {}
    with ExitStack() as opened:
        files = {name: opened.enter_context(model_file(name)) for name in {case.model for case in cases}}
        for case in cases:
            file = files[case.model]
            try:
                workers.append(opened.enter_context(closing(Worker(case, file))))
                report(f"{case.label}: first result after {workers[-1].first_result:.1f} s")
            except (ValueError, RuntimeError) as error:
                if case.is_reference or case.runtime == BASELINE:
                    raise ValueError(f"{case.label}: {error}") from error
                missing[case] = str(error)
                report(f"{case.label}: skipped ({error})")
        yield workers, missing


def _interleaved(
    workers: Sequence[Worker], rounds: int, report: Callable[[str], None]
) -> dict[Case, list[float]]:
    """Seconds per round; every other round runs in reverse order."""
    seconds: dict[Case, list[float]] = {worker.case: [] for worker in workers}
    for number in range(rounds):
        for worker in workers if number % 2 == 0 else reversed(workers):
            seconds[worker.case].append(worker.ask("seconds"))
        report(f"round {number + 1} of {rounds}")
    return seconds


def _figures(
    worker: Worker, seconds: dict[Case, list[float]], against: Case, common: dict[str, Any]
) -> dict[str, Any]:
    own = seconds[worker.case]
    low, median, high = np.percentile(own, (25, 50, 75))
    floor = common["flops"] / common["rates"][worker.case.precision]
    ratios = [theirs / ours for theirs, ours in zip(seconds[against], own)]
    return {
        "seconds": own,
        "median": float(median),
        "quartiles": [float(low), float(high)],
        "first_result": worker.first_result,
        "flops": common["flops"],
        "matrix_product_flops_per_second": common["rates"][worker.case.precision],
        "floor_seconds": floor,
        "speedup": {"against": against.label, "median": float(np.median(ratios)), "rounds": ratios},
    }


def _parity(logits: np.ndarray, reference: np.ndarray, size_hw: tuple[int, int]) -> dict[str, float]:
    """Largest difference of the logits and fraction of equal labels, both at the image's size."""
    ours, theirs = (
        F.interpolate(torch.from_numpy(values), size_hw, mode="bilinear", align_corners=False)
        for values in (logits, reference)
    )
    equal = (ours.argmax(dim=1) == theirs.argmax(dim=1)).float().mean()
    return {"largest_difference": float((ours - theirs).abs().max()), "equal_labels": float(equal)}


def _add_scores(
    found: dict[Case, dict[str, Any]],
    workers: Sequence[Worker],
    reference: Worker,
    scored: tuple[list, Numbering],
    report: Callable[[str], None],
) -> None:
    """Mean IoU of every runtime and its difference from the reference's, in percent."""
    means = {}
    for worker in workers:
        if worker.case.runtime != BASELINE:
            report(f"{worker.case.label}: scoring {len(scored[0])} frames")
            means[worker.case] = 100 * float(np.nanmean(class_iou(worker.ask("confusion_matrix", *scored))))
    for case, mean in means.items():
        change = mean - means[reference.case]
        found[case]["score"] = {"frames": len(scored[0]), "miou": mean, "miou_change": change}


def _description(case: Case) -> dict[str, Any]:
    return {
        "name": case.label,
        "model": case.model,
        "runtime": case.runtime,
        "precision": case.precision,
        "size": {"height": case.size_hw[0], "width": case.size_hw[1]},
        "batch": case.batch,
        "device": case.device,
    }


def _machine(cases: Sequence[Case]) -> dict[str, Any]:
    gpu = next((case.device for case in cases if case.device.startswith("cuda")), None)
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": cases[0].threads or torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(gpu) if gpu else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
