"""Make the documentation's screenshots of the page, from the bedroom example in Chromium.

    python -m tools.figures.make_page_figures [--only page_fusion ...]

Needs tests/requirements.txt and a Chromium (--chromium). Inspect every screenshot before you commit it.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Iterator
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
MARGIN = 12  # pixels around the screenshot's elements
WAIT = 120_000  # ms; enough for a busy machine
RUG, SIZE = (450, 450), (480, 640)  # the pixel of the guide's worked example, in the bedroom's RGB image


def result(page: Page) -> Image.Image:
    """The fused mask beside that of the X head."""
    choose(page, "#ktb-right", "X head's mask")
    page.wait_for_selector("#ktb-stage .ktb-split")
    return shot(page, "#ktb-choose", "#ktb-result")


def fusion(page: Page) -> Image.Image:
    """The whole page with the rug's pixel: its points, the balance map, and its values."""
    look_at_rug(page)
    return shot(page, "#ktb-head", "#ktb-examples", "#ktb-level", "#ktb-details")


def attribution(page: Page) -> Image.Image:
    """The attribution of the rug's pixel, and the effect of ablation."""
    look_at_rug(page)
    page.click("#ktb-attribute")
    page.wait_for_selector("#ktb-attribution .ktb-attribution")
    return shot(page, "#ktb-attribution")


def what_if(page: Page) -> Image.Image:
    """The ablation of each sensor."""
    page.get_by_role("tab", name="What if").click()
    page.click("#ktb-run-each")
    page.wait_for_selector("#ktb-what-if .ktb-legend")
    return shot(page, "#ktb-what-if")


PICTURES: dict[str, Callable[[Page], Image.Image]] = {
    "page_result": result,
    "page_fusion": fusion,
    "page_attribution": attribution,
    "page_what_if": what_if,
}


def look_at_rug(page: Page) -> None:
    """Open the fusion tab and click the pixel."""
    page.get_by_role("tab", name="Fusion").click()
    click_pixel(page, RUG)


def click_pixel(page: Page, pixel: tuple[int, int]) -> None:
    """Click a pixel (y, x) of the RGB image in the fusion tab, and wait for its values."""
    details = f'#ktb-details .ktb-pixel[data-y="{pixel[0]}"][data-x="{pixel[1]}"]'
    if page.locator(details).count():
        return  # a point drawn at the pixel would catch a second click
    picture = page.locator("#ktb-pane-photo img.ktb-view")
    picture.wait_for()
    settle(page)
    box = picture.bounding_box()
    y, x = ((place + 0.5) / side for place, side in zip(pixel, SIZE))
    picture.click(position={"x": x * box["width"], "y": y * box["height"]})
    page.wait_for_selector(details)


def choose(page: Page, dropdown: str, name: str) -> None:
    """Choose an option of a dropdown."""
    page.click(f"{dropdown} input")
    page.get_by_role("option", name=name).click()


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
    """The page in a browser, after a run on the bedroom."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme="light")
        page.set_default_timeout(WAIT)
        page.goto(address, wait_until="domcontentloaded")
        page.locator("#ktb-examples button", has_text="Bedroom").click()
        page.wait_for_selector("#ktb-stage img.ktb-mask")
        yield page
        browser.close()


def main() -> None:
    """Take the requested screenshots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(PICTURES), default=list(PICTURES))
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path, default=FIGURES)
    options = parser.parse_args()
    with served() as address, opened(address, options.chromium) as page:
        for name in options.only:
            size = save(PICTURES[name](page), options.out / f"{name}.png")
            print(f"{name}.png: {size:,} bytes")


if __name__ == "__main__":
    main()
