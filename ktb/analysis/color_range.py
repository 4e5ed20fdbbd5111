"""The maps of a level by name, their colour ranges, and how much of a map lies beyond them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np

from ktb.analysis.types import LevelMaps
from ktb.utils.text import percent
from ktb.visualize import Cmap, scalar_to_colors

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


@dataclass(frozen=True)
class ColorScale:
    """Colours of one or several maps that are seen together; page, report and figure use the same.

    Attributes:
        cmap, low, high: colour map, and the values of its first and last colour.
        rule: how the ends follow from the maps, for captions.
    """

    cmap: Cmap
    low: float
    high: float
    rule: str = ""

    def colors(self, values: np.ndarray) -> np.ndarray:
        """Colours (…, 3) uint8 RGB of values (…)."""
        return scalar_to_colors(values, self.low, self.high, self.cmap)

    def beyond(self, values: np.ndarray) -> float:
        """Share of a map's finite values outside the ends, 0..1; 0 without finite values."""
        finite = np.asarray(values, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        slack = 1e-6 * max(1.0, abs(self.low), abs(self.high))
        return (
            float(((finite < self.low - slack) | (finite > self.high + slack)).mean()) if finite.size else 0.0
        )

    def describe(self, values: np.ndarray, digits: int = 2) -> str:
        """The range and the share of this map's values beyond it, in one sentence without a full stop."""
        ends = f"colours from {self.low:.{digits}f} to {self.high:.{digits}f}"
        rule = f" ({self.rule})" if self.rule else ""
        return f"{ends}{rule}; {self.describe_beyond(values)}"

    def describe_beyond(self, values: np.ndarray) -> str:
        """The share of this map's values beyond the range, such as "1.3 % of this map lies beyond"."""
        share = self.beyond(values)
        return f"{percent(share)} of this map lies beyond" if share else "none of this map lies beyond"


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


def balance_scale(balances: Sequence[np.ndarray], map_name: str = "level") -> ColorScale:
    """Scale of balance maps that are seen together, by `balance_range`; `map_name` is what each shows."""
    half = balance_range(balances)
    return ColorScale("diverging", 0.5 - half, 0.5 + half, balance_rule(map_name))


def signed_scale(maps: Sequence[np.ndarray]) -> ColorScale:
    """Scale of signed maps, symmetric around 0 and as wide as the map that reaches farthest needs it."""
    high = max(clipped_range(values, centre=0.0)[1] for values in maps)
    rule = "the 1st or 99th percentile of the map that reaches farthest from 0"
    return ColorScale("signed", -high, high, rule)


MapKind = Literal["balance", "importance", "density", "entropy", "share", "prompt_rgb", "prompt_x"]
MIN_SPAN = 0.1  # maps flatter than this look flat, as they are
OF_X = frozenset({"balance", "prompt_x"})
"""Maps that describe X, which a run without X does not have."""


def _of_head(values: np.ndarray, head: int | None) -> np.ndarray:
    return values.mean(axis=0) if head is None else values[min(head, len(values) - 1)]


_VALUES: Mapping[str, Callable[[LevelMaps, int | None], np.ndarray | None]] = MappingProxyType(
    {
        "balance": lambda maps, head: _of_head(maps.head_balance, head),
        "importance": lambda maps, head: maps.importance_map,
        "density": lambda maps, head: maps.density_map,
        "entropy": lambda maps, head: _of_head(maps.entropy, head),
        "share": lambda maps, head: maps.sparse_share,
        "prompt_rgb": lambda maps, head: maps.prompt_rgb,
        "prompt_x": lambda maps, head: maps.prompt_x,
    }
)


def map_values(maps: LevelMaps, kind: MapKind, head: int | None = None) -> np.ndarray | None:
    """Values (h, w) of a map.

    Args:
        head: of balance and entropy; None for the mean over the heads. If it does not exist, the last one.

    Returns:
        None where the map does not exist: prompts of a model without them, and the maps in OF_X without X.
    """
    return None if maps.x_is_missing and kind in OF_X else _VALUES[kind](maps, head)


def map_scale(kind: MapKind, levels: Sequence[LevelMaps], head: int | None = None) -> ColorScale:
    """Colour scale of a map, one for all levels to compare them; too wide for noise to look like signal.

    `ColorScale.beyond` gives the share of each level's map outside it.
    """
    found = [values for maps in levels if (values := map_values(maps, kind, head)) is not None]
    if kind == "balance" and found:
        return balance_scale(found)
    low, high = common_range(found) if found else (0.0, 1.0)
    rule = "the lowest 1st and the highest 99th percentile of a level"
    if kind in ("importance", "density"):
        low, high, rule = 0.0, max(2.0, high), "0 and the highest 99th percentile of a level, at least 2"
    elif kind.startswith("prompt"):
        rule = f"0 and the highest 99th percentile of a level, at least {MIN_SPAN}"
        low, high = 0.0, max(MIN_SPAN, high)
    elif high - low < MIN_SPAN:
        low = min(max(0.0, (low + high - MIN_SPAN) / 2), 1 - MIN_SPAN)
        high, rule = low + MIN_SPAN, f"±{MIN_SPAN / 2:g} around the middle of the values"
    return ColorScale("sequential", low, high, rule)
