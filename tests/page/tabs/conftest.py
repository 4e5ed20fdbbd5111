"""Fixtures of the tests of the tabs."""

from __future__ import annotations

import pytest
from helpers.pairs import synthetic_pair

from ktb import Predictor, load_model


@pytest.fixture(scope="module")
def expected():
    """The Python API's prediction for the synthetic pair."""
    photo, depth = synthetic_pair()
    return Predictor(load_model("ktb-lite-nyuv2-depth"))(photo, depth)
