"""Make README's animation: the inspector on the bedroom example, in Chromium.

    python -m tools.figures.make_tour [--frames FOLDER]

Needs tests/requirements.txt and a Chromium (--chromium). Inspect every frame before you commit it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.figures.make_page_figures import FIGURES, MARGIN, opened, served, shot, show

WIDTH, HEIGHT = 960, 570
INK, MUTED, PAPER = (29, 36, 51), (91, 101, 119), (255, 255, 255)
MAX_BYTES = 900_000
PLACES = (
    ((450, 450), "Click the rug …", "… and see where its pixel looked, in the RGB image and in depth."),
    (
        (102, 292),
        "The picture on the wall",
        "Every point has a size, the attention, and a colour: the sensor.",
    ),
    ((300, 200), "The bed", "What the three heads say there, and how sure each is, stands below."),
)
"""Pixels of the RGB image, and what is said about them."""
DECIDED = (
    "Which sensor decided?",
    "Each one is ablated in turn: orange needs depth, blue the RGB image.",
)


class Frame(NamedTuple):
    """A picture of the tour and how long it stands, in milliseconds."""

    image: Image.Image
    milliseconds: int


def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along."""
    weight = "bold" if bold else "normal"
    return ImageFont.truetype(font_manager.findfont(f"DejaVu Sans:{weight}"), size)


def sheet(title: str, text: str) -> Image.Image:
    """An empty frame with its two lines at the top."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((20, 14), title, INK, font(21, bold=True))
    draw.text((20, 44), text, MUTED, font(15))
    return image


def put(image: Image.Image, part: Image.Image, box: tuple[int, int, int, int]) -> None:
    """Paste a part into a box (left, top, width, height), as large as fits, at its upper left."""
    left, top, width, height = box
    scale = min(width / part.width, height / part.height)
    size = round(part.width * scale), round(part.height * scale)
    image.paste(part.convert("RGB").resize(size, Image.Resampling.LANCZOS), (left, top))


def cut(page: Page, *parts: str) -> Image.Image:
    """What lies between the edges of some parts, without the room that `shot` leaves around."""
    image = shot(page, *parts)
    return image.crop((MARGIN, MARGIN, image.width - MARGIN, image.height - MARGIN))


def put_panes(image: Image.Image, page: Page) -> None:
    """Put the two images of the viewer beside each other."""
    for left, name in ((20, "rgb"), (490, "x")):
        put(image, cut(page, f".ktb-v canvas[data-pane={name}]"), (left, 80, 450, 350))


def tour(page: Page) -> Iterator[Frame]:
    """The frames, from the page with its example run."""
    for place, title, text in PLACES:
        show(page, overlay="labels.fused", opacity=0.5, level=2, pixel=list(place))
        image = sheet(title, text)
        put_panes(image, page)
        put(image, cut(page, ".ktb-v-headline"), (20, 452, 450, 140))
        put(image, cut(page, ".ktb-v-card table"), (490, 452, 450, 140))
        yield Frame(image, 3200)
    image = sheet(*DECIDED)
    show(page, overlay="layer.rests_on", opacity=0.8, pixel=None)
    put_panes(image, page)
    put(image, cut(page, ".ktb-v-legend"), (20, 452, 560, 140))
    yield Frame(image, 4200)


def save(frames: list[Frame], path: Path) -> int:
    """Write an animated WebP that repeats; gives its bytes. ValueError if it is too large for a page."""
    first, *others = (frame.image for frame in frames)
    first.save(
        path, save_all=True, append_images=others, duration=[frame.milliseconds for frame in frames], loop=0,
        quality=82, method=6,
    )  # fmt: skip
    if (size := path.stat().st_size) > MAX_BYTES:
        raise ValueError(f"{path.name} has {size:,} bytes, more than {MAX_BYTES:,}: show less.")
    return size


def main() -> None:
    """Take the frames and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--out", type=Path, default=FIGURES / "inspector.webp")
    parser.add_argument("--frames", type=Path, help="also write each frame as a PNG into this folder")
    options = parser.parse_args()
    with served() as address, opened(address, options.chromium) as page:
        frames = list(tour(page))
    if options.frames:
        options.frames.mkdir(parents=True, exist_ok=True)
        for number, frame in enumerate(frames):
            frame.image.save(options.frames / f"{number}.png")
    print(f"{options.out.name}: {save(frames, options.out):,} bytes")


if __name__ == "__main__":
    main()
