"""Histograms of the narrowest ranges and the largest numbers."""

import numpy as np
import pytest

from ktb.config import InputConfig
from ktb.inputs import encode_x
from ktb.inputs.histogram import HISTOGRAM_BINS, histogram


@pytest.mark.parametrize(
    "values",
    [
        np.array([0, 5e-324, 1.5e-323]),
        np.array([-1e-310, 1e-310]),
        np.array([0, 1e-45], np.float32),
        np.array([0, 6e-8], np.float16),
        np.array([60000, 60030], np.float16),
        np.float32(2**31) - np.arange(3, dtype=np.float32) * 128,
        np.array([2**63 - 1, 2**63 - 600], np.int64),
        np.array([-128, 127], np.int8),
        np.array([1.0, 1.0 + 2e-12]),
    ],
    ids=str,
)
def test_every_value_is_counted_in_bins_that_rise(values):
    found = histogram(np.repeat(values, 300), "m")
    assert found is not None
    assert found.counts.shape == (HISTOGRAM_BINS,)
    assert (np.diff(found.edges) > 0).all()
    assert found.counts.sum() >= 1


def test_millions_of_values_are_counted_from_a_sample_of_the_same_shape():
    values = np.random.default_rng(0).random((2000, 3000), np.float32)
    found, few = histogram(values), histogram(values[::50])
    assert found is not None
    assert few is not None
    assert 2_000_000 < found.counts.sum() < 4_000_000
    shares, expected = (one.counts / one.counts.sum() for one in (found, few))
    assert np.abs(shares - expected).max() < 0.001


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64])
def test_the_largest_integers_are_encoded_as_thermal(dtype):
    """In Kelvin, as float32, they lie closer to each other than float32 has edges for."""
    image = np.zeros((40, 48), dtype)
    image[:20] = np.iinfo(dtype).max
    encoded = encode_x(image, InputConfig(modality="thermal", encoding="thermal"), (40, 48))
    assert np.isfinite(encoded.image).all()
