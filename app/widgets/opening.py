"""The finished run of the first example, which a page opens on."""

from __future__ import annotations

import logging
import threading

from app.results import Result
from app.service import Service
from app.viewer import run_bytes
from app.widgets.examples import Offer
from ktb.analysis.counterfactual import Perturbation, predict_perturbed

_log = logging.getLogger(__name__)


class Opening:
    """Runs the first offered pair once, with each sensor ablated, for all visitors.

    Args:
        service: the models; on ZeroGPU, where a GPU is there only during a visitor's run, nothing is run.
        offer: the pairs that the page offers at its start.

    Attributes:
        result: the run; None before it was made, and where there is nothing to run.
        data: its compressed bundle.
    """

    def __init__(self, service: Service, offer: Offer):
        self._service, self._offer = service, offer
        self._lock, self._is_made = threading.Lock(), False
        self.result: Result | None = None
        self.data = b""

    def make(self) -> None:
        """Run the pair, if this was not done yet. A failure is logged: visitors then run it themselves."""
        with self._lock:
            if self._is_made or not self._offer.pairs or self._service.is_lent:
                return
            self._is_made = True
            try:
                self.result = self._run()
                self.data = run_bytes(self.result)
            except (ValueError, RuntimeError, MemoryError, OSError):
                self.result = None
                _log.exception("The first example could not be run at the start.")

    def _run(self) -> Result:
        pair, service = self._offer.pairs[0], self._service
        result = service.segment(str(pair.rgb), [str(pair.x)], service.default, self._offer.options)
        predictor = service.predictor(result.offered_as)
        for drop in ("x", "rgb"):
            change = Perturbation(drop=drop)
            result.ablated[drop] = predict_perturbed(predictor, change, result.rgb, result.prediction.x)
        return result
