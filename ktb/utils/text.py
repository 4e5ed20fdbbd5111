"""How figures are written: measured ones are never rounded up, and a little is not written as nothing."""

from __future__ import annotations

import math


def rounded_down(value: float, decimals: int = 1) -> str:
    """The value with so many decimals, cut off below: 30.26 → "30.2"."""
    return f"{math.floor(value * 10**decimals) / 10**decimals:.{decimals}f}"


def percent(share: float, decimals: int = 1) -> str:
    """A share 0..1 in per cent, "–" for NaN; a little is not written as nothing: "under 0.1 %"."""
    if math.isnan(share):
        return "–"
    least = 10**-decimals
    if 0 < 100 * share < least:
        return f"under {least:g} %"
    if 100 - least < 100 * share < 100:
        return f"over {100 - least:g} %"
    return f"{100 * share:.{decimals}f} %"
