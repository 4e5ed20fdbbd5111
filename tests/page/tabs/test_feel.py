"""How the page feels: on a phone, at the keyboard, in light and dark, and when a result arrives."""

from __future__ import annotations

import pytest
from helpers.page.browsing import VIEWER, new_tab, run, wait_for_ablations
from helpers.pairs import write_pair

TABS = ("Inspect", "What if", "Evaluate", "How it works")
PARTS = ("Ground truth", "Another checkpoint", "Video")
"""Tabs within Evaluate."""
FAINT = """() => {
  const parse = (color) => [...color.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
  const line = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * line(r) + 0.7152 * line(g) + 0.0722 * line(b);
  const behind = (item) => { const layers = [];
    for (; item; item = item.parentElement) {
      layers.push(parse(getComputedStyle(item).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]); };
  const found = [];
  for (const item of document.querySelectorAll('#ktb-head *, #ktb-tabs *, #ktb-foot *, #ktb-run')) {
    const own = [...item.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !item.offsetWidth || item.closest('svg, [disabled]')) continue;
    if (!item.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(item), ground = behind(item);
    const [a, b] = [light(over(parse(style.color), ground)), light(ground)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05), large = parseFloat(style.fontSize) >= 24;
    if (contrast < (large ? 3 : 4.5)) found.push(`${contrast.toFixed(2)} ${item.textContent.slice(0, 40)}`);
  }
  return found;
}"""
"""Texts whose contrast is below what WCAG 2.2 asks for at level AA."""
FOCUSED = """() => { const item = document.activeElement, style = getComputedStyle(item);
  const label = item.closest('label'), around = label && getComputedStyle(label);
  const ring = (s) => (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none';
  return [item.closest('[id^=ktb-]')?.id ?? '', item.className.split(' ')[0], item.textContent.trim(),
          ring(style) || Boolean(around && ring(around))]; }"""

HEIGHTS = """(place) => { const seen = window.heights = new Set(), item = document.querySelector(place);
  const look = () => { if (seen !== window.heights) return;
    seen.add(item.offsetHeight); requestAnimationFrame(look); }; look(); }"""
"""Note every height that a place has from now on, until another place is watched."""


PLACES = {"#ktb-rgb": "Inspect", "#ktb-x": "Inspect", "#ktb-recording": "Video", "#ktb-x-video": "Video"}


@pytest.fixture(scope="module")
def visitor(context, address, tmp_path_factory):
    """A function (width) → a new page and files for its places."""
    opened = []

    def open_page(width: int):
        tab = new_tab(context, f"{address}?__theme=light", width, 844)
        opened.append(tab)
        folder = tmp_path_factory.mktemp("pair")
        rgb, x = write_pair(folder)
        video = folder / "day.mp4"
        video.write_bytes(rgb.read_bytes())
        return tab, dict(zip(PLACES, (rgb, x, video, video)))

    yield open_page
    for tab in opened:
        tab.close()


def give(tab, files) -> dict[str, list[int]]:
    """Give each place its file; place → all heights that it had meanwhile."""
    heights = {}
    for place, file in files.items():
        open_tab(tab, PLACES[place])
        tab.wait_for_selector(place)
        tab.evaluate(HEIGHTS, place)
        tab.set_input_files(f"{place} input[type=file]", str(file))
        tab.wait_for_selector(f"{place} :is(img, .file-preview)")
        tab.wait_for_timeout(300)
        heights[place] = tab.evaluate("[...heights]")
    open_tab(tab, "Inspect")
    return heights


@pytest.fixture(scope="module")
def desk(visitor):
    """A page with a result; how high its tab bar was before, and the faint texts of its first screen."""
    tab, files = visitor(1400)
    tab.add_style_tag(content="* { transition: none !important }")  # colours change at once
    tab.wait_for_selector(".progress-text", state="detached")  # a status that fades is faint
    tab.before = top_of_tabs(tab), faint_texts(tab)
    tab.heights = give(tab, files)
    run(tab)
    wait_for_ablations(tab)
    tab.wait_for_selector(".progress-text", state="detached")
    return tab


@pytest.fixture(scope="module")
def phone(visitor):
    """A narrow page with a result; the tabs that scrolled sideways before it."""
    tab, files = visitor(390)
    wide = too_wide(tab)
    tab.heights = give(tab, files)
    tab.wait_for_selector("#ktb-x-read img")
    tab.before = wide
    run(tab)
    wait_for_ablations(tab)
    return tab


def open_tab(tab, name: str) -> None:
    """A tab, or one within Evaluate; a narrow page may have it in a menu."""
    if name in PARTS:
        open_tab(tab, "Evaluate")
    place = "#ktb-evaluate" if name in PARTS else "#ktb-tabs"
    button = tab.get_by_role("tab", name=name, exact=True)
    menu = tab.locator(f"{place} .overflow-menu > button").last
    button.or_(menu).first.wait_for()
    if not button.count():
        menu.click()
        button = tab.locator(f"{place} .overflow-dropdown button", has_text=name)
    button.click()


def too_wide(tab) -> dict[str, int]:
    """The tabs that scroll sideways, and their widths."""
    widths = {}
    for name in (*TABS, *PARTS):
        open_tab(tab, name)
        widths[name] = tab.evaluate("document.documentElement.scrollWidth")
    return {name: width for name, width in widths.items() if width > tab.viewport_size["width"]}


def top_of_tabs(tab) -> float:
    return tab.evaluate("document.querySelector('#ktb-tabs').getBoundingClientRect().top + scrollY")


def test_a_phone_shows_every_tab_and_scrolls_none_sideways(phone):
    assert phone.before == {}
    assert too_wide(phone) == {}


def test_a_result_folds_the_inputs_of_a_phone_and_is_on_its_first_screen(phone):
    open_tab(phone, "Inspect")
    fold = phone.get_by_role("button", name="Use your own images")
    for is_open in (False, True, False):
        assert fold.get_attribute("aria-expanded") == str(is_open).lower()
        assert phone.locator("#ktb-run").is_visible() == is_open
        top = phone.evaluate("document.querySelector('.ktb-v canvas').getBoundingClientRect().top + scrollY")
        assert (top < 844) == (not is_open)
        fold.click()
    fold.click()
    pixels = phone.locator(".ktb-v-card"), phone.locator(".ktb-v-classes")
    card, classes = (place.bounding_box()["y"] for place in pixels)
    assert card < classes


def test_a_desk_shows_the_inputs_beside_the_result(desk):
    assert not desk.locator("#ktb-fold").is_visible()
    assert desk.locator("#ktb-run").is_visible()


def test_what_explains_the_colours_is_beside_images_that_lie_one_above_the_other(desk):
    open_tab(desk, "Inspect")
    first, second = (desk.locator(f"canvas[data-pane={name}]").bounding_box() for name in ("rgb", "x"))
    assert second["y"] > first["y"] + first["height"]
    for place in (".ktb-v-card", ".ktb-v-classes"):
        box = desk.locator(place).bounding_box()
        assert box["x"] > first["x"] + first["width"], place
        assert box["y"] < second["y"] + second["height"], place


PAINTED = """(place) => { const item = document.querySelector(place), style = getComputedStyle(item);
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number).slice(0, 3);
  return [style.backgroundColor, style.color].map(numbers); }"""
"""Background and text colour of an element."""


def test_only_the_sensors_are_blue_and_orange(desk):
    open_tab(desk, "Inspect")
    tab = "#ktb-tabs [role=tab][aria-selected=true]"
    for place, part in (("#ktb-run", 0), ("#ktb-source input:checked", 0), (tab, 0), (tab, 1)):
        color = desk.evaluate(PAINTED, place)[part]
        assert max(color) - min(color) < 45, place  # grey, at most bluish
    for sensor in ("rgb", "x"):
        box, _ = desk.evaluate(PAINTED, f".ktb-v input[data-sensor={sensor}]:checked")
        _, caption = desk.evaluate(PAINTED, f".ktb-v figcaption[data-sensor={sensor}]")
        assert box == caption
        assert max(box) - min(box) > 100


def test_the_sliders_of_what_if_lie_in_two_even_rows(desk):
    open_tab(desk, "What if")
    boxes = [one.bounding_box() for one in desk.locator("#ktb-change input[type=range]").all()]
    assert len(boxes) == 8
    assert len({round(box["x"]) for box in boxes}) == 4
    assert len({round(box["width"]) for box in boxes}) == 1


def faint_texts(tab) -> list[str]:
    """In light and in dark."""
    found = []
    for theme in ("light", "dark"):
        tab.evaluate("dark => document.body.classList.toggle('dark', dark)", theme == "dark")
        found += [f"{theme}: {text}" for text in tab.evaluate(FAINT)]
    tab.evaluate("document.body.classList.remove('dark')")
    return found


@pytest.mark.parametrize("width", ["desk", "phone"])
def test_a_place_keeps_its_height_while_a_file_is_given(request, width):
    found = request.getfixturevalue(width).heights
    assert {place: len(heights) for place, heights in found.items()} == dict.fromkeys(PLACES, 1), found


def test_the_tab_bar_stays_in_place_when_a_result_arrives(desk):
    before, _ = desk.before
    for name in TABS:
        open_tab(desk, name)
        assert top_of_tabs(desk) == before, name


def test_every_text_has_contrast_in_light_and_dark(desk):
    _, faint = desk.before
    assert faint == []
    for name in (*TABS, *PARTS):
        open_tab(desk, name)
        assert faint_texts(desk) == [], name


def test_the_keyboard_reaches_everything_and_shows_where_it_is(desk):
    open_tab(desk, "Inspect")
    desk.focus("#ktb-examples button")
    stops = []
    for _ in range(200):
        desk.keyboard.press("Tab")
        if desk.evaluate("document.activeElement === document.body"):
            break
        stops.append(desk.evaluate(FOCUSED))
    assert not [stop for stop in stops if not stop[3]]
    reached = {stop[0] for stop in stops}
    assert {"ktb-rgb", "ktb-source", "ktb-run", "ktb-tabs", "ktb-slot-inspect", "ktb-foot"} <= reached
    texts = {stop[2] for stop in stops}
    assert {*TABS, "Swap", "Fit", "PNG", "What did it react to?"} <= texts
    assert "ktb-download" in {stop[1] for stop in stops}


def test_escape_lets_go_of_the_inspected_pixel(desk):
    open_tab(desk, "Inspect")
    desk.focus(".ktb-v canvas[data-pane=rgb]")
    desk.keyboard.press("ArrowRight")
    assert desk.locator(".ktb-v-card [data-branch=fused]").is_visible()
    row, column = desk.evaluate(f"{VIEWER}.state.pixel")
    assert desk.inner_text(".ktb-v-status") == f"x {column}, y {row} is chosen. Click any other."
    desk.keyboard.press("Escape")
    assert desk.inner_text(".ktb-v-status") == "Click any pixel."
    assert desk.inner_text(".ktb-v-card .ktb-v-headline") == "Click any pixel."
    assert desk.evaluate(f"{VIEWER}.state.pixel") is None
