"""Fixtures that tests of this room share."""

from __future__ import annotations

import pytest

from app.page import build_page, launch_options
from app.service import Service


@pytest.fixture(scope="module")
def service():
    return Service()


@pytest.fixture(scope="module")
def address(uploads, service):
    environment = pytest.MonkeyPatch()
    environment.setenv("GRADIO_TEMP_DIR", str(uploads))
    page = build_page(service)
    _, url, _ = page.queue().launch(prevent_thread_lock=True, quiet=True, **launch_options())
    yield url
    page.close()
    environment.undo()
