"""The fusion inspector in a real browser: what a click shows is what the trace says."""

from __future__ import annotations

import re

import pytest
from helpers.browsing import run, upload, watched_tab
from helpers.embedded import small_predictor
from helpers.inspections import DETAILS, SIZE, TABLE, assert_as_trace, inspect, shown
from helpers.pairs import synthetic_pair, write_pair

from app.glossary import TERMS
from ktb.analysis import Target, attribute_prediction, region_at
from ktb.analysis.types import at_of_pixel, cell_at


@pytest.fixture(scope="module")
def ran(context, address, tmp_path_factory):
    """The fusion tab of a page that ran the synthetic pair."""
    with watched_tab(context, address) as tab:
        upload(tab, *write_pair(tmp_path_factory.mktemp("pair")))
        run(tab)
        tab.get_by_role("tab", name="Fusion").click()
        tab.wait_for_selector("#ktb-pane-photo svg")
        yield tab


@pytest.fixture
def fusion(ran):
    """That tab as after the run: level 2, the mean over the heads, no pixel inspected, no question asked."""
    yield ran
    if ran.locator(DETAILS).count():
        ran.focus("#ktb-pane-photo img.ktb-view")
        ran.keyboard.press("Escape")
        ran.wait_for_selector("#ktb-details .ktb-hint")
    ran.locator("#ktb-level label").nth(2).click()
    ran.get_by_label("this pixel").check()
    if ran.input_value("#ktb-head-choice input") != (mean := "mean over the heads"):
        ran.click("#ktb-head-choice input")
        ran.get_by_role("option", name=mean).click()


def choose(tab, level: int | None = None, head: str | None = None) -> None:
    """Another level or head, and wait until the details say so."""
    if level is not None:
        tab.locator("#ktb-level label").nth(level).click()
        tab.wait_for_selector(f'{DETAILS}[data-level="{level}"]')
    if head is not None:
        tab.click("#ktb-head-choice input")
        tab.get_by_role("option", name=re.compile(rf"^head {head}\b")).click()
        tab.wait_for_selector(f'{DETAILS}[data-head="{head}"]')


def test_a_click_shows_the_points_and_weights_of_the_trace(fusion, expected):
    inspect(fusion, 0.31, 0.62)
    found = shown(fusion)
    assert abs(int(found["y"]) - 0.31 * SIZE[0]) <= 1
    assert abs(int(found["x"]) - 0.62 * SIZE[1]) <= 1
    assert (found["level"], found["head"]) == ("2", "mean")
    assert_as_trace(fusion, expected)
    marks = fusion.locator("#ktb-pane-photo .ktb-strong circle, #ktb-pane-photo .ktb-strong rect")
    assert marks.count() == 30  # each strong point is a rim and a disc
    assert fusion.locator("#ktb-pane-x .ktb-strong").count() == 15
    probabilities = expected.probabilities_at(int(found["y"]), int(found["x"]))
    for branch in ("fused", "rgb", "x"):
        top = fusion.eval_on_selector(
            f'.ktb-classes [data-branch="{branch}"] [data-class]',
            "e => [e.dataset.class, e.dataset.probability]",
        )
        assert int(top[0]) == probabilities[branch].argmax()
        assert float(top[1]) == pytest.approx(float(probabilities[branch].max()), rel=1e-4)
    assert fusion.foreign_requests == []


def test_a_click_on_a_drawn_point_inspects_the_pixel_below_it(fusion):
    inspect(fusion, 0.4, 0.3)
    fusion.wait_for_selector(TABLE)
    fusion.locator("#ktb-pane-photo").scroll_into_view_if_needed()
    x, y, row, column = fusion.evaluate("""() => {
      const pane = document.querySelector('#ktb-pane-photo');
      const box = pane.querySelector('img.ktb-view').getBoundingClientRect();
      const spot = pane.querySelector('.ktb-strong :is(circle, rect)').getBoundingClientRect();
      const x = spot.x + spot.width / 2, y = spot.y + spot.height / 2;
      return [x, y, (y - box.y) / box.height, (x - box.x) / box.width]; }""")
    wanted = int(row * SIZE[0]), int(column * SIZE[1])
    before = shown(fusion)
    fusion.mouse.click(x, y)
    fusion.wait_for_selector(f'{DETAILS}:not([data-y="{before["y"]}"][data-x="{before["x"]}"])')
    found = shown(fusion)
    assert abs(int(found["y"]) - wanted[0]) <= 1
    assert abs(int(found["x"]) - wanted[1]) <= 1


def test_a_click_asks_once_and_the_next_one_again(fusion):
    asked: list[str] = []
    fusion.on("request", lambda ask: asked.extend(re.findall(r'"(0\.\d{6},0\.\d{6})"', ask.post_data or "")))
    picture = fusion.locator("#ktb-pane-photo img.ktb-view")
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    for count, x in enumerate((0.3, 0.6, 0.6), start=1):
        fusion.mouse.click(box["x"] + x * box["width"], box["y"] + 0.4 * box["height"], delay=50)
        fusion.wait_for_timeout(300)
        assert len(asked) == count, "the button's release says nothing new"
    assert asked[0] != asked[1] == asked[2]


def test_the_point_stays_when_level_or_head_changes_and_goes_with_a_new_run(fusion, expected):
    inspect(fusion, 0.7, 0.2, "x")
    pixel = {key: shown(fusion)[key] for key in ("y", "x")}
    choose(fusion, level=1, head="2")
    assert {key: shown(fusion)[key] for key in ("y", "x")} == pixel
    assert_as_trace(fusion, expected)
    choose(fusion, level=3)
    assert {key: shown(fusion)[key] for key in ("y", "x")} == pixel
    assert shown(fusion)["head"] == "2", "level 3 has a head of this number too"
    assert_as_trace(fusion, expected)
    assert fusion.locator("#ktb-pane-photo .ktb-mark").is_visible()
    fusion.click("#ktb-run")
    fusion.wait_for_selector("#ktb-details .ktb-hint")
    fusion.wait_for_selector("#ktb-pane-photo .ktb-mark", state="hidden")


def test_the_marker_is_where_the_click_was_on_every_picture(fusion):
    inspect(fusion, 0.25, 0.75, "map")
    for pane in ("photo", "x", "map"):
        picture = fusion.locator(f"#ktb-pane-{pane} img.ktb-view").bounding_box()
        mark = fusion.locator(f"#ktb-pane-{pane} .ktb-mark").bounding_box()
        over = fusion.locator(f"#ktb-pane-{pane} .ktb-over").bounding_box()
        assert mark["y"] + mark["height"] / 2 - picture["y"] == pytest.approx(
            0.25 * picture["height"], abs=1.5
        )
        assert mark["x"] + mark["width"] / 2 - picture["x"] == pytest.approx(0.75 * picture["width"], abs=1.5)
        for side in ("x", "y", "width", "height"):
            assert over[side] == pytest.approx(picture[side], abs=1.5), "what is drawn lies on the picture"


def test_arrow_keys_move_by_one_position_of_the_level(fusion, expected):
    inspect(fusion, 0.5, 0.5)
    rows_, columns = expected.trace[2].query_hw
    before = cell_at((rows_, columns), at_of_pixel((int(shown(fusion)["y"]), int(shown(fusion)["x"])), SIZE))
    fusion.focus("#ktb-pane-photo img.ktb-view")
    fusion.keyboard.press("ArrowRight")
    fusion.wait_for_selector(f"{DETAILS} >> text=position ({before[0]}, {before[1] + 1})")
    fusion.keyboard.press("ArrowUp")
    fusion.wait_for_selector(f"{DETAILS} >> text=position ({before[0] - 1}, {before[1] + 1})")
    assert_as_trace(fusion, expected)


def test_a_drag_ends_where_the_pointer_is_released(fusion, expected):
    inspect(fusion, 0.2, 0.2)
    box = fusion.locator("#ktb-pane-photo img.ktb-view").bounding_box()
    fusion.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
    fusion.mouse.down()
    for step in range(1, 21):
        place = 0.2 + 0.03 * step
        fusion.mouse.move(box["x"] + place * box["width"], box["y"] + place * box["height"])
    fusion.mouse.up()
    fusion.wait_for_selector(
        f'{DETAILS}[data-y="{int(0.8 * SIZE[0])}"], {DETAILS}[data-y="{int(0.8 * SIZE[0]) - 1}"]'
    )
    assert abs(int(shown(fusion)["x"]) - 0.8 * SIZE[1]) <= 1
    assert_as_trace(fusion, expected)


def test_every_map_can_be_chosen(fusion):
    seen = set()
    for name in ("Point importance", "Sampling density", "Offsets (arrows)", "Modality weight of points",
                 "Attention entropy", "Share through attention", "Prompts to X", "Balance"):  # fmt: skip
        fusion.click("#ktb-map input")
        fusion.get_by_role("option", name=name).click()
        fusion.wait_for_selector(f"#ktb-pane-map figcaption >> text={name}")
        seen.add(fusion.inner_html("#ktb-pane-map figure"))
    assert len(seen) == 8
    fusion.click("#ktb-heads button")
    fusion.wait_for_selector('#ktb-heads img[alt="balance of head 15 at level 3"]')
    assert fusion.locator("#ktb-heads img").count() == 30


def test_what_a_pixel_reacts_to_stands_beside_what_switching_off_does(fusion, expected):
    fusion.click("#ktb-attribute")
    fusion.wait_for_selector("#ktb-attribution >> text=Click a pixel")
    inspect(fusion, 0.6, 0.4)
    fusion.click("#ktb-attribute")
    fusion.wait_for_selector(".ktb-attribution")
    found = shown(fusion)
    best = expected.probabilities_at(int(found["y"]), int(found["x"]))["fused"].argmax()
    score = fusion.get_attribute(".ktb-attribution", "data-score")
    assert f"({found['y']}, {found['x']})" in score
    assert expected.classes[best] in score
    for alt in ("rgb attribution", "x attribution"):
        assert fusion.locator(f'.ktb-attribution img[alt="{alt}"]').is_visible()
    text = fusion.inner_text(".ktb-attribution")
    assert "when X is ablated" in text
    assert "when the RGB image is ablated" in text
    shares = [int(value) for value in re.findall(r"(\d+) % of the sensitivity", text)]
    assert sum(shares) in (99, 100, 101)
    assert fusion.foreign_requests == []


def test_that_an_attribution_waits_is_said_over_nothing(fusion):
    status, maps = "#ktb-attribution-waiting > [data-testid=status-tracker]", "#ktb-all-levels"
    fusion.wait_for_selector(f"{maps} img")
    fusion.eval_on_selector(status, "place => place.classList.remove('hide')")  # as while it waits
    waits, below = (fusion.locator(place).bounding_box() for place in (status, maps))
    assert waits["height"] >= 96
    fusion.eval_on_selector(status, "place => place.classList.add('hide')")
    assert waits["y"] + waits["height"] <= below["y"]


@pytest.mark.parametrize(
    ("about", "button"),
    [("its region", "What did this region react to?"), ("its whole class", "What did this class react to?")],
)
def test_a_region_and_a_class_are_attributed_as_in_python(fusion, expected, about, button):
    inspect(fusion, 0.6, 0.4)
    labels, at = expected.labels["fused"], (int(shown(fusion)["y"]), int(shown(fusion)["x"]))
    index, region = int(labels[at]), region_at(labels, at)
    fusion.get_by_label(about).check()
    fusion.click(f"#ktb-attribute:text('{button}')")
    fusion.wait_for_selector(f".ktb-attribution >> text={button}")
    target = (
        Target("region", region=region, class_index=index)
        if about == "its region"
        else Target("class", class_index=index)
    )
    predictor = small_predictor("ktb-lite-nyuv2-depth")
    wanted = attribute_prediction(predictor, synthetic_pair()[0], expected.x, target)
    told = fusion.eval_on_selector(".ktb-attribution", "e => ({...e.dataset})")
    assert told["score"] == wanted.score
    for name in ("value", "total_rgb", "total_x", "share_x", "without_rgb", "without_x"):
        key = re.sub("_(.)", lambda found: found[1].upper(), name)
        assert float(told[key]) == pytest.approx(getattr(wanted, name), rel=1e-3, abs=1e-3), name
    area = region if about == "its region" else labels == index
    assert f"{expected.classes[index]}, {area.sum():,} pixels" in fusion.inner_text(".ktb-attribution h4")


def test_technical_words_explain_themselves_at_the_keyboard_once_per_panel(fusion):
    inspect(fusion, 0.31, 0.62)
    panels = {
        "#ktb-details": {"level", "head", "attention", "balance", "effective points", "entropy",
                         "share through attention", "context", "residual", "segmentation head"},
        "#ktb-table": {"head", "attention", "modality weight", "led by"},
        "#ktb-pane-map": {"balance"},
        "#ktb-all-levels": {"balance", "level"},
        "#ktb-honesty": {"level", "balance", "entropy", "effective points", "share through attention",
                         "attention", "context", "residual"},
    }  # fmt: skip
    for panel, words in panels.items():
        found = fusion.eval_on_selector_all(f"{panel} .ktb-term", "all => all.map(e => e.dataset.term)")
        assert sorted(found) == sorted(words), panel
        for word in words:
            term = fusion.locator(f'{panel} [data-term="{word}"]')
            tip = term.locator(".ktb-tip")
            assert not tip.is_visible()
            term.focus()
            assert tip.is_visible(), (panel, word)
            assert tip.inner_text() == TERMS[word]
    assert fusion.locator("#ktb-fusion :is(th, div)[title]").count() == 0, "a title shows to a mouse only"
