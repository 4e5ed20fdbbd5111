"""Errors of a visitor's values, as messages of the page or of the API."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import wraps

import gradio as gr

from app.results import Result
from app.service import MissingX
from app.widgets.alignment import pointed


def shows_errors(handler: Callable, as_html: bool = True) -> Callable:
    """Turn a handler's ValueError into a message of the page, or, unless `as_html`, of the API."""

    @wraps(handler)
    def wrapped(*args, **kwargs):
        try:
            return handler(*args, **kwargs)
        except ValueError as error:
            seconds = 8 if isinstance(error, MissingX) else 20  # a missing X has a button as its remedy
            message = html.escape(pointed(str(error))) if as_html else str(error)
            raise gr.Error(message, duration=seconds, print_exception=False) from error

    return wrapped


def show_error(message: str) -> None:
    """Show the error of an event outside the queue: Gradio itself shows only errors of the queue."""
    raise gr.Error(html.escape(html.unescape(str(message))), duration=20, print_exception=False)


def base_run(result: Result | None) -> Result:
    """The session's result; ValueError if there is none."""
    if result is None:
        raise ValueError("there is no result to start from. Run a pair first.")
    return result
