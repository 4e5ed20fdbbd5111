"""The page's HTML: files of `app/html/templates` filled with values, which are escaped.

A value that is HTML itself is a `markupsafe.Markup`: what `render` gave, or a text with nothing of a
visitor's or a file's in it. Texts are never marked as safe in a template.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from app.html.swatch import hex_color, swatch
from ktb.utils.text import percent

FOLDER = Path(__file__).parent / "templates"


def render(name: str, /, **values: object) -> Markup:
    """Fill a template; a value that it names and does not get raises `jinja2.UndefinedError`.

    Args:
        name: a file of `app/html/templates` without ".html".
        values: texts and numbers are escaped, Markup is taken as it is.
    """
    return Markup(environment().get_template(f"{name}.html").render(values))


@cache
def environment() -> Environment:
    """What compiles each template when it is first used, and what all of them can call."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals.update(swatch=swatch)
    made.filters.update(percent=percent, hex_color=hex_color)
    return made
