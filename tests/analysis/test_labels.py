import dataclasses

import cv2
import numpy as np
import pytest

from ktb.labels import DATASETS, DatasetLabels, distinct_palette, generic_labels


def _closest(palette) -> float:
    """Smallest CIE76 distance between two colours."""
    lab = cv2.cvtColor(np.asarray(palette, np.float32)[None] / 255, cv2.COLOR_RGB2Lab)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=-1)
    return float(distance[~np.eye(len(lab), dtype=bool)].min())


def test_the_datasets_have_their_number_of_classes():
    counts = {name: labels.num_classes for name, labels in DATASETS.items()}
    benchmarks = {"nyuv2": 40, "sunrgbd": 37, "mfnet": 9, "pst900": 5, "mcubes": 20, "deliver": 25}
    assert counts == benchmarks | {"camvid": 11}
    assert all(name == labels.name for name, labels in DATASETS.items())


@pytest.mark.parametrize("name", DATASETS)
def test_names_and_colours_pair_up_and_can_be_told_apart(name):
    labels = DATASETS[name]
    assert len(set(labels.classes)) == len(set(labels.palette)) == labels.num_classes
    assert all(c == c.strip() and c for c in labels.classes)
    assert _closest(labels.palette) >= 17


@pytest.mark.parametrize("name", DATASETS)
def test_no_class_has_the_colour_of_a_sensor(name):
    sensors = [(34, 103, 179), (171, 78, 10), (47, 116, 192), (217, 112, 31)]  # texts and layers of RGB, X
    for class_name, color in zip(DATASETS[name].classes, DATASETS[name].palette):
        assert min(_closest([color, sensor]) for sensor in sensors) >= 25, class_name


def test_order_of_some_classes():
    nyu = DATASETS["nyuv2"].classes
    assert (nyu[0], nyu[21], nyu[39]) == ("wall", "ceiling", "other prop")
    assert DATASETS["sunrgbd"].classes == nyu[:37]
    assert DATASETS["sunrgbd"].palette == DATASETS["nyuv2"].palette[:37]
    assert DATASETS["mfnet"].classes[0] == "unlabeled"
    assert DATASETS["deliver"].classes[24] == "Truck"


def test_large_surfaces_of_a_room_are_far_apart():
    nyu = DATASETS["nyuv2"]
    surfaces = ("wall", "floor", "ceiling", "bed", "sofa", "window", "door", "table")
    assert _closest([nyu.palette[nyu.classes.index(name)] for name in surfaces]) >= 20


def test_datasets_are_read_only():
    with pytest.raises(TypeError):
        DATASETS["new"] = DATASETS["nyuv2"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        DATASETS["nyuv2"].name = "other"


def test_distinct_palette_is_deterministic_and_grows():
    palette = distinct_palette(64)
    assert palette == distinct_palette(64)
    assert palette[:10] == distinct_palette(10)
    assert _closest(palette) >= 20
    assert distinct_palette(0) == ()
    assert len(set(distinct_palette(256))) == 256


def test_generic_labels():
    labels = generic_labels(3)
    assert labels.classes == ("class 0", "class 1", "class 2")
    assert labels.palette == distinct_palette(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: distinct_palette(257), "n = 257.*0..256"),
        (lambda: generic_labels(0), "num_classes = 0.*1..255"),
        (lambda: generic_labels(256), "num_classes = 256.*1..255"),
        (lambda: DatasetLabels("d", "D", ("a", "b"), ((0, 0, 0),)), "2 class names and 1 colours"),
        (lambda: DatasetLabels("d", "D", ("a", "a"), ((0, 0, 0), (1, 1, 1))), "class name a is used twice"),
        (lambda: DatasetLabels("d", "D", ("a",), ((0, 0, 256),)), "not three numbers"),
    ],
)
def test_bad_values_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
