"""Time every control of the page that only redraws, on the server and up to the painted change.

    python -m tools.bench_page.control_times --uses 20 --out times.json

Starts the page in its own process, opens Chromium, runs an example, and uses each control `--uses` times.
Reports three times in milliseconds per control: of the handler on the server, from the request to the start
of the response, and from the visitor's input to the painted change. Exit code 1 if the median of the last is
above the limit for a control that only draws; controls that run the network or make a file are reported
separately.

A virtual machine may temporarily get less CPU time: the last line reports how slow it was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

from tools.bench_page.many_users import ARGS, CHROMIUM, server
from tools.bench_page.stopwatch import (
    BROWSER,
    DRAWS,
    SPY,
    WAIT_MS,
    WORK,
    Change,
    Stopwatch,
    table,
)

LIMIT_MS = 150
MAPS = (
    "Point importance", "Sampling density", "Offsets (arrows)", "Modality weight of points",
    "Attention entropy", "Share through attention", "Prompts to the RGB image", "Prompts to X",
)  # fmt: skip
FILES = ("Report", "Figure, SVG", "Figure, PDF", "Figure, PNG at 150 dpi", "Arrays", "Settings of this page")

CLICK = """(img, [x, y]) => { const box = img.getBoundingClientRect();
  const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true,
               pointerType: 'mouse' };
  for (const name of ['pointerdown', 'pointerup']) img.dispatchEvent(new PointerEvent(name, at)); }"""
"""Clicks at fractions of an image, also where an overlaid mark would intercept a real click."""
STAGE = Change("#ktb-stage", "img, .ktb-captions *")
MAP = Change("#ktb-pane-map", "img")
POINTS = Change("#ktb-pane-photo", "svg")
PHOTO = "#ktb-pane-photo img.ktb-view"


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("tab", name=name, exact=True)


def option(page: Page, box: str, name: str) -> Callable[[], None]:
    """Open a dropdown and choose an option; the choice is the last click."""

    def act() -> None:
        page.click(f"{box} input")
        page.get_by_role("option", name=name, exact=True).locator("visible=true").click()

    return act


def options(page: Page, box: str) -> list[str]:
    """The options of a dropdown."""
    page.click(f"{box} input")
    found = page.locator(f"{box} [role=option]").all_inner_texts()
    page.locator(f"{box} input").blur()
    return [text.replace("✓", "").strip() for text in found]


def run_example(page: Page, number: int) -> None:
    page.evaluate("document.querySelector('.ktb-footer')?.setAttribute('data-old', '')")
    page.locator("#ktb-examples button.thumbnail-item").nth(number).click()
    page.wait_for_selector(".ktb-footer:not([data-old])")


def time_result(watch: Stopwatch) -> None:
    page = watch.page
    fused, *others = options(page, "#ktb-left")
    for name in others:
        for _ in range(max(2, watch.uses // 3)):
            watch.use(f"picture: {name}", DRAWS, STAGE, option(page, "#ktb-left", name))
            watch.use(f"picture: {fused}", DRAWS, STAGE, option(page, "#ktb-left", fused))
    several = [option(page, "#ktb-right", name) for name in others[:6]]
    watch.cycle("compare with", DRAWS, STAGE, several)
    option(page, "#ktb-right", "nothing")()
    slider(watch, "opacity", "#ktb-opacity", "#ktb-stage")
    rows = page.locator("#ktb-classes .ktb-class").all()[:4]
    watch.cycle("mark a class", BROWSER, Change("#ktb-stage", "canvas"), [row.focus for row in rows])


def slider(watch: Stopwatch, control: str, place: str, changes: str) -> None:
    handle = watch.page.locator(f"{place} input[type=range]")
    keys = [lambda key=key: handle.press(key) for key in ("ArrowLeft", "ArrowLeft", "ArrowRight")]
    watch.cycle(control, BROWSER, Change(changes, "@style"), keys)


def time_fusion(watch: Stopwatch) -> None:
    page = watch.page
    tab(page, "Fusion").click()
    page.wait_for_selector("#ktb-pane-photo svg")
    levels = [page.locator("#ktb-level label").nth(level).click for level in range(4)]
    watch.cycle("level", DRAWS, MAP, levels)
    time_heads(watch, "head")
    for name in MAPS:
        for _ in range(max(2, watch.uses // 3)):
            watch.use(f"map: {name}", DRAWS, MAP, option(page, "#ktb-map", name))
            watch.use("map: Balance", DRAWS, MAP, option(page, "#ktb-map", "Balance"))
    picture = page.locator(PHOTO)
    clicks = [lambda at=at: picture.evaluate(CLICK, at) for at in ([0.2, 0.3], [0.7, 0.6], [0.5, 0.9])]
    places = itertools.cycle(clicks)  # never the same twice running, which would change nothing
    for level in (0, 1, 2, 3):
        page.locator("#ktb-level label").nth(level).click()
        watch.cycle(f"pixel, level {level}", DRAWS, POINTS, [lambda: next(places)()])
    picture.focus()
    keys = [lambda key=key: page.keyboard.press(key) for key in ("ArrowLeft", "ArrowUp", "ArrowRight")]
    watch.cycle("pixel, arrow keys", DRAWS, POINTS, keys)
    watch.cycle("level, with a pixel", DRAWS, MAP, levels)
    time_heads(watch, "head, with a pixel")
    heads = page.locator("#ktb-heads > button")
    watch.use("every head (open)", DRAWS, Change("#ktb-heads", "img"), heads.click)
    watch.use("every head (close)", BROWSER, Change("#ktb-heads > button", "@class"), heads.click)
    for click in clicks[:2]:
        click()
        watch.use(
            "attribution", WORK, Change("#ktb-attribution", "img"), page.locator("#ktb-attribute").click
        )


def time_heads(watch: Stopwatch, control: str) -> None:
    """Heads of the chosen level, from the mean over them on."""
    box = "#ktb-head-choice"
    mean, *heads = [option(watch.page, box, name) for name in options(watch.page, box)]
    mean()
    watch.cycle(control, DRAWS, MAP, heads)


def panel(what: str) -> Change:
    """The opening of the tab panel that contains this element."""
    return Change(f"#ktb-tabs [role=tabpanel]:has({what})", "@style")


def time_tabs(watch: Stopwatch) -> None:
    """Open each tab once after each run, which draws it, and once more."""
    page = watch.page
    branches, fusion = "#ktb-branches img", "#ktb-pane-photo svg"
    # The panel of X exists before the run.
    shown = {"Branches": branches, "Fusion": fusion, "X input": "#ktb-x-tab img"}
    for name, what in shown.items():
        tab(page, name).click()
        page.wait_for_selector(what)
    photo = page.get_attribute(PHOTO, "src")
    for number in range(max(2, watch.uses // 4)):
        tab(page, "Result").click()
        watch.settle()
        run_example(page, 1 - number % 2)  # another example, or nothing would change
        page.wait_for_timeout(2000)  # meanwhile the fusion is precomputed
        new = Change("#ktb-tabs", branches)
        watch.use("open Branches after a run", DRAWS, new, tab(page, "Branches").click)
        watch.use("open Fusion after a run", DRAWS, panel(fusion), tab(page, "Fusion").click)
        photo, before = page.get_attribute(PHOTO, "src"), photo
        if photo == before:
            raise SystemExit("open Fusion after a run: it shows the run before")
        for name, what in shown.items():
            watch.use(f"open {name} again", BROWSER, panel(what), tab(page, name).click)
    tab(page, "Result").click()


def time_x(watch: Stopwatch) -> None:
    page, read = watch.page, Change("#ktb-x-read", "p")
    page.click("#ktb-fix > button")
    page.wait_for_selector("#ktb-unit input")
    units = [option(page, "#ktb-unit", name) for name in options(page, "#ktb-unit")[:2]]
    for _ in range(watch.uses):
        watch.use("X: unit", DRAWS, read, units[1])
        watch.use("X: back to automatic", DRAWS, read, page.locator("#ktb-reset").click)
    tab(page, "X input").click()
    watch.cycle("X: unit, X input open", DRAWS, Change("#ktb-x-tab", "img, dd, p"), units[::-1])
    page.click("#ktb-reset")


def time_runs(watch: Stopwatch) -> None:
    """Controls that run the network, and the sliders of their pictures."""
    page = watch.page
    for name, button, place in (
        ("What if", "#ktb-run-change", "#ktb-what-if"),
        ("Compare", "#ktb-run-compare", "#ktb-compare"),
    ):
        tab(page, name).click()
        if name == "What if":
            page.locator("#ktb-off label").nth(1).click()
        watch.use(f"{name}: run", WORK, Change(place, "img"), page.locator(button).click)
        slider(watch, f"{name}: opacity", f"{place}-opacity", place)


def time_exports(watch: Stopwatch) -> None:
    page = watch.page
    tab(page, "Result").click()
    for name in FILES:
        choice = next(text for text in options(page, "#ktb-export-kind") if text.startswith(name))
        for _ in range(2):
            watch.use(f"download: {name}", WORK, Change("body", "a[download]"), _download(page, choice))


def _download(page: Page, choice: str) -> Callable[[], None]:
    def act() -> None:
        option(page, "#ktb-export-kind", choice)()
        with page.expect_download():
            page.click("#ktb-export-make")

    return act


def time_controls(address: str, uses: int) -> tuple[list[dict], float]:
    """Time every control of the page at an address; also returns the slowness of the machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(WAIT_MS)
        page.add_init_script(SPY)
        page.goto(address, wait_until="domcontentloaded")
        run_example(page, 0)
        page.wait_for_selector("#ktb-stage img.ktb-mask")
        watch = Stopwatch(page, uses)
        for part in (time_result, time_fusion, time_tabs, time_x, time_runs, time_exports):
            watch.settle()
            part(watch)
        browser.close()
        return watch.rows(), watch.slowness


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uses", type=int, default=20, help="uses of each control")
    parser.add_argument("--out", type=Path, help="JSON with all rows")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "uploads"
        folder.mkdir()
        with server(folder, Path(parent) / "server.log") as (_, address):
            rows, slowness = time_controls(address, given.uses)
    found = {"limit_ms": LIMIT_MS, "slowness": round(slowness, 2), "controls": rows}
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")
    slow = [row["control"] for row in rows if row["kind"] != WORK and row["seen"]["median"] > LIMIT_MS]
    sys.stdout.write(table(rows))
    sys.stdout.write(f"above {LIMIT_MS} ms: {', '.join(slow) or 'none'}\n")
    sys.stdout.write(f"a constant loop took {slowness:.2f} times its best time in the median\n")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
