"""Colours in HTML: their names, and small squares of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

_SWATCH = Markup('<span class="ktb-chip{wide}" style="background:{color};color:{ink}">{text}</span>')


def hex_color(color: Sequence[int]) -> str:
    """ "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*(int(value) for value in color))


def swatch(color: Sequence[int], text: str = "") -> Markup:
    """A square of a colour, with a short text in black or white, whichever is easier to read on it."""
    linear = ((np.asarray(color[:3], float) / 255 + 0.055) / 1.055) ** 2.4
    ink = "#000" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "#fff"  # the same contrast to both
    wide = " ktb-numbered" if text else ""
    return _SWATCH.format(wide=wide, color=hex_color(color), ink=ink, text=text)
