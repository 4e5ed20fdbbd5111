"""Colours in HTML: their names, and small squares of them."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np


def hex_color(color: Sequence[int]) -> str:
    """ "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*(int(value) for value in color))


def swatch(color: Sequence[int], text: str = "") -> str:
    """A square of a colour, with a short text in black or white, whichever is easier to read on it."""
    linear = ((np.asarray(color[:3], float) / 255 + 0.055) / 1.055) ** 2.4
    ink = "#000" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "#fff"  # the same contrast to both
    wide = " ktb-numbered" if text else ""
    return (
        f'<span class="ktb-chip{wide}" style="background:{hex_color(color)};color:{ink}">'
        f"{html.escape(text)}</span>"
    )
