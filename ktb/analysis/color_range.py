"""Colour ranges of maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MIN_HALF_RANGE = 0.1  # flatter balance maps are drawn as flat


def clipped_range(
    values: np.ndarray, percentiles: tuple[float, float] = (1, 99), centre: float | None = None
) -> tuple[float, float, float]:
    """Range of a colour scale that is robust to outliers.

    Args:
        values: any shape; values that are not finite are ignored.
        percentiles: lower and upper percentile of the values.
        centre: centre of a symmetric range that reaches to the farther percentile.

    Returns:
        low < high, and the fraction of the finite values outside them, 0..1.

    Raises:
        ValueError: the percentiles do not satisfy 0 <= low < high <= 100.
    """
    lower, upper = percentiles
    if not 0 <= lower < upper <= 100:
        raise ValueError(f"percentiles are {percentiles}; give two, the lower first, from 0 to 100.")
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return (0.0, 1.0, 0.0) if centre is None else (centre - 0.5, centre + 0.5, 0.0)
    low, high = (float(end) for end in np.percentile(finite, (lower, upper)))
    if centre is not None:
        reach = max(abs(low - centre), abs(high - centre))
        low, high = centre - reach, centre + reach
    if high <= low:  # a constant map gets the middle colour
        margin = max(abs(low), 1.0) * 1e-6
        low, high = low - margin, high + margin
    clipped = float(((finite < low) | (finite > high)).mean())
    return low, high, clipped


def balance_range(balances: Sequence[np.ndarray]) -> float:
    """Half the common colour range of balance maps, symmetric around 0.5; 0.1..0.5.

    The range is that of the map that reaches farthest, so that at most 1 % of the values of any map, also of
    a small one, lie outside. `balance_rule` describes the rule.
    """
    reach = max(clipped_range(np.abs(balance - 0.5), (1, 99))[1] for balance in balances)
    return float(np.clip(reach, MIN_HALF_RANGE, 0.5))


def balance_rule(map_name: str = "level") -> str:
    """Description of `balance_range` for captions; `map_name` is the content of the maps."""
    return f"the 99th percentile of the {map_name} that reaches farthest from 0.5, at least ±{MIN_HALF_RANGE}"


def common_range(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """Common colour range of several maps: the lowest 1st and the highest 99th percentile of a map."""
    lows, highs, _ = zip(*map(clipped_range, maps))
    return min(lows), max(highs)
