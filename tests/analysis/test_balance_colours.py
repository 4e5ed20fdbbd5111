"""One rule for the colours of balance maps: viewer, report and figure show the same run alike."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from helpers.embedded import small_service
from helpers.inspections import with_maps

from ktb.analysis.color_range import balance_range, balance_rule, common_range, map_scale
from ktb.outputs.figure import figure_bytes
from ktb.outputs.report import report_html
from ktb.utils.text import percent

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"


@pytest.fixture(scope="module")
def result():
    photo, depth = EXAMPLES / "bedroom_rgb.png", EXAMPLES / "bedroom_depth.png"
    return small_service().segment(str(photo), str(depth), "ktb-lite-nyuv2-depth")


def words_of(markup: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", markup).split())


RANGE = """([name, level, head]) => {
  const viewer = document.getElementById("ktb-viewer").ktbViewer;
  viewer.set({ overlay: `map.${name}`, level, head });
  const { low, high } = viewer.mapValues(name).range;
  return [low, high];
}"""


def test_viewer_report_and_figure_have_the_same_ends_and_say_the_same_rule(result, browser, tmp_path):
    levels = result.inspection.all_maps()
    half = balance_range([level.balance for level in levels])
    low, high = f"{0.5 - half:.2f}", f"{0.5 + half:.2f}"
    scale = map_scale("balance", levels)
    assert (scale.low, scale.high) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-6)
    assert scale.rule == balance_rule()

    text = report_html(result.rgb, result.prediction, inspection=result.inspection)
    report = words_of(re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
    assert f"{low} RGB image" in report
    assert f"X {high}" in report
    assert balance_rule() in report

    drawn = figure_bytes(result.rgb, result.prediction, "svg", inspection=result.inspection)
    figure = words_of(drawn.decode())
    assert f"colours from {low} to {high}, {balance_rule()}" in figure

    (tmp_path / "report.html").write_text(text)
    tab = browser.new_page()
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_selector("#ktb-viewer canvas")
    for name, kind, head in (
        ("balance", "balance", None),
        ("balance", "balance", 0),
        ("entropy", "entropy", None),
        ("importance_map", "importance", None),
        ("density_map", "density", None),
        ("sparse_share", "share", None),
        ("prompt_x", "prompt_x", None),
    ):
        scale = map_scale(kind, levels, head)
        for level in (0, 3):
            found = tab.evaluate(RANGE, [name, level, head])
            assert found == pytest.approx((scale.low, scale.high), abs=1e-4), name
    tab.close()


def test_a_small_level_is_not_clipped_by_a_large_one(result):
    flat, strong = np.full((120, 160), 0.5, np.float32), np.full((4, 5), 0.9, np.float32)
    first, *rest = result.inspection.all_maps()
    levels = [dataclasses.replace(level, balance=flat, head_balance=flat[None]) for level in (first, *rest)]
    levels[3] = dataclasses.replace(levels[3], balance=strong, head_balance=strong[None])
    scale = map_scale("balance", levels)
    assert scale.high == pytest.approx(0.9, abs=1e-5)
    assert scale.beyond(strong) == 0
    assert "none of this map lies beyond" in scale.describe(strong)


def test_the_share_beyond_is_that_of_the_map_shown_in_report_and_figure(result):
    """A small level can lie outside colours that hold nearly all values of all levels together."""
    levels = []
    for number, level in enumerate(result.inspection.all_maps()):
        beyond = np.full(level.balance.shape, 0.5, np.float32)
        beyond.flat[: beyond.size // 200 if number < 3 else 0] = 0.99  # half a hundredth of levels 0 to 2
        levels.append(dataclasses.replace(level, balance=beyond, head_balance=beyond[None]))
    scale = map_scale("balance", levels)
    shares = [f"{percent(scale.beyond(level.balance))}" for level in levels]
    assert shares[3] == "0.0 %"
    assert len(set(shares)) > 1
    shown = with_maps(result, levels)
    report = words_of(report_html(shown.rgb, shown.prediction, inspection=shown.inspection, viewer=False))
    for share in shares:
        said = "none of this map lies beyond" if share == "0.0 %" else f"{share} of this map lies beyond"
        assert report.count(said) == shares.count(share)
    drawn = figure_bytes(shown.rgb, shown.prediction, "svg", inspection=shown.inspection).decode()
    assert f"beyond them lie {', '.join(shares)} of the maps" in words_of(drawn)


def test_maps_of_one_scale_have_at_most_a_hundredth_of_each_beyond_an_end():
    made = np.random.default_rng(0)
    large, small = made.normal(0.3, 0.05, (100, 100)), made.normal(0.8, 0.05, (20, 20))
    low, high = common_range([large, small])
    for values in (large, small):
        assert (values < low).mean() <= 0.01
        assert (values > high).mean() <= 0.01
