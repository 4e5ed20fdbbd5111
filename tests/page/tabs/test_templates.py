"""HTML comes from templates that escape what they are given."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError, meta
from markupsafe import Markup, escape

import app
from app.html.templates import FOLDER, environment, render

APP = Path(app.__file__).parent
CONVERTED = ("html", "panels", "tabs", "widgets")
"""Folders of `app` in which nothing but templates escapes."""
TEMPLATES = sorted(path.stem for path in FOLDER.glob("*.html"))
BAD = '"\'><img src=x onerror="hit">'


class Hostile(str):
    """A text that would be an element, also as any part of it, as each of its members, and as a number."""

    __hash__ = str.__hash__

    def __getattr__(self, name: str) -> Hostile:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: object) -> Hostile:
        return self

    def __iter__(self):
        return iter([self])

    def items(self) -> list[tuple[Hostile, Hostile]]:
        """As if it were a mapping."""
        return [(self, self)]

    def __float__(self) -> float:
        return 0.5

    def __rmul__(self, other: float) -> float:
        return 0.5

    def __sub__(self, other: float) -> float:
        return 0.5


class Elements(HTMLParser):
    """The names of all attributes."""

    def __init__(self):
        super().__init__()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.attributes |= {name for name, _ in attrs}


def names_of(template: str) -> set[str]:
    """What a template is given, but for the functions that all have."""
    source = (FOLDER / f"{template}.html").read_text(encoding="utf-8")
    return meta.find_undeclared_variables(environment().parse(source)) - set(environment().globals)


@pytest.fixture(scope="module")
def plain():
    """The environment with functions and filters of ours that leave texts as they are."""
    made = environment.__wrapped__()
    made.globals.update(swatch=lambda color, text="": text)
    made.filters.update(percent=lambda share, decimals=1: share, hex_color=lambda color: color)
    return made


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_hostile_value_comes_out_escaped(plain, name):
    values = {key: Hostile(BAD) for template in TEMPLATES for key in names_of(template)}
    text = plain.get_template(f"{name}.html").render(values)
    assert "<img src=x" not in text
    assert not names_of(name) or str(escape(BAD)) in text
    elements = Elements()
    elements.feed(text)
    assert "onerror" not in elements.attributes


def test_a_value_that_is_lacking_is_an_error():
    with pytest.raises(UndefinedError, match="title"):
        render("figure", image="", note="")


def test_html_stays_html_and_can_be_a_value():
    warning = render("error", message="a <b>")
    assert isinstance(warning, Markup)
    assert "a &lt;b&gt;" in warning
    assert str(warning) in render("figure", image=warning, title="", note="")


def test_templates_take_no_text_for_safe():
    for name in TEMPLATES:
        source = (FOLDER / f"{name}.html").read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape|Markup", source), name


@pytest.mark.parametrize("folder", CONVERTED)
def test_nothing_is_escaped_by_hand_where_templates_do_it(folder):
    for path in (APP / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert "html" not in names, path
            assert not (isinstance(node, ast.ImportFrom) and node.module == "html"), path
