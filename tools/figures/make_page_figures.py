"""Make the documentation's screenshots of the page, from the bedroom example in Chromium.

    python -m tools.figures.make_page_figures [--only page_pixel ...]

Needs tests/requirements.txt and a Chromium (--chromium). Inspect every screenshot before you commit it.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from app.page import build_page, launch_options
from app.service import Service

FIGURES = ROOT / "assets" / "figures"
MAX_BYTES = 300_000
MARGIN = 6  # pixels around the screenshot's elements; less than to the next ones
WAIT = 120_000  # ms; enough for a busy machine
RUG = (450, 450)  # the pixel (y, x) of the guide's worked example, in the bedroom's RGB image


VIEWER = "document.querySelector('.ktb-v')?.ktbViewer"


def heads(page: Page) -> Image.Image:
    """The fused mask left of the border, that of the X head right of it."""
    show(page, overlay="labels.fused", compare="labels.x", split=0.5, opacity=0.6, pixel=None)
    return shot(page, ".ktb-v-main")


def pixel(page: Page) -> Image.Image:
    """The whole page with the rug's pixel: its points, the balance map of level 2, and its card."""
    show(page, overlay="map.balance", compare="none", opacity=0.5, level=2, pixel=list(RUG))
    return shot(page, "#ktb-head", "#ktb-examples", ".ktb-v")


def attribution(page: Page) -> Image.Image:
    """The attribution of the rug's pixel, and the effect of ablation."""
    show(page, overlay="labels.fused", compare="none", opacity=0.7, level=2, pixel=list(RUG))
    page.click(".ktb-v-ask button")
    page.wait_for_function(f"{VIEWER}.state.overlay === 'layer.attribution'")
    return shot(page, ".ktb-v")


def ablation(page: Page) -> Image.Image:
    """What each pixel rests on, without the points, which would hide it."""
    show(page, overlay="layer.rests_on", compare="none", opacity=0.7, pixel=None)
    return shot(page, ".ktb-v-main")


def x_input(page: Page) -> Image.Image:
    """How X was read."""
    page.click("#ktb-x-details > button")
    page.wait_for_selector("#ktb-x-panel .ktb-facts")
    return shot(page, "#ktb-x-details")


PICTURES: dict[str, Callable[[Page], Image.Image]] = {
    "page_heads": heads,
    "page_pixel": pixel,
    "page_attribution": attribution,
    "page_ablation": ablation,
    "page_x_input": x_input,
}


def show(page: Page, **state: object) -> None:
    """Change the state of the viewer."""
    page.evaluate(f"state => {VIEWER}.set(state)", state)


def settle(page: Page) -> None:
    """Wait until all images are decoded and nothing moves."""
    page.evaluate("Promise.all([...document.images].map((image) => image.decode().catch(() => {})))")
    page.wait_for_timeout(1500)


def shot(page: Page, *parts: str) -> Image.Image:
    """The bounding box of some elements, with a margin."""
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")  # coordinates are relative to the window
    settle(page)
    boxes = [page.locator(part).first.bounding_box() for part in parts]
    left, top = (max(0, min(box[key] for box in boxes) - MARGIN) for key in ("x", "y"))
    right = max(box["x"] + box["width"] for box in boxes) + MARGIN
    bottom = max(box["y"] + box["height"] for box in boxes) + MARGIN
    clip = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    return Image.open(io.BytesIO(page.screenshot(clip=clip, full_page=True)))


def save(image: Image.Image, path: Path) -> int:
    """Write a PNG of at most 256 colours and return its size in bytes; ValueError if it is too large."""
    image = image.convert("RGB")
    colors = image.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2)
    image.quantize(palette=colors, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path.name} has {size:,} bytes, more than {MAX_BYTES:,}: show less of the page.")
    return size


@contextmanager
def served() -> Iterator[str]:
    """The address of a new page."""
    page = build_page(Service())
    _, address, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield address
    page.close()


@contextmanager
def opened(address: str, chromium: str) -> Iterator[Page]:
    """The page in a browser, with the run of the bedroom and its ablations, on which it opens."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme="light")
        page.set_default_timeout(WAIT)
        page.goto(address, wait_until="domcontentloaded")
        page.wait_for_function(f"{VIEWER}?.header.ablated.length === 2")
        yield page
        browser.close()


def take(page: Page, names: Iterable[str], out: Path) -> None:
    """Take screenshots of the page as `opened` gives it, and print their sizes."""
    for name in names:
        size = save(PICTURES[name](page), out / f"{name}.png")
        print(f"{name}.png: {size:,} bytes")


def main() -> None:
    """Take the requested screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PICTURES), default=list(PICTURES))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path, default=FIGURES)
    options = parser.parse_args()
    with served() as address, opened(address, options.chromium) as page:
        take(page, options.only, options.out)


if __name__ == "__main__":
    main()
