"""How figures are written (measured ones never rounded up), cells of tables, and the nearest of names."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def rounded_down(value: float, decimals: int = 1) -> str:
    """The value with so many decimals, cut off below: 30.26 → "30.2"."""
    return f"{math.floor(value * 10**decimals) / 10**decimals:.{decimals}f}"


def percent(share: float, decimals: int = 1) -> str:
    """A share 0..1 in per cent, "–" for NaN; a little is not written as nothing: "≤ 0.1 %"."""
    if math.isnan(share):
        return "–"
    least = 10**-decimals
    if 0 < 100 * share < least:
        return f"≤ {least:g} %"
    if 100 - least < 100 * share < 100:
        return f"≥ {100 - least:g} %"
    return f"{100 * share:.{decimals}f} %"


def as_text(cell: str) -> str:
    """A text that no spreadsheet takes for a formula: an apostrophe goes before =, +, -, @, tab and the like.

    Names of files come from visitors, and a table may be opened by somebody else.
    """
    return f"'{cell}" if cell.lstrip(" ")[:1] in _FORMULA else cell


def did_you_mean(value: str, known: Iterable[str], dotted: bool = False) -> str:
    """ " Did you mean '...'?" for the known name most like `value`, "" if none is; it follows a full stop.

    dotted: the last part of a dotted name counts as well.
    """
    import difflib  # only where something is wrong: every command imports this module

    known = list(known)
    found = difflib.get_close_matches(value, known, 1)
    if not found and dotted:
        last = {name.rpartition(".")[2]: name for name in reversed(known)}
        found = [last[part] for part in difflib.get_close_matches(value.rpartition(".")[2], last, 1)]
    return f" Did you mean '{found[0]}'?" if found else ""


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts "frame2" before "frame10". Of a number 4,000 digits count, which is what Python reads."""
    parts = filter(None, re.split(r"([0-9]+)", name))
    return [(0, int(part[:4000]), "") if part[0] in "0123456789" else (1, 0, part) for part in parts]
