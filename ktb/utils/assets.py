"""Where the files lie that ship with the library: embedded checkpoints and example pairs."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
PLACES = (_PACKAGE / "shipped", _PACKAGE.parent / "assets")
"""In an installed package, in a checkout; see `force-include` in pyproject.toml."""


def shipped(name: str) -> Path:
    """The folder `name`, "checkpoints" or "examples", in an installed package as in a checkout.

    Where the files are left out it need not exist.
    """
    return next((place / name for place in PLACES if place.is_dir()), PLACES[-1] / name)
