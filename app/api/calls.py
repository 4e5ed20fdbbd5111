"""Shared steps of the HTTP API's endpoints: delete uploads, report errors as text, run the model."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps

import gradio as gr

from app.api.delivery import Files, delivering
from app.errors import shows_errors
from app.results import Result
from app.server.sessions import SessionStore
from app.service import Service
from ktb.inputs import XOptions

as_text = partial(shows_errors, as_html=False)


def streams_text(handler: Callable[..., Iterator]) -> Callable[..., Iterator]:
    """As `as_text`, for an endpoint that streams several results."""

    @wraps(handler)
    def wrapped(*args, **kwargs):
        try:
            yield from handler(*args, **kwargs)
        except ValueError as error:
            raise gr.Error(str(error), print_exception=False) from error

    return wrapped


class Calls:
    """The context of the endpoints; a call's uploads are deleted when it ends."""

    def __init__(self, service: Service, store: SessionStore):
        self.service, self.store = service, store

    @contextmanager
    def uploads(self, delivery: str, *given: str | list[str] | None) -> Iterator[Files]:
        """Delete a call's uploads when it ends; yields what delivers the files of its answer.

        delivery: "url", "inline" or "none". ValueError for any other, after the uploads are recorded.
        """
        call = uuid.uuid4().hex
        paths = [path for one in given for path in ([one] if isinstance(one, str) else one or ())]
        self.store.remember_uploads(call, paths)
        try:
            with delivering(delivery, self.store.answers) as files:
                yield files
        finally:
            self.store.close(call)

    @contextmanager
    def run(
        self,
        rgb: str | None,
        x: list[str] | None,
        model: str,
        options: dict | None,
        x_source: str,
        delivery: str,
        *others: str | list[str] | None,
    ) -> Iterator[tuple[Result, Files]]:
        """Run a pair and delete its uploads afterwards; see `uploads`. ValueError as `Service.segment`."""
        with self.uploads(delivery, rgb, x, *others) as files:
            yield self.service.segment(rgb, x, model, options_of(options), x_source), files


def options_of(options: dict | None) -> XOptions:
    """The caller's options of X; ValueError for an invalid option."""
    return XOptions.from_dict({} if options is None else options)
