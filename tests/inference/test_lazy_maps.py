"""Maps of large images: computed when they are read, and equal to those computed at once."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from helpers.models import stirred, tiny_model
from helpers.pairs import synthetic_pair

from app.server.memory import held_bytes
from ktb import Predictor
from ktb.config import BRANCHES
from ktb.inference import predictor as predictors
from ktb.inference.prediction import _nearest

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def predictions():
    """The same pair, decided when its maps are read, and at once."""
    predictor, pair = Predictor(stirred(tiny_model("lite")), short_side=64), synthetic_pair(150, 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictors, "MAX_EAGER_PIXELS", 1000)
        lazy = predictor(*pair)
    return lazy, predictor(*pair)


def test_nothing_is_computed_before_it_is_read(predictions):
    lazy, eager = predictions
    assert lazy.is_lazy
    assert not eager.is_lazy
    assert lazy.size_hw == eager.size_hw == (150, 200)
    assert held_bytes(lazy) > 0
    for branch, found in lazy.probabilities_at(20, 30).items():
        np.testing.assert_array_equal(found, eager.probabilities_at(20, 30)[branch])
    assert lazy.labels.decisions.computed == {}


def test_a_sample_is_that_of_the_whole_maps(predictions):
    lazy, eager = predictions
    for size in ((30, 40), (75, 100), (149, 199)):
        ours, theirs = lazy.sampled(size), eager.sampled(size)
        rows, columns = (_nearest(*sides) for sides in zip(size, (150, 200)))
        for branch in BRANCHES:
            np.testing.assert_array_equal(ours.labels[branch], theirs.labels[branch])
            np.testing.assert_allclose(ours.confidences[branch], theirs.confidences[branch], rtol=1e-5)
            whole = eager.labels[branch][rows][:, columns]
            np.testing.assert_array_equal(theirs.labels[branch], whole)
    assert lazy.labels.decisions.computed == {}


def test_the_sample_of_a_picture_is_that_of_opencv():
    for side, source in ((960, 3000), (1280, 4000), (7, 9)):
        line = np.arange(source, dtype=np.float32)[None]
        expected = cv2.resize(line, (side, 1), interpolation=cv2.INTER_NEAREST_EXACT)[0]
        assert np.abs(_nearest(side, source) - expected).max() <= 1
        assert np.mean(_nearest(side, source) == expected) > 0.9


def test_maps_that_are_read_are_those_computed_at_once(predictions):
    lazy, eager = predictions
    assert list(lazy.labels) == list(lazy.confidences) == list(BRANCHES)
    for branch in BRANCHES:
        np.testing.assert_array_equal(lazy.labels[branch], eager.labels[branch])
        np.testing.assert_array_equal(lazy.confidences[branch], eager.confidences[branch])
        assert lazy.class_table(branch) == eager.class_table(branch)
    assert lazy.labels["fused"] is lazy.labels["fused"]
    assert "nothing" not in lazy.labels
    copied = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(copied.labels["x"], eager.labels["x"])
    assert not copied.is_lazy


def test_confidences_are_computed_when_they_are_read():
    predictor, pair = Predictor(stirred(tiny_model("lite")), short_side=64), synthetic_pair(150, 200)
    prediction = predictor(*pair)
    before = held_bytes(prediction)
    assert prediction.confidences.computed == {}
    confidence = prediction.confidences["rgb"]
    assert (confidence.shape, confidence.dtype) == ((150, 200), np.float32)
    assert prediction.confidences["rgb"] is confidence
    assert list(prediction.confidences.computed) == ["rgb"]
    assert held_bytes(prediction) == before + confidence.nbytes
    for (y, x), branch in zip([(0, 0), (149, 199), (70, 33)], BRANCHES):
        probabilities = prediction.probabilities_at(y, x)[branch]
        assert prediction.labels[branch][y, x] == probabilities.argmax()
        assert prediction.confidences[branch][y, x] == pytest.approx(probabilities.max(), abs=1e-5)
    again = pickle.loads(pickle.dumps(prediction.confidences))
    assert {
        branch: (again[branch] == prediction.confidences[branch]).all() for branch in BRANCHES
    } == dict.fromkeys(BRANCHES, True)
