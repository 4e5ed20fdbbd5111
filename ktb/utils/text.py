"""Text helpers: numbers (never rounded up), cells of tables, suggestions for misspelt names, sorting."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def rounded_down(value: float, decimals: int = 1) -> str:
    """The value with a number of decimals, rounded down: 30.26 → "30.2"."""
    return f"{math.floor(value * 10**decimals) / 10**decimals:.{decimals}f}"


def rounded_up(value: float, decimals: int = 1) -> str:
    """The value with a number of decimals, rounded up, for errors: 2.03 → "2.1"."""
    return f"{math.ceil(value * 10**decimals) / 10**decimals:.{decimals}f}"


def percent(share: float, decimals: int = 1) -> str:
    """A fraction 0..1 in per cent, "–" for NaN; small values are not rounded to zero: "≤ 0.1 %"."""
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
    """ " Did you mean '...'?" with the known name most similar to `value`, or ""; follows a full stop.

    dotted: also compare with the last component of dotted names.
    """
    import difflib  # imported here because every command imports this module

    known = list(known)
    found = difflib.get_close_matches(value, known, 1)
    if not found and dotted:
        last = {name.rpartition(".")[2]: name for name in reversed(known)}
        found = [last[part] for part in difflib.get_close_matches(value.rpartition(".")[2], last, 1)]
    return f" Did you mean '{found[0]}'?" if found else ""


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Natural sort key: "frame2" before "frame10". Numbers are limited to 4,000 digits, as int() is."""
    parts = filter(None, re.split(r"([0-9]+)", name))
    return [(0, int(part[:4000]), "") if part[0] in "0123456789" else (1, 0, part) for part in parts]
