"""Ends of the colour scales that maps are drawn with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MIN_HALF_RANGE = 0.1  # balance maps flatter than ±this look flat, as they are


def clipped_range(
    values: np.ndarray, percentiles: tuple[float, float] = (1, 99), centre: float | None = None
) -> tuple[float, float, float]:
    """Ends of a colour scale that a few outliers do not stretch.

    Args:
        values: any shape; what is not finite is left out.
        percentiles: of the values, lower and upper end.
        centre: the scale reaches equally far to both sides of it, as far as the farther percentile.

    Returns:
        low < high, and the share of the finite values outside them, 0..1.

    Raises:
        ValueError: for percentiles that are not 0 <= low < high <= 100.
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
    if high <= low:  # a scale needs two ends; a constant map lies in the middle
        margin = max(abs(low), 1.0) * 1e-6
        low, high = low - margin, high + margin
    clipped = float(((finite < low) | (finite > high)).mean())
    return low, high, clipped


def balance_range(balances: Sequence[np.ndarray]) -> float:
    """Half the colour range of balance maps that are drawn in one scale, symmetric around 0.5; 0.1..0.5.

    In none of the maps does more than 1 % of the values lie beyond, however small it is beside the others:
    the range is that of the map that reaches farthest. `balance_rule` says so.
    """
    reach = max(clipped_range(np.abs(balance - 0.5), (1, 99))[1] for balance in balances)
    return float(np.clip(reach, MIN_HALF_RANGE, 0.5))


def balance_rule(map_name: str = "level") -> str:
    """`balance_range` in words, for captions; `map_name` is what each of the maps shows."""
    return f"the 99th percentile of the {map_name} that reaches farthest from 0.5, at least ±{MIN_HALF_RANGE}"


def common_range(maps: Sequence[np.ndarray]) -> tuple[float, float]:
    """Ends of a colour scale for several maps: the lowest 1st and the highest 99th percentile of a map."""
    lows, highs, _ = zip(*map(clipped_range, maps))
    return min(lows), max(highs)
