"""Fixtures of the tests of the page."""

from __future__ import annotations

import pytest
from helpers.embedded import small_service


@pytest.fixture(scope="module")
def service():
    """A service with the embedded models, one per test module."""
    return small_service()


@pytest.fixture(scope="module")
def own_uploads(tmp_path_factory):
    """Where a test module's own server keeps files."""
    return tmp_path_factory.mktemp("server_uploads")
