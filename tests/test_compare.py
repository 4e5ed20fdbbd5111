"""Two checkpoints on one pair: the numbers first, then the tab in a real browser."""

from __future__ import annotations

import numpy as np
import pytest
from test_what_if import labelled, pair, prediction, predictor, reading  # noqa: F401 (fixtures)

from ktb.differences import ChangedClass, difference, shared_names


def test_other_class_sets_are_compared_by_name(prediction):  # noqa: F811
    rest = tuple(f"a{i}" for i in range(len(prediction.classes) - 3))
    a = labelled(prediction, [[0, 1, 2, 2]], ("wall", "floor", "bed", *rest))
    b = labelled(prediction, [[1, 2, 1, 0]], ("sky", "wall", "floor"))
    assert shared_names(a, b) == ("wall", "floor")
    found = difference(a, b)
    assert found.comparable.tolist() == [[True, True, False, False]]
    assert not found.changed.any()
    assert found.changed_share == 0
    rows = {row.name: (row.share_a, row.share_b, row.iou) for row in found.classes}
    assert rows == {"wall": (0.25, 0.5, 0.5), "floor": (0.25, 0.25, 1)}
    turned = labelled(prediction, [[2, 2, 1, 0]], ("sky", "wall", "floor"))
    found = difference(a, turned)
    assert found.changes == (ChangedClass("wall", "floor", 0.25),)
    assert found.changed_share == 0.5


def test_nothing_in_common_is_said(prediction):  # noqa: F811
    other = labelled(prediction, prediction.labels["fused"], tuple(f"b{i}" for i in prediction.classes))
    with pytest.raises(ValueError, match="no class name in common"):
        difference(prediction, other)


def test_nothing_comparable_has_no_share(prediction):  # noqa: F811
    rest = tuple(f"a{i}" for i in range(len(prediction.classes) - 2))
    a = labelled(prediction, [[0, 0]], ("bed", "wall", *rest))
    found = difference(a, labelled(prediction, [[0, 1]], ("sky", "wall")))
    assert np.isnan(found.changed_share)
    assert found.changes == ()
