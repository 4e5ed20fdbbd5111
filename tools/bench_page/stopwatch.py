"""Time the controls of a page: on the server, over HTTP, and until the change is painted.

A virtual machine may temporarily get less CPU time. A constant loop is therefore timed before each use; the
ratio of its median to its best time measures how slow the machine was.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter

from playwright.sync_api import Page

WAIT_MS = 90_000
DRAWS, BROWSER, WORK = "draws", "browser only", "work"

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
"""The duration of the last use, and its calls."""


@dataclass(frozen=True)
class Change:
    """An expected change: a selector, and the selector of added descendants (or "@" and an attribute)."""

    place: str
    what: str


class Stopwatch:
    """Uses controls of a page and records the time of each use."""

    def __init__(self, page: Page, uses: int):
        self.page, self.uses = page, uses
        self.kinds: dict[str, str] = {}
        self.found: dict[str, list[dict[str, float]]] = defaultdict(list)
        self.loops = [fixed_work() for _ in range(100)]

    def use(self, control: str, kind: str, change: Change, act: Callable[[], None]) -> None:
        """Use a control once."""
        self.settle()
        self.loops.append(fixed_work())
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
        """Use the choices of a control in turn."""
        acts = list(acts)
        for number in range(self.uses):
            self.use(control, kind, change, acts[number % len(acts)])

    @property
    def slowness(self) -> float:
        """Median over best time of the loop."""
        return statistics.median(self.loops) / min(self.loops)

    def settle(self) -> None:
        """Wait until every request has its response."""
        self.page.wait_for_function("ktbTimes.open === 0")
        self.page.wait_for_timeout(60)

    def rows(self) -> list[dict]:
        """A row per control: median, 95th percentile and maximum in ms."""
        return [
            {"control": control, "kind": self.kinds[control], "uses": len(found)}
            | {time: summary([use[time] for use in found]) for time in ("handler", "answer", "seen")}
            for control, found in self.found.items()
        ]


def fixed_work() -> float:
    """Seconds of a constant loop."""
    begun, total = perf_counter(), 0
    for number in range(60_000):
        total += number
    return perf_counter() - begun


def summary(values: list[float]) -> dict[str, float]:
    """Median, 95th percentile and maximum."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    figures = {"median": statistics.median(ordered), "95 %": high, "most": ordered[-1]}
    return {name: round(value, 1) for name, value in figures.items()}


def table(rows: list[dict]) -> str:
    """A text table with a line per control, times in ms."""
    lines = [
        f"{'control':32} {'kind':13} {'uses':>4} {'handler':>8} {'answer':>8}   seen: median   95 %   most"
    ]
    for row in rows:
        seen = row["seen"]
        lines.append(
            f"{row['control']:32} {row['kind']:13} {row['uses']:4} {row['handler']['median']:8.1f} "
            f"{row['answer']['median']:8.1f} {seen['median']:14.1f} {seen['95 %']:6.1f} {seen['most']:6.1f}"
        )
    return "\n".join(lines) + "\n"
