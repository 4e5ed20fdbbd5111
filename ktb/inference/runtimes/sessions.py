"""Runtimes for exported graphs: one session per input size, the most recent ones kept in memory."""

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
"""Upper bounds of the memory of one runtime's sessions, by the size of the weights."""
Arrays = Mapping[str, np.ndarray]
Session = Callable[[Arrays], Arrays]
Export = Callable[[KTB, Format, tuple[int, int], Path], object]
_log = logging.getLogger(__name__)


def export_apart(model: KTB, format: Format, size_hw: tuple[int, int], folder: Path) -> None:
    """Export a graph in a separate process.

    Exporting patches torch for the whole process while it runs and leaves much memory allocated; a separate
    process keeps both away from other threads that use the network.

    Raises:
        RuntimeError: the export failed; the message has the process's output.
    """
    height, width = size_hw
    with tempfile.TemporaryDirectory(prefix="weights-", dir=folder) as place:
        weights = Path(place) / "model.safetensors"
        save_model(weights, model, model.card)
        command = [sys.executable, "-m", "ktb", "export", "--model", str(weights), "--format", format]
        command += ["--size", f"{height}x{width}", "--out", str(folder)]
        command += ["--batch", "one" if format == "openvino" else "any"]
        ended = subprocess.run(command, env=environment_of_library(), capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"the network could not be exported to {format}: {ended.stderr.strip()[-2000:]}")


class GraphRuntime(ABC):
    """A runtime that exports one graph per input size, caches it on disk and runs it in a session.

    Graphs contain the weights that the model had at construction; later changes of the model have no effect.
    Construct a new runtime (or `ktb.Predictor`) for changed weights.

    Args:
        model: on the CPU.
        cache: cache of graphs; by default in the user's cache folder.
        export: function that exports a graph.

    Raises:
        ValueError: the model is not on the CPU, or a package is not installed.
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
        """Run the graph, see `ktb.inference.runtimes.Runtime`; the first call for a size exports its graph.

        Raises:
            ValueError: a graph must be exported, but the model's weights have changed since construction.
        """
        session = self._session(tuple(rgb.shape[-2:]))
        keep = keep_input(len(rgb), mask_rgb, mask_x)
        inputs = {"rgb": rgb, "modal_x": modal_x, "keep": keep}
        found = session({name: np.ascontiguousarray(t.float().numpy()) for name, t in inputs.items()})
        tensors = {name: torch.from_numpy(array) for name, array in found.items()}
        return to_output(self._model, tensors, trace, branches, self.name)

    def is_at_hand(self, size_hw: tuple[int, int]) -> bool:
        """Whether the graph of this size is available, so that a call need not wait for an export."""
        with self._lock:
            is_loaded = self._session_key(size_hw) in self._sessions
        return is_loaded or self._cache.find(self._key(size_hw)) is not None

    def prepare(self, size_hw: tuple[int, int]) -> None:
        """Export (if necessary) and load the graph of a size."""
        self._session(size_hw)

    def _rehearse(self, folder: Path) -> None:  # noqa: B027 (most have no need to)
        """Check that the graph in a folder can run on this machine; ValueError if not."""

    @abstractmethod
    def _load(self, folder: Path) -> Session:
        """Open a session for the graph in a folder; RuntimeError or ValueError for a damaged one."""

    def _session(self, size_hw: tuple[int, int]) -> Session:
        key = self._session_key(size_hw)
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:  # calls of this size wait; those of other sizes do not
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
                _log.warning("The graph in %s cannot be loaded (%s); it is exported again.", found, error)
                self._cache.forget(key)
        height, width = size_hw
        _log.info("Preparing %s for %d x %d pixels, once.", self.name, width, height)

        def write(folder: Path) -> None:
            # Otherwise the cache would store a graph of the new weights under the digest of the old ones.
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
                "Graphs cannot be cached in %s (%s), so every process exports them again; set KTB_CACHE.",
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
    """Environment variables for a new process, which can import this library from any folder."""
    homes = [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, homes))}
