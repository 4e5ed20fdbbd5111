"""Compile in the background: a fallback runtime serves requests until the size's graph is ready."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from ktb.config import BRANCHES
from ktb.inference.runtimes.base import Runtime
from ktb.inference.runtimes.sessions import GraphRuntime
from ktb.modeling.model import KTBOutput

_log = logging.getLogger(__name__)


class BackgroundCompiled:
    """Run the graph of an input size if it is ready, else the fallback runtime `meanwhile`.

    The second call of a size starts the export of its graph in the background.
    """

    def __init__(self, graph: GraphRuntime, meanwhile: Runtime):
        self.graph, self.meanwhile = graph, meanwhile
        self.name, self.precision, self.why = graph.name, graph.precision, graph.why
        self._lock = threading.Lock()
        self._seen: set[tuple[int, int]] = set()
        self._exports: dict[tuple[int, int], Future] = {}
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ktb-export")

    def __call__(
        self,
        rgb: Tensor,
        modal_x: Tensor,
        mask_rgb: Tensor | None = None,
        mask_x: Tensor | None = None,
        trace: bool = False,
        branches: Sequence[str] = BRANCHES,
    ) -> KTBOutput:
        """Compute a batch as `ktb.inference.runtimes.Runtime`; the output's `runtime` names the one used."""
        chosen = self._choose(tuple(rgb.shape[-2:]))
        return chosen(rgb, modal_x, mask_rgb, mask_x, trace, branches)

    def _choose(self, size_hw: tuple[int, int]) -> Runtime:
        with self._lock:
            export = self._exports.get(size_hw)
            if export is not None:
                return self.graph if export.done() and export.exception() is None else self.meanwhile
            if self.graph.is_at_hand(size_hw):
                return self.graph
            if size_hw in self._seen:
                self._exports[size_hw] = self._worker.submit(self._prepare, size_hw)
            self._seen.add(size_hw)
            return self.meanwhile

    def _prepare(self, size_hw: tuple[int, int]) -> None:
        try:
            self.graph.prepare(size_hw)
        except Exception:
            _log.exception("%s cannot compute %s; %s stays in use.", self.name, size_hw, self.meanwhile.name)
            raise
