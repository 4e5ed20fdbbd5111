"""All maps and curves of one pair of images, with the runs that they need."""

from __future__ import annotations

from typing import get_args

import numpy as np
import torch

from ktb.analysis.faithfulness.curves import Curves, TokenRuns, integrated_gradients, token_curves
from ktb.analysis.faithfulness.forecast_maps import INDECISION, RELIANCE
from ktb.analysis.faithfulness.fusion_parts import CONTRIBUTION, contributions, recorded_features
from ktb.analysis.faithfulness.shapley import blank_logits, shapley_values
from ktb.analysis.faithfulness.study import ImageMaps, image_maps
from ktb.analysis.inspection import Inspection
from ktb.inference.prediction import Drop
from ktb.inference.predictor import Predictor
from ktb.inputs import AUTO, EncodedX, RawX, XOptions

SHAPLEY, GRADIENTS = "shapley", "integrated_gradients"
CURVE_MAPS = (RELIANCE, INDECISION, "balance", CONTRIBUTION, SHAPLEY)
"""Maps whose order the curves follow, where an image has them; beside integrated gradients."""


class PairMeasurement:
    """Measures pairs with one predictor: `PairMeasurement(predictor)(rgb, x)` → `ImageMaps`.

    Args:
        predictor: with the runtime "eager", because the contributions read the fusion's inputs.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._blank: dict[tuple[int, int], torch.Tensor] = {}

    def __call__(self, rgb: np.ndarray, x: RawX | EncodedX, options: XOptions = AUTO) -> ImageMaps:
        """Run a pair with both sensors and with each alone; "shapley" and the contributions are added."""
        run = self.predictor
        with recorded_features(run.model) as features:
            prediction = run(rgb, x, options=options)
        inspection = Inspection(prediction) if prediction.trace else None
        ablated = {drop: run(rgb, prediction.x, trace=False, drop=drop) for drop in get_args(Drop)}
        more = contributions(run.model, features, prediction) if prediction.trace else {"rgb": {}, "x": {}}
        size = prediction.network_hw
        if size not in self._blank:
            self._blank[size] = blank_logits(run, size)
        values = shapley_values(prediction, ablated, self._blank[size])
        more = {drop: maps | {SHAPLEY: values[drop]} for drop, maps in more.items()}
        return image_maps(prediction, inspection, ablated, more)

    def curves(
        self, rgb: np.ndarray, x: RawX | EncodedX, maps: ImageMaps, options: XOptions = AUTO
    ) -> dict[Drop, Curves]:
        """Deletion and insertion curves of a pair by `CURVE_MAPS` and integrated gradients, by sensor.

        Args:
            maps: of this pair.
        """
        reading = x if isinstance(x, EncodedX) else self.predictor.read(x, rgb.shape[:2], options)
        runs, found = TokenRuns(self.predictor, rgb, reading), {}
        for drop, named in maps.maps.items():
            orders = {name: named[name].reshape(runs.grid) for name in CURVE_MAPS if name in named}
            orders[GRADIENTS] = integrated_gradients(runs, drop)
            found[drop] = token_curves(runs, drop, orders)
        return found
