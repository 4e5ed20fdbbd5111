"""Inspection of one prediction; costly maps are computed on first access and cached."""

from __future__ import annotations

import threading

from ktb.analysis.types import LevelMaps, PixelShares, PixelView, at_of_pixel
from ktb.inference.prediction import Prediction


class Inspection:
    """Inspect one prediction; thread-safe.

    Args:
        prediction: a prediction with a trace.

    Raises:
        ValueError: the prediction has no trace.
    """

    def __init__(self, prediction: Prediction) -> None:
        if not prediction.trace:
            raise ValueError(
                f"the prediction of {prediction.model!r} has no trace: its fusion is a plain mean, or it ran "
                f"with trace=False. Run a model with DSCF fusion and trace=True."
            )
        self.prediction = prediction
        self.trace = prediction.trace
        self.x_is_missing = prediction.x.origin == "missing"
        self._maps: dict[int, LevelMaps] = {}
        self._locks = tuple(threading.Lock() for _ in self.trace)

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.trace)

    def maps(self, level: int) -> LevelMaps:
        """All maps of a level; ValueError for a level that does not exist."""
        if not 0 <= level < self.levels:
            raise ValueError(f"level {level} does not exist: the trace has levels 0 to {self.levels - 1}.")
        from ktb.analysis.maps import level_maps  # torch takes more than a second to import

        with self._locks[level]:
            if level not in self._maps:
                prompts = self.prediction.prompts
                self._maps[level] = level_maps(
                    self.trace[level],
                    level,
                    self.prediction.network_hw,
                    prompts and prompts[level],
                    self.x_is_missing,
                )
            return self._maps[level]

    def all_maps(self) -> tuple[LevelMaps, ...]:
        """Maps of all levels, finest first."""
        return tuple(self.maps(level) for level in range(self.levels))

    @property
    def computed(self) -> list[LevelMaps]:
        """Maps computed so far, unordered."""
        return list(self._maps.values())

    def pixel(self, level: int, at: tuple[float, float], head: int | None = None) -> PixelView:
        """`inspect_pixel` of this prediction at (y, x), given as fractions 0..1 of the RGB image."""
        from ktb.analysis.pixel import inspect_pixel

        return inspect_pixel(self.trace, level, at, head, self.x_is_missing)

    def shares(self, at: tuple[float, float]) -> list[PixelShares]:
        """`pixel_shares` of this prediction: per level, the sources of the pixel's fused feature."""
        from ktb.analysis.pixel import pixel_shares

        return pixel_shares(self.trace, at, self.x_is_missing)

    def at(self, pixel: tuple[float, float]) -> tuple[float, float]:
        """Fractions (y, x) of the RGB image for a pixel."""
        return at_of_pixel(pixel, self.prediction.size_hw)
