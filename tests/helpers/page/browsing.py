"""What the tests of the page in a real browser share; the fixtures are in conftest.py."""

from __future__ import annotations

import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np

BROWSERS = [Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium")]  # the shell starts faster
CHROMIUM = next(filter(Path.exists, BROWSERS), BROWSERS[-1])
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
WAIT = 90_000  # ms; a busy machine is slow, a broken page never answers
MASK = "#ktb-slot-inspect .ktb-v canvas"
"""What shows a run in the first tab."""
VIEWER = "document.querySelector('.ktb-v')?.ktbViewer"
"""The viewer, undefined before the first run."""
TOLD = """() => Object.fromEntries(Object.entries({ toasts: ".toast-body", tab: ".ktb-slot", run: "#ktb-foot",
  x: "#ktb-x-read" }).map(([name, place]) => [name, [...document.querySelectorAll(place)]
  .filter((item) => item.checkVisibility()).map((item) => item.innerText.slice(0, 400))]))"""
"""What a page tells of a run that does not come."""


def below(folder: Path, pattern: str) -> list[Path]:
    """What lies anywhere in a folder that a server may tidy up meanwhile."""
    while True:
        try:
            return list(folder.rglob(pattern))
        except FileNotFoundError:
            continue


def new_tab(context, address: str, width: int = 1400, height: int = 1000):
    """A page with what has to be there before anything can be used; `errors` are what its console tells."""
    tab = context.new_page()
    tab.errors = []
    tab.on("console", lambda told: told.type == "error" and tab.errors.append(told.text))
    tab.set_viewport_size({"width": width, "height": height})
    tab.set_default_timeout(WAIT)
    tab.goto(address, wait_until="domcontentloaded")
    tab.wait_for_selector("#ktb-run")
    return tab


@contextmanager
def watched_tab(context, address: str):
    """A new page; what it asks of other servers is in `foreign_requests`, what it fetches in `fetched`."""
    foreign: list[str] = []
    fetched: set[str] = set()
    local = (address, "data:", "blob:", address.replace("http", "ws"))

    def watch(request) -> None:
        if not request.url.startswith(local):
            foreign.append(request.url)
        elif request.method == "GET":
            fetched.add(request.url)

    context.on("request", watch)
    tab = new_tab(context, address)
    tab.foreign_requests, tab.fetched = foreign, fetched
    yield tab
    context.remove_listener("request", watch)
    tab.close()


def upload(tab, rgb: Path | None, x: Path | None) -> None:
    """Choose files in the fields of the RGB image and X, and wait until they are shown."""
    for selector, path in (("#ktb-rgb", rgb), ("#ktb-x", x)):
        if path:
            tab.set_input_files(f"{selector} input[type=file]", str(path))
            shown = f"{selector} img" if selector == "#ktb-rgb" else f"{selector} >> text={path.stem}"
            tab.wait_for_selector(shown)


def replace_files(tab, address: str, rgb: Path, x: Path | None) -> None:
    """Put these files in the place of those of a page, which is opened again if it was left."""
    if tab.url == "about:blank":
        tab.goto(address, wait_until="domcontentloaded")
    if tab.locator("#ktb-x .file-preview").count():
        tab.click("#ktb-x button[aria-label=Clear]")
        tab.wait_for_selector("#ktb-x .file-preview", state="detached")
        tab.wait_for_selector("#ktb-x-read img", state="detached")  # else it passes for that of the new X
    upload(tab, rgb, x)
    tab.wait_for_selector(f"#ktb-rgb img[src*='{rgb.stem}']")


def run(tab) -> None:
    """Press Run and wait until the viewer shows the run; ablations may follow."""
    before = shown_run(tab)
    tab.click("#ktb-run")
    wait_for_run(tab, before)


def shown_run(tab) -> str:
    """Identifies the run that the viewer shows; "" before the first one."""
    return tab.evaluate(f"{VIEWER}?.header.run ?? ''")


def wait_for_run(tab, before: str = "") -> None:
    """Wait until the viewer shows another run than `before`, with its details."""
    from playwright.sync_api import TimeoutError

    shown = f"before => ({VIEWER}?.header.run ?? '') !== before && !{VIEWER}.header.details_follow"
    try:
        tab.wait_for_function(shown, arg=before)
    except TimeoutError as late:
        told = tab.evaluate(TOLD) | {"console": getattr(tab, "errors", [])[-20:]}
        raise AssertionError(f"no run is shown, and the page tells {told}") from late


def wait_for_ablations(tab) -> None:
    """Ask for both ablations of the run, if they do not follow by themselves, and wait for them."""
    tab.evaluate(f"{VIEWER}.measure.hidden || {VIEWER}.measure.click()")
    tab.wait_for_function(f"{VIEWER}.header.ablated.length === 2")


def shown_array(tab, name: str = "labels.fused") -> np.ndarray:
    """An array of the viewer's bundle, such as "labels.x" or "layer.what_if"."""
    read = f"""name => {{ const found = {VIEWER}.bundle.array(name);
      return [Array.from(found.data), found.shape]; }}"""
    data, shape = tab.evaluate(read, name)
    return np.reshape(data, shape)


def show_layer(tab, **state) -> None:
    """Change the state of the viewer, such as overlay="labels.x" or level=0."""
    tab.evaluate(f"state => {VIEWER}.set(state)", state)


def downloaded(tab) -> dict[str, bytes]:
    """The files of the ZIP archive that the footer's button downloads."""
    with tab.expect_download() as download:
        tab.click("#ktb-foot .ktb-download")
    with zipfile.ZipFile(download.value.path()) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def choose(tab, box: str, name: str) -> None:
    """Choose an option of a dropdown by its label."""
    tab.click(f"{box} input")
    tab.get_by_role("option", name=name, exact=True).locator("visible=true").click()
