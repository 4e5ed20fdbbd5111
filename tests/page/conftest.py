"""Fixtures of the tests of the page."""

from __future__ import annotations

import pytest

from app.service import Service


@pytest.fixture(scope="module")
def service():
    """A service with the embedded models, one per test module."""
    return Service()
