"""The resumable state of a run: what it holds, and writing it without ever leaving a broken file."""

import csv
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ktb.layers import require_matching
from ktb.model import KTB


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a file beside `path`, bring it to the disk and only then put it in place of `path`."""
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def model_state(model: KTB) -> dict[str, torch.Tensor]:
    """Trainable parameters and all buffers by name; the frozen weights come from the pretraining again."""
    frozen = {name for name, _ in model.named_parameters()} - {
        name for name, _ in model.trainable_parameters()
    }
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def load_model_state(model: KTB, state: dict[str, torch.Tensor]) -> None:
    """The inverse of `model_state`; ValueError names what does not fit."""
    own = model_state(model)
    require_matching(own, state, "the saved weights")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(state[name])


def random_state() -> dict[str, Any]:
    """The state of Python's, numpy's and torch's global generators, as plain values and tensors."""
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002 (libraries may use it)
    state = {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """The inverse of `random_state`."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.asarray(keys, np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


class CsvLog:
    """Rows appended to a CSV file; rows after `step` are dropped when a run resumes from an earlier point."""

    def __init__(self, path: Path, columns: tuple[str, ...], step: int = 0):
        self.path = path
        self.columns = columns
        rows = []
        if step and path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)

    def add(self, **row: Any) -> None:
        """Append one row and flush it."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self.columns).writerow(row)
