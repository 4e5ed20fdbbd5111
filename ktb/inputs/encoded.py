"""What an encoder makes of a raw X input, still at X's own size."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from ktb.inputs.encoders.depth import DepthReading

Interpolation = Literal["nearest", "bilinear"]
HISTOGRAM_BINS = 64
_ENOUGH = 50_000  # values, for where most of them begin and end


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often values occur: counts (N,) int64 between edges (N + 1,), and their unit ("" for none)."""

    counts: np.ndarray
    edges: np.ndarray
    unit: str


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoder's answer.

    Attributes:
        image: (H, W) or (H, W, 3) float32 on the network's scale, 0..1 (the angle of polarization -1..1);
            NaN where nothing was measured.
        display: what people see: (H, W) float32 physical values, NaN in holes, or (H, W, 3) uint8 RGB.
        summary: the same in a few words without the file's name, such as "voxel grid of 3,120 events".
        facts: title -> text, for the panel, most important first.
        histogram: of the physical values, or None.
        interpolation: how image and display may be resized.
        notes: sentences that a user must see.
        depth: the `ktb.inputs.encoders.depth.DepthReading`, for depth.
        far_is_bright: whether a large value of a one-channel display is drawn bright.
    """

    image: np.ndarray
    display: np.ndarray
    summary: str
    facts: Mapping[str, str]
    histogram: Histogram | None = None
    interpolation: Interpolation = "bilinear"
    notes: tuple[str, ...] = ()
    depth: "DepthReading | None" = None
    far_is_bright: bool = field(default=True)


def histogram(values: np.ndarray, unit: str = "", bins: int = HISTOGRAM_BINS) -> Histogram | None:
    """Counts of the finite values between their 0.5th and 99.5th percentile; None if there are none."""
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = ends(values, 0.5, 99.5)
    scale = max(abs(low), abs(high))
    if high - low <= 1e-12 * scale:  # too narrow for as many edges
        low, high = low - max(0.5, 1e-6 * scale), high + max(0.5, 1e-6 * scale)
    if not np.isfinite(high - low):
        return None
    counts, edges = np.histogram(values, bins, (low, high))
    return Histogram(counts, edges, unit)


def ends(values: np.ndarray, lower: float, upper: float) -> tuple[float, float]:
    """Two percentiles of finite values (N,), of evenly taken ones where there are many."""
    taken = values[:: max(1, values.size // _ENOUGH)].astype(np.float64)
    low, high = np.percentile(taken, (lower, upper)).tolist()
    return low, high


def to_bytes(image: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3) on the 0..1 scale as a (H, W, 3) uint8 picture; NaN becomes black."""
    scaled = np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    return np.repeat(scaled[..., None], 3, axis=-1) if scaled.ndim == 2 else scaled
