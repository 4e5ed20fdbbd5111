"""Words that explain themselves: short texts, and tips that stay on the screen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.embedded import small_service
from helpers.pairs import write_pair

import app
from app.glossary import TERMS, explain, term
from app.panels.branches import branches_panel, differences_panel
from app.panels.compare import compare_panel
from app.panels.ground_truth import truth_panel
from app.panels.result import PICTURES, classes_panel, footer, result_panel
from app.panels.what_if import sensors_panel, what_if_panel
from app.panels.x_input import x_panel
from ktb.analysis.counterfactual import Perturbation
from ktb.analysis.ground_truth import GroundTruth

APP = Path(app.__file__).parent
PAGE = """<style>:root {{ --font: sans-serif }} body {{ margin: 0 }} {css}</style><body>
<p style="margin:0">{first}</p>
<div id="pane" style="overflow:hidden;height:40px"><table style="width:100%"><tr>
<th>class</th><th style="text-align:right">{last}</th></tr></table></div>
<div style="position:fixed;bottom:0">{low}</div><script>{script}</script></body>"""


@pytest.mark.parametrize("word", TERMS)
def test_a_text_is_short_and_does_without_the_word(word):
    assert len(TERMS[word]) <= 160
    assert not re.search(rf"\b{re.escape(word)}\b", TERMS[word], re.IGNORECASE)


def test_a_phrase_explains_itself_once_and_the_rest_is_escaped():
    said = explain("a <logit> beside a logit", {"logit": "logit"})
    assert said == f"a &lt;{term('logit')}&gt; beside a logit"


@pytest.fixture(params=[390, 1440])
def words(request, browser):
    """Words at the edges of a screen and within a pane that cuts off what leaves it."""
    tab = browser.new_page(viewport={"width": request.param, "height": 700})
    shown = [term(word) for word in ("entropy", "logit", "balance")]
    tab.set_content(
        PAGE.format(
            css=(APP / "static" / "style.css").read_text(), script=(APP / "static" / "tips.js").read_text(),
            first=shown[0], last=shown[1], low=shown[2],
        )
    )  # fmt: skip
    yield tab
    tab.close()


def tip_is_whole(tab, word: str) -> bool:
    """Whether a word's tip is on the screen, with nothing cut off by what it lies in."""
    return tab.evaluate(
        """word => { const tip = document.querySelector(`[data-term="${word}"] .ktb-tip`);
        const box = tip.getBoundingClientRect();
        const shown = (x, y) => document.elementFromPoint(x, y) === tip; // false beyond the screen
        return box.width > 50 && shown(box.left + 3, box.top + 9) && shown(box.right - 3, box.bottom - 9);
        }""",
        word,
    )


def test_a_tip_stays_on_the_screen_on_hover_and_focus(words):
    for word in ("entropy", "logit", "balance"):
        tip = words.locator(f'[data-term="{word}"] .ktb-tip')
        assert not tip.is_visible()
        words.hover(f'[data-term="{word}"]')
        assert tip_is_whole(words, word), word
        words.mouse.move(200, 350)
        assert not tip.is_visible()
        words.keyboard.press("Tab")
        assert tip_is_whole(words, word), word
        assert words.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_escape_hides_a_tip_until_the_word_is_left(words):
    tip = words.locator('[data-term="entropy"] .ktb-tip')
    words.keyboard.press("Tab")
    assert tip.is_visible()
    words.keyboard.press("Escape")
    assert not tip.is_visible()
    words.keyboard.press("Tab")
    words.keyboard.press("Shift+Tab")
    assert tip.is_visible()


def test_one_tip_shows_at_a_time(words):
    words.hover('[data-term="entropy"]')
    words.focus('[data-term="logit"]')
    assert words.locator(".ktb-tip:visible").count() == 1
    assert tip_is_whole(words, "logit")


def test_the_pointer_can_go_from_a_word_to_its_tip(words):
    words.hover('[data-term="entropy"]')
    words.hover('[data-term="entropy"] .ktb-tip')
    assert words.locator('[data-term="entropy"] .ktb-tip').is_visible()


TECHNICAL = {
    r"\bIoU\b": {"IoU", "mean IoU"},
    r"\bconf(\.|idence\b)": {"confidence"},
    r"\b[Ee]ntropy\b": {"entropy", "class entropy"},
    r"\b[Bb]alance\b": {"balance"},
    r"\battention\b": {"attention"},
    r"\bprompts\b": {"prompts"},
    r"\bzero tokens\b": {"zero tokens"},
    r"\bagreement\b": {"agreement"},
    r"\bpixel accuracy\b": {"pixel accuracy"},
    r"\bencoding\b": {"encoding"},
    r"\bheads\b": {"segmentation head"},
}
"""Pattern of a technical word → the words of the glossary that may explain it."""


@pytest.fixture(scope="module")
def panels(tmp_path_factory) -> dict[str, str]:
    """The HTML of the panels by name."""
    rgb, x = write_pair(tmp_path_factory.mktemp("pair"), 64, 96)
    service = small_service()
    first, second = service.models[:2]
    a, b = (service.segment(str(rgb), str(x), model) for model in (first, second))
    alone = service.segment(str(rgb), None, first, source="none")
    seen = a.prediction
    truth = GroundTruth(seen.labels["rgb"], "true.png", "as stored")
    shown = {f"result: {key}": result_panel(a, key) for key in PICTURES}
    return shown | {
        "result without X": result_panel(alone, "x_head"),
        "classes": classes_panel(a),
        "differences": differences_panel(a),
        "differences without X": differences_panel(alone),
        "branches": branches_panel(a),
        "what if": what_if_panel(a, Perturbation(darken=0.5), b.prediction),
        "each sensor": sensors_panel(a, b.prediction, alone.prediction),
        "compare": compare_panel(a, b),
        "truth": truth_panel(a, truth),
        "truth without X": truth_panel(alone, truth),
        "x input": x_panel(a.x),
        "footer": footer(a),
    }


def test_every_technical_word_on_a_panel_explains_itself_once(panels):
    for name, text in panels.items():
        explained = re.findall(r'data-term="([^"]+)"', text)
        below = re.findall(r'data-term="([^"]+)"', re.sub(r'<div class="ktb-warn.*?</div>', "", text))
        assert len(below) == len(set(below)), name
        visible = re.sub(r"<[^>]*>", " ", re.sub(r'<small class="ktb-tip".*?</small>', "", text))
        for pattern, words in TECHNICAL.items():
            found = re.search(pattern, visible)
            assert not found or words & set(explained), f"{name}: {found[0]}"


def test_no_meaning_hides_in_a_title_that_only_a_mouse_shows(panels):
    for name, text in panels.items():
        said = re.findall(r'<(?!button)\w+[^>]* title="([^"]*)"', text)
        assert not said, name
