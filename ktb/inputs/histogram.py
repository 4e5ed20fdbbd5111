"""Histograms of an input's values, and conversion to bytes."""

from dataclasses import dataclass

import numpy as np

HISTOGRAM_BINS = 64
_ENOUGH = 50_000  # number of values for estimating percentiles
_COUNTED = 2**21  # number of values from which a subsample is counted


@dataclass(frozen=True, eq=False)
class Histogram:
    """A histogram: counts (N,) int64 between edges (N + 1,), and the values' unit ("" for none).

    Of millions of values the counts are those of a regular subsample.
    """

    counts: np.ndarray
    edges: np.ndarray
    unit: str


def histogram(values: np.ndarray, unit: str = "", bins: int = HISTOGRAM_BINS) -> Histogram | None:
    """Histogram of the finite values between their 0.5th and 99.5th percentile; None if there are none."""
    values = values.ravel()[:: max(1, values.size // _COUNTED)]
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = ends(values, 0.5, 99.5)
    scale = max(abs(low), abs(high))
    if high - low <= max(1e-12 * scale, 1e-300):  # too narrow for that many edges
        low, high = low - max(0.5, 1e-6 * scale), high + max(0.5, 1e-6 * scale)
    if not np.isfinite(high - low):
        return None
    # as np.float64, or edges of float32 values are float32, too few within a narrow range
    counts, edges = np.histogram(values, bins, (np.float64(low), np.float64(high)))
    return Histogram(counts, edges, unit)


def ends(values: np.ndarray, lower: float, upper: float) -> tuple[float, float]:
    """Two percentiles of finite values (N,), from a regular subsample if there are many."""
    taken = values[:: max(1, values.size // _ENOUGH)].astype(np.float64)
    low, high = np.percentile(taken, (lower, upper)).tolist()
    return low, high


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Convert (H, W) or (H, W, 3) in [0, 1] to an (H, W, 3) uint8 image; NaN becomes black."""
    scaled = np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=-1) if scaled.ndim == 2 else scaled
