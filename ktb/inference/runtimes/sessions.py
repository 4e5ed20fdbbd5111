"""Runtimes that compute exported graphs: one session per size, the last few kept in memory."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ktb.checkpoints.load import save_model
from ktb.config import BRANCHES
from ktb.inference.runtimes.base import Precision, RuntimeName
from ktb.inference.runtimes.export import Format, require_packages
from ktb.inference.runtimes.graph import keep_input, to_output
from ktb.inference.runtimes.graph_cache import GraphCache, graph_key, model_digest
from ktb.modeling.model import KTB, KTBOutput

MAX_SESSIONS = 8
MAX_SESSION_BYTES = 2 << 30
"""Bounds of what the sessions of one runtime take in memory, by the size of the weights."""
Arrays = Mapping[str, np.ndarray]
Session = Callable[[Arrays], Arrays]
Export = Callable[[KTB, Format, tuple[int, int], Path], object]
_log = logging.getLogger(__name__)


def export_apart(model: KTB, format: Format, size_hw: tuple[int, int], folder: Path) -> None:
    """Write a graph in a process of its own.

    Exporting replaces parts of torch for the whole process while it lasts, and it leaves much memory behind:
    neither shall reach other threads that use the network.

    Raises:
        RuntimeError: with what the process said, if it failed.
    """
    height, width = size_hw
    with tempfile.TemporaryDirectory(prefix="weights-", dir=folder) as place:  # goes with what is made
        weights = Path(place) / "model.safetensors"
        save_model(weights, model, model.card)
        command = [sys.executable, "-m", "ktb", "export", "--model", str(weights), "--format", format]
        command += ["--size", f"{height}x{width}", "--out", str(folder)]
        command += ["--batch", "one" if format == "openvino" else "any"]
        ended = subprocess.run(command, env=environment_of_library(), capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"the network could not be exported to {format}: {ended.stderr.strip()[-2000:]}")


class GraphRuntime(ABC):
    """A runtime that exports a graph for every size, keeps it on disk, and computes it in a session.

    Graphs hold the weights that the model had when the runtime was made: later changes of the model change no
    answer. Make a new runtime (or `ktb.Predictor`) for changed weights.

    Args:
        model: on the CPU.
        cache: where graphs are kept; the user's cache folder by default.
        export: how they are made.

    Raises:
        ValueError: for a model that is not on the CPU, or a package that is not installed.
    """

    name: RuntimeName
    format: Format

    def __init__(
        self,
        model: KTB,
        precision: Precision,
        why: str,
        cache: GraphCache | None = None,
        export: Export = export_apart,
    ):
        require_packages(self.format)
        device = next(model.parameters()).device.type
        if device != "cpu":
            raise ValueError(
                f"the runtime {self.name} computes on the CPU, but the model is on {device!r}; load it with "
                f"device 'cpu', or choose the runtime eager."
            )
        self.precision, self.why = precision, why
        self._model, self._cache, self._export = model, cache or GraphCache(), export
        self._sessions: OrderedDict[tuple, Session] = OrderedDict()
        self._making: dict[tuple, threading.Lock] = {}
        self._lock = threading.Lock()
        self._model_sha256 = model_digest(model)
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        self.max_sessions = min(MAX_SESSIONS, max(1, MAX_SESSION_BYTES // (2 * weights)))

    @torch.inference_mode()
    def __call__(
        self,
        rgb: Tensor,
        modal_x: Tensor,
        mask_rgb: Tensor | None = None,
        mask_x: Tensor | None = None,
        trace: bool = False,
        branches: Sequence[str] = BRANCHES,
    ) -> KTBOutput:
        """As `ktb.inference.runtimes.Runtime`; the first call for a size exports its graph: it takes a while.

        Raises:
            ValueError: a graph has to be exported, but the model's weights are no longer those of the start.
        """
        session = self._session(tuple(rgb.shape[-2:]))
        keep = keep_input(len(rgb), mask_rgb, mask_x)
        inputs = {"rgb": rgb, "modal_x": modal_x, "keep": keep}
        found = session({name: np.ascontiguousarray(t.float().numpy()) for name, t in inputs.items()})
        tensors = {name: torch.from_numpy(array) for name, array in found.items()}
        return to_output(self._model, tensors, trace, branches, self.name)

    def is_at_hand(self, size_hw: tuple[int, int]) -> bool:
        """Whether a call for this size need not wait for an export."""
        with self._lock:
            is_loaded = self._session_key(size_hw) in self._sessions
        return is_loaded or self._cache.find(self._key(size_hw)) is not None

    def prepare(self, size_hw: tuple[int, int]) -> None:
        """Export and load the graph of a size now."""
        self._session(size_hw)

    def _rehearse(self, folder: Path) -> None:  # noqa: B027 (most have no need to)
        """Find out whether the graph in a folder can be computed here at all; ValueError if not."""

    @abstractmethod
    def _load(self, folder: Path) -> Session:
        """A session for the graph in a folder; may raise RuntimeError or ValueError for a damaged one."""

    def _session(self, size_hw: tuple[int, int]) -> Session:
        key = self._session_key(size_hw)
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:  # others of this size wait; those of sizes that are ready do not
            with self._lock:
                session = self._sessions.get(key)
            session = session or self._make(size_hw)
            with self._lock:
                self._sessions[key] = session
                self._sessions.move_to_end(key)
                while len(self._sessions) > self.max_sessions:
                    self._making.pop(self._sessions.popitem(last=False)[0], None)
        return session

    def _session_key(self, size_hw: tuple[int, int]) -> tuple:
        return size_hw, torch.get_num_threads()

    def _key(self, size_hw: tuple[int, int]) -> str:
        return graph_key(self._model_sha256, self.format, size_hw)

    def _make(self, size_hw: tuple[int, int]) -> Session:
        key = self._key(size_hw)
        if found := self._cache.find(key):
            self._rehearse(found)
            try:
                return self._load(found)
            except (RuntimeError, ValueError, OSError) as error:
                _log.warning("The graph in %s cannot be loaded (%s); it is made anew.", found, error)
                self._cache.forget(key)
        height, width = size_hw
        _log.info("Preparing %s for %d x %d pixels, once.", self.name, width, height)

        def write(folder: Path) -> None:
            # Else the cache would give another model's graph to whoever has the weights of the start.
            if model_digest(self._model) != self._model_sha256:
                raise ValueError(
                    f"the weights of {self._model.config.name} have changed since this runtime was made, and "
                    f"its graphs hold those of the start. Make a new Predictor, or use the runtime eager."
                )
            self._export(self._model, self.format, size_hw, folder)

        try:
            place = self._cache.add(key, write)
            self._rehearse(place)
            return self._load(place)
        except OSError as error:
            _log.warning(
                "Graphs cannot be kept in %s (%s), so every start makes them anew; set KTB_CACHE.",
                self._cache.folder,
                error,
            )
        with tempfile.TemporaryDirectory(prefix="ktb-", ignore_cleanup_errors=True) as place:
            folder = Path(place) / "graph"
            folder.mkdir()
            write(folder)
            self._rehearse(folder)
            return self._load(folder)


def environment_of_library() -> dict[str, str]:
    """Variables for a new process that finds this library, wherever it is started."""
    homes = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, homes))}
