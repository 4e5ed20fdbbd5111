"""How measured figures are written: never rounded up."""

from __future__ import annotations

import math


def rounded_down(value: float, decimals: int = 1) -> str:
    """The value with so many decimals, cut off below: 30.26 → "30.2"."""
    return f"{math.floor(value * 10**decimals) / 10**decimals:.{decimals}f}"
