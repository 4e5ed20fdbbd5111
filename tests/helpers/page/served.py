"""A page that is served while a test module runs, with its files below a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.gradio_ext.blocks import Page
from app.mcp.route import Tools
from app.page import build_page, launch_options
from app.service import Service
from app.web.rate_limits import RateLimit
from app.widgets.examples import CustomExamples


@contextmanager
def serving(
    service: Service,
    folder: Path,
    limit: RateLimit | None = None,
    own: CustomExamples | None = None,
    warm_up: bool = False,
    opens_on_example: bool = False,
    ablates: bool = False,
    tools: Tools | None = None,
) -> Iterator[Page]:
    """The page on a service; its address is `page.local_url`. `warm_up` does the first run.

    By default the page opens empty and runs only what is asked for, which keeps tests fast.
    """
    with pytest.MonkeyPatch.context() as environment:  # also where the launch fails
        environment.setenv("GRADIO_TEMP_DIR", str(folder))
        if not warm_up:
            environment.setattr(service, "warm_up", lambda: None)
        page = build_page(service, own, opens_on_example, ablates)
        try:
            page.queue(max_size=128).launch(
                prevent_thread_lock=True, quiet=True, **launch_options(limit, tools=tools)
            )
            yield page
        finally:
            page.close()
