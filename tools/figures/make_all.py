"""Make every picture of the page in the documentation again: the screenshots and README's animation.

    python -m tools.figures.make_all

Run it after a change of the page or of the embedded depth model, inspect every picture, and compare the
numbers that docs/inspector.md tells of them; its snippet checks those of the worked example. Needs
tests/requirements.txt and a Chromium (--chromium).
"""

from __future__ import annotations

import argparse

from tools.figures.make_page_figures import FIGURES, PICTURES, opened, served, take
from tools.figures.make_tour import save, tour


def main() -> None:
    """Take the screenshots, then the frames of the animation, of one page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    with served() as address:
        with opened(address, options.chromium) as page:
            take(page, PICTURES, FIGURES)
        with opened(address, options.chromium) as page:
            frames = list(tour(page))
    path = FIGURES / "inspector.webp"
    print(f"{path.name}: {save(frames, path):,} bytes")


if __name__ == "__main__":
    main()
