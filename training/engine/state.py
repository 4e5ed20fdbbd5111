"""The resumable state of a run: its content, written atomically, with a checksum and a previous copy."""

import csv
import hashlib
import io
import json
import os
import random
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ktb.modeling.layers import require_matching
from ktb.modeling.model import KTB
from ktb.utils.files import write_atomically

STATE_FILE, PREVIOUS_FILE = "last.pt", "previous.pt"
STATE_KEYS = (
    "recipe",
    "step",
    "steps_per_epoch",
    "seconds",
    "best",
    "model",
    "optimizer",
    "scaler",
    "random",
)


def write_state(out: Path, state: dict[str, Any]) -> None:
    """Write STATE_FILE; the state before it becomes PREVIOUS_FILE.

    The file is a zip archive with a CRC-32 of each member.
    """
    path, previous = out / STATE_FILE, out / PREVIOUS_FILE

    def write(temporary: Path) -> None:
        torch.save(state, temporary)
        if path.is_file():
            _keep(path, previous)

    write_atomically(path, write)


def read_state(out: Path) -> dict[str, Any]:
    """The state in STATE_FILE, or in PREVIOUS_FILE if a save was killed between the two.

    Raises:
        ValueError: the file is missing or damaged; the message names the remedy.
    """
    path, previous = out / STATE_FILE, out / PREVIOUS_FILE
    if not path.is_file() and previous.is_file():
        path = previous
    if not path.is_file():
        raise ValueError(f"{path} does not exist: there is nothing to resume. Start without --resume.")
    try:
        with zipfile.ZipFile(path) as archive:
            if part := archive.testzip():
                raise ValueError(f"the checksum of {part} differs")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if missing := [key for key in STATE_KEYS if key not in state]:
            raise ValueError(f"it has no {', '.join(missing)}")
    except Exception as error:  # damaged archives and pickles raise many types
        remedy = "Start again in another folder; --init takes the weights of a model file of this one."
        if path != previous and previous.is_file():
            remedy = f"The previous state is {previous.name}: copy it to {path.name} and resume."
        raise ValueError(f"{path} is damaged or of another kind ({error}). {remedy}") from error
    return state


def _keep(path: Path, previous: Path) -> None:
    """Give a file the second name `previous`, so that it survives its replacement."""
    link = previous.with_name(f".{previous.name}.tmp")
    link.unlink(missing_ok=True)
    with suppress(OSError):
        os.link(path, link)
        link.replace(previous)
        return
    path.replace(previous)  # without hard links only `previous` exists for a moment


def model_state(model: KTB) -> dict[str, torch.Tensor]:
    """Trainable parameters and all buffers by name; frozen weights are loaded from the pretraining again."""
    frozen = {name for name, _ in model.named_parameters()} - {
        name for name, _ in model.trainable_parameters()
    }
    return {name: value for name, value in model.state_dict().items() if name not in frozen}


def frozen_fingerprint(model: KTB) -> str:
    """SHA-256 of the frozen parameters: the names, shapes and all bits of what `model_state` leaves out."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}\n".encode())
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def load_model_state(model: KTB, state: dict[str, torch.Tensor]) -> None:
    """The inverse of `model_state`; ValueError names missing and unexpected tensors."""
    own = model_state(model)
    require_matching(own, state, "the saved weights")
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(state[name])


def random_state() -> dict[str, Any]:
    """The state of the global generators of Python, numpy and PyTorch, as plain values and tensors."""
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


class RunLog:
    """Rows appended to a CSV file and, as objects, to a JSON lines file beside it.

    Rows after `step` are removed when a run resumes from an earlier point. `listener` receives every row. A
    log with active=False, as in a second process, writes nothing.
    """

    def __init__(
        self,
        path: Path,
        columns: tuple[str, ...],
        step: int = 0,
        *,
        active: bool = True,
        listener: Callable[[dict[str, Any]], None] | None = None,
    ):
        self.path, self.columns, self.active, self.listener = path, columns, active, listener
        self._lines = path.with_suffix(".jsonl")
        if not active:
            return
        rows = []
        if step and self._lines.exists():
            lines = self._lines.read_text(encoding="utf-8").splitlines(keepends=True)
            rows = [
                json.loads(line) for line in lines if line.endswith("\n")
            ]  # a killed process may have written half a line
        rows = [row for row in rows if row["step"] <= step]
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomically(path, lambda file: file.write_text(table.getvalue(), encoding="utf-8"))
        write_atomically(self._lines, lambda file: file.write_text(lines, encoding="utf-8"))

    def add(self, **row: Any) -> None:
        """Append one row and flush it."""
        if self.active:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)
            with self._lines.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if self.listener is not None:
                self.listener(row)
