"""Fixtures that tests of this room share."""

from __future__ import annotations

import pytest
from helpers.models import MM, depth_model
from helpers.pairs import synthetic_pair

from ktb import Predictor


@pytest.fixture(scope="module")
def predictor():
    return Predictor(depth_model())


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair(95, 127)


@pytest.fixture(scope="module")
def reading(predictor, pair):
    return predictor.read(pair[1], pair[0].shape[:2], MM)


@pytest.fixture(scope="module")
def prediction(predictor, pair, reading):
    return predictor(pair[0], reading)
