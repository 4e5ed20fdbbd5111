"""How shares are written: one rule for page, report and figure."""

from __future__ import annotations

import math

import pytest

from ktb.utils.text import percent


@pytest.mark.parametrize(
    ("share", "decimals", "text"),
    [
        (0, 1, "0.0 %"),
        (0.0004, 1, "≤ 0.1 %"),
        (0.001, 1, "0.1 %"),
        (0.5, 1, "50.0 %"),
        (0.9995, 1, "≥ 99.9 %"),
        (1, 1, "100.0 %"),
        (0, 0, "0 %"),
        (0.004, 0, "≤ 1 %"),
        (0.256, 0, "26 %"),
        (0.996, 0, "≥ 99 %"),
        (1, 0, "100 %"),
        (0.00001, 2, "≤ 0.01 %"),
        (math.nan, 1, "–"),
    ],
)
def test_a_little_is_not_nothing_and_nearly_all_is_not_all(share, decimals, text):
    assert percent(share, decimals) == text
