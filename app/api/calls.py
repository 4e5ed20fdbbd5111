"""Shared steps of the HTTP API's endpoints: delete uploads, report errors as text, run the model."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps

import gradio as gr

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
    def uploads(self, *files: str | list[str] | None) -> Iterator[None]:
        """Delete a call's files when it ends."""
        call = uuid.uuid4().hex
        given = [path for one in files for path in ([one] if isinstance(one, str) else one or ())]
        self.store.remember_uploads(call, given)
        try:
            yield
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
        *others: str | list[str] | None,
    ) -> Iterator[Result]:
        """Run a pair and delete all files of the call afterwards. ValueError as `Service.segment`."""
        with self.uploads(rgb, x, *others):
            yield self.service.segment(rgb, x, model, options_of(options), x_source)


def options_of(options: dict | None) -> XOptions:
    """The caller's options of X; ValueError for an invalid option."""
    return XOptions.from_dict({} if options is None else options)
