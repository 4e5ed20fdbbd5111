"""Points in space: where they are, what the PLY file holds, and which X is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from helpers.embedded import small_predictor
from helpers.pairs import synthetic_pair

from ktb.inputs import Calibration, Intrinsics, RawX, XOptions
from ktb.outputs.point_cloud import back_project, ply_bytes, point_cloud

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL = "ktb-lite-nyuv2-depth"
OWN = (140.0, 150.0, 70.0, 60.0)
MM = XOptions(unit="mm", intrinsics=OWN)


@pytest.fixture(scope="module")
def pair():
    return synthetic_pair()


@pytest.fixture(scope="module")
def predictor():
    return small_predictor(MODEL)


@pytest.fixture(scope="module")
def prediction(predictor, pair):
    return predictor(*pair, trace=False, options=MM)


def read_ply(data: bytes) -> tuple[list[str], np.ndarray]:
    """The comments, and the vertices by the properties of the header."""
    head, body = data.split(b"end_header\n", 1)
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    comments = [line.removeprefix("comment ") for line in lines if line.startswith("comment ")]
    (count,) = [int(line.split()[2]) for line in lines if line.startswith("element vertex")]
    types = {"float": "<f4", "uchar": "u1"}
    kinds = [line.split()[1:] for line in lines if line.startswith("property")]
    vertices = np.frombuffer(body, np.dtype([(name, types[kind]) for kind, name in kinds]))
    assert len(vertices) == count
    return comments, vertices


def seen(points: np.ndarray, fx: float, fy: float, cx: float, cy: float) -> np.ndarray:
    """(row, column) where a pinhole camera sees points (N, 3)."""
    x, y, z = np.float64(points).T
    return np.stack([fy * y / z + cy, fx * x / z + cx], axis=-1)


def test_points_are_seen_where_they_were_measured(prediction, pair):
    cloud = point_cloud(pair[0], prediction)
    apart = np.linalg.norm(seen(cloud.points, *OWN) - cloud.pixels, axis=-1)
    assert apart.max() < 0.5  # as promised; in fact by rounding alone:
    assert apart.max() < 1e-3
    rows, columns = cloud.pixels.T
    assert len(cloud.points) == np.count_nonzero(pair[1])  # without the holes
    np.testing.assert_allclose(cloud.points[:, 2], pair[1][rows, columns] / 1000, rtol=1e-6)
    np.testing.assert_array_equal(cloud.colors, pair[0][rows, columns])
    np.testing.assert_array_equal(cloud.classes, prediction.labels["fused"][rows, columns])
    np.testing.assert_array_equal(cloud.confidences, prediction.confidences["fused"][rows, columns])


def test_depth_of_another_camera_stays_where_it_is_in_space(predictor, pair):
    """A wall in front of the depth camera, registered to an RGB camera that is elsewhere and turned."""
    angle = 0.1
    turn = np.array(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]]
    )
    move = np.array([0.1, -0.05, 0.02])
    x_camera = Intrinsics(100, 100, 49.5, 39.5, (80, 100))
    rgb_camera = Intrinsics(*OWN, (120, 160))
    calibration = Calibration(x_camera, rgb_camera, turn, tuple(move))
    wall = np.full((80, 100), 2.0, np.float32)
    options = XOptions(unit="m", calibration=calibration)
    cloud = point_cloud(pair[0], predictor(pair[0], wall, trace=False, options=options))
    assert not cloud.camera_is_assumed
    assert np.abs(seen(cloud.points, *OWN) - cloud.pixels).max() < 0.5
    wall_of = (cloud.points - move) @ turn  # back in the depth camera's axes
    off = np.abs(wall_of[:, 2] - 2)
    assert np.median(off) < 0.01  # a pixel of the RGB image takes the distance of the nearest depth pixel
    assert off.max() < 0.02


def test_resized_depth_is_seen_by_its_scaled_camera(predictor, pair):
    half = np.ascontiguousarray(pair[1][::2, ::2])
    options = XOptions(unit="mm", intrinsics=(70, 75, 34.75, 29.75))
    cloud = point_cloud(pair[0], predictor(pair[0], half, trace=False, options=options))
    assert np.abs(seen(cloud.points, *OWN) - cloud.pixels).max() < 0.5


def test_large_clouds_are_thinned_evenly(prediction, pair):
    cloud = point_cloud(pair[0], prediction, max_points=2200)
    assert set(cloud.pixels[:, 0]) == set(range(0, 120, 3))
    assert set(cloud.pixels[:, 1]) == set(range(0, 160, 3))
    assert 2000 < len(cloud.points) <= 2200
    assert np.abs(seen(cloud.points, *OWN) - cloud.pixels).max() < 0.5


def test_the_sky_is_no_point(predictor, pair):
    depth = pair[1].copy()
    depth[:20] = 60_000
    cloud = point_cloud(pair[0], predictor(pair[0], depth, trace=False, options=MM))
    assert cloud.pixels[:, 0].min() == 20


def test_a_ply_file_holds_the_points_and_says_where_they_are_from(prediction, pair):
    classes = ("w\nä ll", *prediction.classes[1:])
    named = dataclasses.replace(prediction, classes=classes)
    cloud = point_cloud(pair[0], named, "x")
    comments, vertices = read_ply(ply_bytes(cloud, named))
    assert vertices.dtype.names == ("x", "y", "z", "red", "green", "blue", "class", "confidence")
    for axis, column in zip("xyz", cloud.points.T):
        np.testing.assert_array_equal(vertices[axis], column)
    for name, column in zip(("red", "green", "blue"), cloud.colors.T):
        np.testing.assert_array_equal(vertices[name], column)
    np.testing.assert_array_equal(vertices["class"], cloud.classes)
    np.testing.assert_array_equal(vertices["confidence"], cloud.confidences)
    assert f"checkpoint {MODEL}" in comments
    assert "camera fx 140 fy 150 cx 70 cy 60 width 160 height 120" in comments
    assert "camera given" in comments
    assert "class 0 w \\xe4 ll" in comments
    assert f"class 39 {prediction.classes[39]}" in comments


def test_an_assumed_camera_is_said(predictor, pair):
    prediction = predictor(*pair, trace=False, options=XOptions(unit="mm"))
    comments, _ = read_ply(ply_bytes(point_cloud(pair[0], prediction), prediction))
    assert "camera ASSUMED, because none was given" in comments


def test_what_is_no_depth_in_metres_is_refused(predictor, pair, prediction):
    rgb, depth = pair

    def refused(message, found):
        with pytest.raises(ValueError, match=message):
            point_cloud(rgb, found)

    refused("there is no X. Give measured depth", predictor(rgb, None, trace=False))
    thermal = XOptions(modality="thermal")
    refused("X is thermal", predictor(rgb, depth, trace=False, options=thermal))
    guessed = predictor(rgb, (depth // 8).astype(np.uint8), trace=False, options=XOptions(modality="depth"))
    guess = dataclasses.replace(guessed.x.depth, confidence="guess")
    refused(
        r"is only a guess. Choose the unit of X: --unit",
        dataclasses.replace(guessed, x=dataclasses.replace(guessed.x, depth=guess)),
    )
    metres = np.float32(depth) / 1000 + 0.1
    relative = RawX(metres, "estimated", origin="estimated", guessed={"unit": "m"})
    refused("this depth is relative", predictor(rgb, relative, trace=False))
    metric = RawX(metres, "estimated", origin="estimated")
    assert len(point_cloud(rgb, predictor(rgb, metric, trace=False)).points) == depth.size
    empty = dataclasses.replace(prediction.x.depth, metres=np.full_like(prediction.x.depth.metres, np.nan))
    x = dataclasses.replace(prediction.x, depth=empty)
    refused("no pixel of the RGB image has any", dataclasses.replace(prediction, x=x))


def test_back_projection_needs_the_camera_of_this_size():
    with pytest.raises(ValueError, match=r"camera is for \(480, 640\).*Intrinsics.scaled"):
        back_project(np.ones((24, 32)), Intrinsics())
