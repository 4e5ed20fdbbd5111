"""Fixtures of the tests of the tabs."""

from __future__ import annotations

import pytest
from helpers.embedded import small_predictor, small_service
from helpers.pairs import synthetic_pair, write_pair

MODEL = "ktb-lite-nyuv2-depth"


@pytest.fixture(scope="module")
def expected():
    """The Python API's prediction for the synthetic pair."""
    photo, depth = synthetic_pair()
    return small_predictor(MODEL)(photo, depth)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The page's result for the synthetic pair."""
    return small_service().segment(*map(str, write_pair(tmp_path_factory.mktemp("pair"))), MODEL)
