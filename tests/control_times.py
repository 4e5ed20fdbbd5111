"""How long every control of the page takes that only draws again, on the server and up to the new picture.

    python tests/control_times.py --uses 20 --out times.json

Starts the page in a process of its own, opens Chromium, runs an example, and uses each control that many
times. Three times in milliseconds for each: of the handler on the server, from the request until its answer
begins to arrive, and from the visitor's click or key to the painted change. Exit code 1 if the median of the
last is above the limit for a control that only draws; what runs the network or makes a file is told apart.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from many_users import ARGS, CHROMIUM, server
from playwright.sync_api import Locator, Page, sync_playwright

LIMIT_MS = 150
WAIT_MS = 90_000
DRAWS, BROWSER, WORK = "draws", "browser only", "work"
MAPS = (
    "Point importance", "Sampling density", "Offsets (arrows)", "Modality weight of points",
    "Attention entropy", "Share through attention", "Prompts to the photograph", "Prompts to X",
)  # fmt: skip
FILES = ("Report", "Figure, SVG", "Figure, PDF", "Figure, PNG at 150 dpi", "Arrays", "Settings of this page")

CLICK = """(img, [x, y]) => { const box = img.getBoundingClientRect();
  const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true,
               pointerType: 'mouse' };
  for (const name of ['pointerdown', 'pointerup']) img.dispatchEvent(new PointerEvent(name, at)); }"""
"""At fractions of a picture; a mark that lies there would keep a real click from it."""
SPY = """(() => {
  const times = window.ktbTimes = { input: 0, calls: {}, open: 0 };
  for (const name of ['pointerdown', 'keydown', 'focusin'])
    addEventListener(name, (event) => { times.input = event.timeStamp; }, true);

  const fetched = window.fetch;
  window.fetch = async (...given) => {
    const address = String(given[0].url ?? given[0]), sent = performance.now();
    const joins = address.includes('/queue/join'), runs = address.includes('/gradio_api/run/');
    if (joins || runs) times.open += 1;
    const response = await fetched(...given);
    if (joins) response.clone().json().then((found) => { times.calls[found.event_id] = { sent }; });
    if (runs) {  // read when the picture is there: to read a long answer twice would delay it
      const copy = response.clone(), arrived = performance.now();
      setTimeout(() => copy.json().then((found) => {
        times.open -= 1;
        times.calls[`direct ${sent}`] = { sent, arrived, handler: 1000 * (found.duration ?? 0) };
      }), 400);
    }
    if (!address.includes('/queue/data') || !response.body) return response;
    return new Response(response.body.pipeThrough(new TransformStream(listener())), response);
  };
  const listener = () => {
    const decoder = new TextDecoder();
    let text = '';
    return { transform(chunk, onward) {
      onward.enqueue(chunk);
      const parts = (text + decoder.decode(chunk, { stream: true })).split('\\n\\n');
      text = parts.pop();
      for (const part of parts) {
        if (!part.includes('process_completed')) continue;
        const said = JSON.parse(part.slice(part.indexOf('{')));
        times.open -= 1;
        const call = times.calls[said.event_id] ??= {};
        Object.assign(call, { arrived: performance.now(), handler: 1000 * (said.output?.duration ?? 0) });
      }
    } };
  };

  // Resolves when something that matches `what` is added or drawn anew below `place` (or, as "@name", when
  // that attribute of it changes) and that is painted: pictures of the open tab decoded, and the frame after
  // next begun.
  window.ktbWatch = (place, what) => {
    const root = document.querySelector(place), attribute = what.startsWith('@') && what.slice(1);
    const holds = (node) => node.nodeType === 1 && (node.matches(what) || node.querySelector(what));
    const counts = (item) => attribute || (item.type === 'childList'
      ? [...item.addedNodes].some(holds)
      : (item.target.parentElement ?? root).closest(what) || holds(item.target));
    window.ktbSeen = new Promise((seen) => {
      const observer = new MutationObserver(async (found) => {
        if (!found.some(counts)) return;
        observer.disconnect();
        const shown = [...root.querySelectorAll('img')].filter((img) => img.offsetWidth);
        await Promise.all(shown.map((img) => img.decode().catch(() => {})));
        requestAnimationFrame(() => requestAnimationFrame(() => {
          seen({ input: times.input, seen: performance.now() - times.input });
        }));
      });
      observer.observe(root, attribute
        ? { attributes: true, attributeFilter: [attribute] }
        : { childList: true, characterData: true, subtree: true, attributeFilter: ['src', 'd', 'cx', 'cy'] });
    });
  };
})()"""
CALLS = """() => ktbLast && { seen: ktbLast.seen, calls: Object.values(ktbTimes.calls).filter((call) =>
  call.arrived && call.sent >= ktbLast.input && call.sent < ktbLast.input + ktbLast.seen) }"""
"""What the last use took, and the calls that were made for it."""


@dataclass(frozen=True)
class Change:
    """Where something changes: a selector, and what is added below it (or "@" and an attribute of it)."""

    place: str
    what: str


STAGE = Change("#ktb-stage", "img, .ktb-captions *")
MAP = Change("#ktb-pane-map", "img")
POINTS = Change("#ktb-pane-photo", "svg")
PHOTO = "#ktb-pane-photo img.ktb-view"


class Stopwatch:
    """Uses controls of a page and keeps what each use took."""

    def __init__(self, page: Page, uses: int):
        self.page, self.uses = page, uses
        self.kinds: dict[str, str] = {}
        self.found: dict[str, list[dict[str, float]]] = defaultdict(list)

    def use(self, control: str, kind: str, change: Change, act: Callable[[], None]) -> None:
        """Use a control once."""
        self.settle()
        self.page.evaluate("([place, what]) => ktbWatch(place, what)", [change.place, change.what])
        act()
        try:
            self.page.wait_for_function(
                "async () => (window.ktbLast = await Promise.race([ktbSeen, new Promise((late) => "
                f"setTimeout(() => late(null), {WAIT_MS}))])) || true"
            )
        except Exception as error:
            raise SystemExit(f"{control}: {error}") from error
        self.settle()
        took = self.page.evaluate(CALLS)
        if took is None:
            raise SystemExit(f"{control}: nothing changed in {change.place} within {WAIT_MS // 1000} s")
        calls = took["calls"]
        self.kinds[control] = kind
        self.found[control].append(
            {
                "handler": sum(call["handler"] for call in calls),
                "answer": max((call["arrived"] - call["sent"] for call in calls), default=0.0),
                "seen": took["seen"],
            }
        )

    def cycle(self, control: str, kind: str, change: Change, acts: Iterable[Callable[[], None]]) -> None:
        """Use a control's choices in turn."""
        acts = list(acts)
        for number in range(self.uses):
            self.use(control, kind, change, acts[number % len(acts)])

    def settle(self) -> None:
        """Wait until every request is answered."""
        self.page.wait_for_function("ktbTimes.open === 0")
        self.page.wait_for_timeout(60)

    def rows(self) -> list[dict]:
        """A row per control: times in ms as median, 95 % and most."""
        return [
            {"control": control, "kind": self.kinds[control], "uses": len(found)}
            | {time: summary([use[time] for use in found]) for time in ("handler", "answer", "seen")}
            for control, found in self.found.items()
        ]


def summary(values: list[float]) -> dict[str, float]:
    """Median, 95 % and most."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    figures = {"median": statistics.median(ordered), "95 %": high, "most": ordered[-1]}
    return {name: round(value, 1) for name, value in figures.items()}


def tab(page: Page, name: str) -> Locator:
    return page.get_by_role("tab", name=name, exact=True)


def option(page: Page, box: str, name: str) -> Callable[[], None]:
    """Open a list and choose from it; the choice is the last click."""

    def act() -> None:
        page.click(f"{box} input")
        page.get_by_role("option", name=name, exact=True).locator("visible=true").click()

    return act


def options(page: Page, box: str) -> list[str]:
    """What a list offers."""
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
    """The panel of a tab that holds this opens."""
    return Change(f"#ktb-tabs [role=tabpanel]:has({what})", "@style")


def time_tabs(watch: Stopwatch) -> None:
    """Each tab once after each run, which draws it, and once more."""
    page = watch.page
    branches, fusion = "#ktb-branches img", "#ktb-pane-photo svg"
    # What was read of X stands there before the run.
    shown = {"Branches": branches, "Fusion": fusion, "X input": "#ktb-x-tab img"}
    for name, what in shown.items():
        tab(page, name).click()
        page.wait_for_selector(what)
    photo = page.get_attribute(PHOTO, "src")
    for number in range(max(2, watch.uses // 4)):
        tab(page, "Result").click()
        watch.settle()
        run_example(page, 1 - number % 2)  # another one, or nothing would change
        page.wait_for_timeout(2000)  # its result is looked at first, and the fusion is drawn meanwhile
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
    """What runs the network again, and the sliders over its pictures."""
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


def time_controls(address: str, uses: int) -> list[dict]:
    """Every control of the page at an address, that many times."""
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
        return watch.rows()


def table(rows: list[dict]) -> str:
    """For people: a line per control, times in ms."""
    lines = [
        f"{'control':34} {'kind':13} {'uses':>4} {'handler':>8} {'answer':>8}   seen: median   95 %   most"
    ]
    for row in rows:
        seen = row["seen"]
        lines.append(
            f"{row['control']:32} {row['kind']:13} {row['uses']:4} {row['handler']['median']:8.1f} "
            f"{row['answer']['median']:8.1f} {seen['median']:14.1f} {seen['95 %']:6.1f} {seen['most']:6.1f}"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uses", type=int, default=20, help="of each control")
    parser.add_argument("--out", type=Path, help="JSON with all rows")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "uploads"
        folder.mkdir()
        with server(folder, Path(parent) / "server.log") as (_, address):
            rows = time_controls(address, given.uses)
    if given.out:
        given.out.write_text(json.dumps({"limit_ms": LIMIT_MS, "controls": rows}, indent=1) + "\n")
    slow = [row["control"] for row in rows if row["kind"] != WORK and row["seen"]["median"] > LIMIT_MS]
    sys.stdout.write(table(rows))
    sys.stdout.write(f"above {LIMIT_MS} ms: {', '.join(slow) or 'none'}\n")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
