"""The words that the page uses are explained in a tab; test_lazy_tabs looks at it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ktb.outputs
from app.tabs.how_it_works import TERMS

STRINGS = (Path(ktb.outputs.__file__).parent / "viewer" / "strings.js").read_text(encoding="utf-8")
TECHNICAL = {
    r"\bX\b": "X", r"\bLevel\b": "Level", r"\bAttention head\b": "Attention head", r"\bbalance\b": "Balance",
    r"\bweight of X\b": "Weight of X", r"\bled by\b": "Led by", r"\bShare through attention\b":
    "Share through attention", r"\bAttention entropy\b": "Attention entropy", r"\bPrompts\b": "Prompts",
    r"\bAUROC\b": "AUROC", r"\bpoints\b": "Sampling points",
}  # fmt: skip
"""Pattern of a word that the viewer shows → its name in the list."""


@pytest.mark.parametrize("word", TERMS)
def test_a_text_is_short(word):
    assert 20 <= len(TERMS[word]) <= 240
    assert TERMS[word].endswith(".")


def test_the_words_of_the_viewer_are_explained():
    for pattern, word in TECHNICAL.items():
        assert re.search(pattern, STRINGS), f"{pattern}: the viewer no longer says it"
        assert word in TERMS
