"""Fixtures that tests of this room share."""

from __future__ import annotations

import pytest
from helpers.pairs import synthetic_pair

from ktb import Predictor, load_model


@pytest.fixture(scope="module")
def expected():
    """The Python API's prediction for the synthetic pair."""
    photo, depth = synthetic_pair()
    return Predictor(load_model("ktb-lite-nyuv2-depth"))(photo, depth)


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("server_uploads")
