"""Results of the page whose fusion shows what a test wants."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from app.results import Result
from ktb.analysis import Inspection, LevelMaps
from ktb.inference.prediction import Prediction


class Fixed(Inspection):
    """An inspection that finds the given maps."""

    def __init__(self, prediction: Prediction, views: Sequence[LevelMaps]):
        super().__init__(prediction)
        self.views = tuple(views)

    def maps(self, level: int) -> LevelMaps:
        return self.views[level]


def with_maps(result: Result, views: Sequence[LevelMaps]) -> Result:
    """The result with these maps of its levels, and nothing drawn yet."""
    return dataclasses.replace(result, inspection=Fixed(result.prediction, views))
