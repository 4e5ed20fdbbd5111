"""Moving X onto the RGB image: by a matrix, by the calibration of both cameras, and by an estimate."""

import io
import json
import math
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.pairs import synthetic_pair

from ktb.config import InputConfig
from ktb.inputs import (
    Calibration,
    InputError,
    Intrinsics,
    XOptions,
    alignment_overlay,
    encode_x,
    estimate_alignment,
    place,
    read_alignment,
    read_image_rgb,
    read_x,
)
from ktb.inputs.alignment.warp import reached, register_depth, resize, stretch, warp

NAN = float("nan")
RNG = np.random.default_rng(0)
EXAMPLES = Path(__file__).resolve().parents[3] / "assets" / "examples"
DEPTH, NIR = InputConfig(modality="depth", encoding="depth"), InputConfig(modality="nir", encoding="nir")


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


# Warping


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_whole_pixels_move_exactly(interpolation, dtype):
    image = (RNG.random((40, 50, 3)) * 255).astype(dtype)
    moved = warp(image, shift(7, -3), (40, 50), interpolation)
    assert np.array_equal(moved[:37, 7:], image[3:, :43])
    outside = ~reached(shift(7, -3), (40, 50), (40, 50))
    assert outside.sum() == 40 * 7 + 43 * 3
    assert (np.isnan(moved[outside]) if dtype == np.float32 else moved[outside] == 0).all()


def test_bilinear_matches_opencv_inside():
    image = RNG.random((60, 80)).astype(np.float32)
    matrix = np.array([[1.1, 0.05, -4], [-0.03, 0.95, 2], [1e-4, -2e-4, 1]])
    expected = cv2.warpPerspective(image, matrix, (90, 70), borderValue=NAN)
    moved = warp(image, matrix, (70, 90))
    assert np.isfinite(expected).mean() > 0.5
    assert np.nanmax(abs(moved - expected)) < 0.05  # OpenCV rounds positions to 1/32 pixel


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_holes_stay_holes_and_never_mix(interpolation):
    image = np.full((60, 60), 2.0, np.float32)
    image[20:30, 20:30] = NAN
    moved = warp(image, shift(0.4, 0.4) @ np.diag([1.5, 1.5, 1]), (90, 90), interpolation)
    hole = np.isnan(moved[5:85, 5:85])
    assert hole.sum() == pytest.approx(15 * 15, abs=2 * 15)
    assert np.allclose(moved[5:85, 5:85][~hole], 2)
    for size in ((60, 60), (90, 90), (47, 47)):
        resized = resize(image, size, interpolation)
        share = np.isnan(resized).mean()
        assert share == pytest.approx(100 / 3600, abs=0.01)
        assert np.allclose(resized[~np.isnan(resized)], 2)


def test_one_measured_pixel_survives_and_one_hole_does_not_grow():
    image = np.full((33, 33), NAN, np.float32)
    image[16, 16] = 5
    moved = warp(image, shift(0.3, -0.2), (33, 33))
    assert np.argwhere(np.isfinite(moved)).tolist() == [[16, 16]]
    assert moved[16, 16] == pytest.approx(5)
    image = np.where(np.isnan(image), np.float32(1), np.float32(NAN))
    moved = warp(image, shift(0.3, -0.2), (33, 33))
    assert np.isnan(moved[3:-3, 3:-3]).sum() == 1


def test_resizing_as_a_matrix_is_resizing():
    image = cv2.GaussianBlur(RNG.random((40, 60)).astype(np.float32), (0, 0), 2)
    for size in ((80, 120), (60, 90)):
        by_matrix = warp(image, stretch((40, 60), size), size)
        assert np.abs(by_matrix - resize(image, size, "bilinear")).max() < 0.01


def test_what_lies_behind_the_horizon_is_not_seen():
    matrix = np.array([[1, 0, 0], [0, 1, 0], [0, -0.05, 1]])  # rows of X below 20 lie beyond the horizon
    moved = warp(np.ones((100, 60), np.float32), matrix, (100, 60))
    seen = reached(matrix, (100, 60), (100, 60))
    rows, columns = np.nonzero(seen)
    back = np.linalg.inv(matrix) @ [columns, rows, np.ones(len(rows))]
    assert (back[2] > 0).all()
    assert (back[1] / back[2] <= 20).all()
    assert np.array_equal(seen, np.isfinite(moved))


@pytest.mark.parametrize("scale", [2e-4, 5e3])
def test_extreme_matrices_are_bounded(scale):
    options = XOptions(matrix=np.diag([scale, scale, 1.0]))
    start = time.perf_counter()
    moved = place(np.ones((480, 640), np.float32), (1000, 1500), "bilinear", options)
    assert time.perf_counter() - start < 3
    assert moved.shape == (1000, 1500)
    assert np.isfinite(moved).sum() == (1 if scale < 1 else 1500 * 1000)


# What the network gets


def test_a_picture_is_zero_where_it_does_not_reach():
    picture = np.full((60, 80), 200, np.uint8)
    reading = encode_x(picture, NIR, (60, 80), XOptions(matrix=shift(20, 0)))
    assert (reading.image[:, :20] == 0).all()
    assert np.allclose(reading.image[:, 20:], 200 / 255)
    assert reading.holes[:, :20].all()
    assert not reading.holes[:, 20:].any()
    assert (reading.preview[:, :20] == 128).all()
    assert (reading.preview[:, 20:] == 200).all()
    assert reading.facts["alignment"] == "warped by a matrix; X covers 75 % of the RGB image"
    assert not any("covers" in text or "cover " in text for text in reading.warnings)


def test_depth_is_filled_from_the_nearest_where_it_does_not_reach():
    _, depth = synthetic_pair()
    reading = encode_x(depth, DEPTH, (120, 160), XOptions(matrix=shift(100, 0), unit="mm"))
    assert np.isnan(reading.depth.metres[:, :100]).all()
    assert np.isfinite(reading.image).all()
    assert np.array_equal(reading.image[60:, 99], reading.image[60:, 100])
    assert reading.image[:, :100].min() > 0.1
    assert any("cover only 38 % of the RGB image; the rest is filled" in text for text in reading.warnings)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (shift(500, 0), "beside the RGB image: x 500 to 660, y 0 to 120"),
        (shift(0, -121), "perhaps it is inverted"),
        (shift(0, 0) + [[0, 0, -100], [0, 0, 0], [-0.05, 0, 0]], "behind the camera"),
    ],
)
def test_no_overlap_is_an_error(matrix, message):
    with pytest.raises(InputError, match=message):
        encode_x(synthetic_pair()[1], DEPTH, (120, 160), XOptions(matrix=matrix))


def test_a_matrix_replaces_the_rule_of_equal_proportions():
    depth = synthetic_pair()[1]
    with pytest.raises(InputError, match="proportions differ"):
        encode_x(depth, DEPTH, (120, 240))
    reading = encode_x(depth, DEPTH, (120, 240), XOptions(matrix=shift(40, 0)))
    assert reading.image.shape == (120, 240, 3)
    assert reading.holes[:, 200:].all()


# Registration of depth

CAMERA = Intrinsics(200, 200, 79.5, 59.5, (120, 160))


def calibration(
    rgb: Intrinsics = CAMERA, translation=(0, 0, 0), rotation=((1, 0, 0), (0, 1, 0), (0, 0, 1))
) -> Calibration:
    return Calibration(CAMERA, rgb, rotation, translation)


def test_the_same_camera_gives_the_same_map():
    metres = np.where((depth := synthetic_pair()[1]) == 0, NAN, depth / 1000).astype(np.float32)
    registration = register_depth(metres, calibration(), (120, 160))
    assert np.array_equal(registration.metres, metres, equal_nan=True)
    assert np.array_equal(registration.take(metres), metres, equal_nan=True)
    own = np.arange(metres.size).reshape(metres.shape)
    assert np.array_equal(registration.index, np.where(np.isnan(metres), -1, own))


def test_a_plane_lands_where_geometry_says():
    metres = np.full((120, 160), NAN, np.float32)
    metres[40:80, 50:90] = 2
    found = register_depth(metres, calibration(translation=(0.1, -0.05, 0)), (120, 160)).metres
    assert np.isfinite(found[35:75, 60:100]).all()  # 200 * 0.1 / 2 = 10 pixels right, 5 up
    assert np.isfinite(found).sum() == 40 * 40
    assert np.nanmin(found) == np.nanmax(found) == 2
    nearer = register_depth(metres, calibration(translation=(0, 0, -1)), (120, 160)).metres
    assert np.nanmax(nearer) == 1
    rows, columns = np.nonzero(np.isfinite(nearer))  # twice as large around the centre
    assert abs(rows.min() - (40 - 59.5) * 2 - 59.5) <= 1.5
    assert abs(columns.max() - (89 - 79.5) * 2 - 79.5) <= 1.5
    assert np.isfinite(nearer[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]).all()


def test_the_nearest_surface_hides_the_others():
    metres = np.full((120, 160), 4.0, np.float32)
    metres[40:80, 60:100] = 1
    found = register_depth(metres, calibration(translation=(0.05, 0, 0)), (120, 160))
    assert (found.metres[40:80, 70:110] == 1).all()  # moved by 10, the wall by 2.5
    assert np.isnan(found.metres[50:70, 64:69]).all()  # wall that the depth camera could not see
    assert (found.metres[:30, 5:] == 4).all()
    assert (found.index[40:80, 70:110] == np.arange(metres.size).reshape(120, 160)[40:80, 60:100]).all()


@pytest.mark.parametrize("factor", [0.37, 1, 2.5, 6])
@pytest.mark.parametrize("degrees", [0, 20])
def test_surfaces_keep_no_cracks_at_any_scale(factor, degrees):
    size = round(120 * factor), round(160 * factor)
    rays = (np.arange(160) - 79.5) / 200
    metres = np.broadcast_to(2 / (1 - 0.6 * rays), (120, 160)).astype(np.float32)  # a slanted wall
    turn = math.radians(degrees)
    rotation = [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]]
    found = register_depth(metres, calibration(CAMERA.scaled(size), (0.02, 0, 0), rotation), size).metres
    top, left = size[0] // 4, size[1] // 4
    assert np.isfinite(found[top:-top, left:-left]).all()


def test_sizes_may_be_a_pure_scale_of_the_calibration():
    metres = np.full((60, 80), 2.0, np.float32)
    found = register_depth(metres, calibration(), (240, 320)).metres
    assert (found == 2).all()
    with pytest.raises(InputError, match="no pure scale"):
        register_depth(metres, calibration(), (240, 300))
    with pytest.raises(InputError, match="no depth lies within the RGB image; check the translation"):
        register_depth(metres, calibration(translation=(9, 0, 0)), (240, 320))


def test_absurd_cameras_are_bounded_in_time():
    metres = (5 + RNG.random((480, 640))).astype(np.float32)
    strange = Intrinsics(1e6, 0.1, 319.5, 240, (480, 640))  # each point would cover the whole RGB image
    turn = [[math.sqrt(0.5), -math.sqrt(0.5), 0], [math.sqrt(0.5), math.sqrt(0.5), 0], [0, 0, 1]]
    photo = Intrinsics(500, 500, 999.5, 749.5, (1500, 2000))
    start = time.perf_counter()
    found = register_depth(metres, Calibration(strange, photo, turn), (1500, 2000)).metres
    assert time.perf_counter() - start < 10
    assert np.isfinite(found).any()


def test_the_network_gets_registered_depth_and_only_depth():
    depth = np.full((120, 160), 3000, np.uint16)
    options = XOptions(calibration=calibration(translation=(0, 0, -1)), unit="mm")
    reading = encode_x(depth, DEPTH, (240, 320), options)
    assert np.allclose(reading.depth.metres, 2)
    assert np.allclose(reading.image, 0.2)
    assert reading.depth.median == 3  # as measured
    assert "registered" in reading.facts["alignment"]
    assert encode_x(depth, DEPTH, None, options).image.shape == (120, 160, 3)
    with pytest.raises(InputError, match=r"a calibration moves depth, .* give an alignment matrix"):
        encode_x(np.full((120, 160), 90, np.uint8), NIR, (120, 160), XOptions(calibration=calibration()))


def test_hha_is_registered_too():
    _, depth = synthetic_pair(240, 320)
    camera = Intrinsics(260, 260, 159.5, 119.5, (240, 320))
    inputs = InputConfig(modality="hha", encoding="hha")
    same = XOptions(calibration=Calibration(camera, camera), unit="mm")
    plain = encode_x(depth, inputs, (240, 320), XOptions(intrinsics=(260, 260, 159.5, 119.5), unit="mm"))
    registered = encode_x(depth, inputs, (240, 320), same)
    assert np.array_equal(registered.image[~plain.holes], plain.image[~plain.holes])
    assert np.array_equal(registered.holes, plain.holes)
    moved = encode_x(
        depth, inputs, (240, 320), XOptions(calibration=Calibration(camera, camera, translation=(0.1, 0, 0)))
    )
    assert np.isfinite(moved.image).all()
    assert moved.holes.mean() > plain.holes.mean()


# Reading


FLAT = [[1.5, 0, 8], [0, 1.5, -2]]
CAMERA_JSON = {"fx": 500, "fy": 500, "cx": 319.5, "cy": 239.5, "width": 640, "height": 480}
CALIBRATION_JSON = {"x": CAMERA_JSON, "rgb": CAMERA_JSON, "translation": [0.025, 0, 0]}


def as_npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        json.dumps(FLAT).encode(),
        json.dumps({"matrix": [*FLAT, [0, 0, 1]]}, indent=2).encode(),
        b"\xef\xbb\xbf1.5 0 8\r\n0 1.5 -2\r\n",
        b"# from my calibration\n1.5, 0.0, 8\n0, 1.5e0, -2 # y\n\n0,0,1\n",
        b"1.5;0;8\n0;1.5;-2",
        str(np.array(FLAT)).encode(),
        as_npy(FLAT),
        as_npy(np.float32([*FLAT, [0, 0, 1]])),
        as_npy(np.asfortranarray(FLAT)),
        as_npy(np.array(FLAT, ">f8")),
    ],
)
def test_a_matrix_in_every_form(data, tmp_path):
    (tmp_path / "m.anything").write_bytes(data)
    for alignment in (read_alignment(data), read_alignment(tmp_path / "m.anything")):
        assert alignment.matrix == ((1.5, 0, 8), (0, 1.5, -2), (0, 0, 1))
        assert alignment.calibration is None
        assert "an affine matrix, x' = 1.5 x + 0 y + 8" in alignment.summary
    assert alignment.name == "m.anything"


def test_a_calibration_replaces_a_matrix():
    alignment = read_alignment(json.dumps(CALIBRATION_JSON).encode(), "rig.json")
    options = alignment.applied_to(XOptions(unit="mm", matrix=FLAT))
    assert options == XOptions(unit="mm", calibration=Calibration.from_dict(CALIBRATION_JSON))
    assert "rig.json: a calibration of two cameras 2.5 cm apart" in alignment.summary


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "m.json: the file is empty"),
        (b"x" * 70_000, "m.json: 70,000 bytes, at most 65,536 for an alignment"),
        (b"\x89PNG\r\n\x1a\n\xff", "m.json: neither text nor .npy; give a matrix of 2 x 3"),
        (b"<html>", "line 1 is '<html>', no row of numbers"),
        (b"# nothing\n", "holds no numbers"),
        (b"1 0 0\n0 one 0", "line 2 is '0 one 0'"),
        (b"1 0 0\n0 nan 0", "contains nan"),
        (b"1 0 0 0 1 0", "1 rows of 6 numbers; give 2 x 3 or 3 x 3"),
        (b"[[1, 0, 0], [0, 1", "1 rows of 5 numbers"),
        (b"{", "m.json: no valid JSON"),
        (b'{"a":' * 20_000, "at most"),
        (b"[" * 60_000, "m.json"),
        (b"{}", "JSON with the keys"),
        (b'{"K": [[1, 0, 0]]}', r"keys \['K'\]; give a matrix"),
        (b'{"matrix": 3}', "the matrix is 3, no table"),
        (b'{"matrix": null}', "give a matrix"),
        (b'{"matrix": [[1, 0, 0], [0, 1, 0]], "x": {}}', "other keys beside it"),
        (b'{"x": {}, "rgb": {}, "translation": [0, 0, 0]}', 'm.json: .*"x" lacks "fx"; give'),
        (b"[[NaN, 0, 0], [0, 1, 0]]", "contains nan"),
        (b"[[1e999, 0, 0], [0, 1, 0]]", "contains inf"),
        (b'[["1", 0, 0], [0, 1, 0]]', "contains '1'"),
        (b"[[0, 0, 0], [0, 0, 0]]", "small, flat or large"),
        (as_npy(np.eye(4)), r"array of shape \(4, 4\)"),
        (as_npy(np.array([[1, "a", 2]] * 2)), "<U21"),
        (as_npy(np.array([[1, None, 2]] * 2)), "object"),
        (as_npy(FLAT)[:-1], "cut off"),
        (as_npy(FLAT)[:20], "header is damaged"),
    ],
)
def test_bad_alignments_are_named(data, message):
    with pytest.raises(InputError, match=message):
        read_alignment(data, "m.json")


def test_a_large_file_is_not_read(tmp_path):
    (tmp_path / "big.json").write_bytes(b" " * 100_000)
    with pytest.raises(InputError, match=r"big\.json: 100,000 bytes"):
        read_alignment(tmp_path / "big.json")
    with pytest.raises(InputError, match="no such file"):
        read_alignment(tmp_path / "none.json")


# Estimating

SLIGHTLY_OFF = np.array([[1.02, 0.012, -9], [-0.01, 0.99, 7], [0, 0, 1]])


def example(scene: str) -> tuple[np.ndarray, np.ndarray]:
    """A rendered RGB image and its depth, NaN in holes."""
    depth = read_x(EXAMPLES / f"{scene}_depth.png").data.astype(np.float32)
    return read_image_rgb(EXAMPLES / f"{scene}_rgb.png"), np.where(depth == 0, np.float32(NAN), depth)


def corner_error(matrix, wanted, size_hw: tuple[int, int]) -> float:
    """The largest distance, in pixels of the RGB image, between where two matrices put X's corners."""
    bottom, right = size_hw[0] - 1, size_hw[1] - 1
    found, true = (
        np.asarray(m) @ [[0, right, right, 0], [0, 0, bottom, bottom], [1, 1, 1, 1]] for m in (matrix, wanted)
    )
    return float(np.hypot(*(found[:2] / found[2] - true[:2] / true[2])).max())


@pytest.mark.parametrize("size", [(480, 640), (300, 400)])
def test_a_moved_copy_is_found_exactly(size):
    rgb, _ = example("kitchen")
    moved = warp(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), SLIGHTLY_OFF, (480, 640))
    estimate = estimate_alignment(rgb, resize(moved, size, "bilinear"))
    wanted = np.linalg.inv(SLIGHTLY_OFF) @ stretch(size, (480, 640))
    assert corner_error(estimate.start, wanted, size) > 8
    assert corner_error(estimate.matrix, wanted, size) < 0.5
    assert estimate.improves
    assert estimate.score_after > 0.95


@pytest.mark.parametrize("scene", ["bedroom", "kitchen", "living_room", "office"])
def test_depth_is_laid_onto_the_rgb_image(scene):
    rgb, depth = example(scene)
    estimate = estimate_alignment(rgb, warp(depth, SLIGHTLY_OFF, depth.shape, "nearest"))
    assert corner_error(estimate.matrix, np.linalg.inv(SLIGHTLY_OFF), depth.shape) < 3
    assert estimate.improves
    shifted = warp(depth, shift(8, 0), depth.shape, "nearest")
    estimate = estimate_alignment(rgb, shifted, "translation")
    assert corner_error(estimate.matrix, shift(-8, 0), depth.shape) < 1.5
    assert estimate.improves
    assert "instead of" in estimate.message


def test_an_aligned_pair_is_left_alone():
    rgb, depth = example("kitchen")
    estimate = estimate_alignment(rgb, depth)
    assert not estimate.improves
    assert corner_error(estimate.matrix, np.eye(3), depth.shape) < 3
    assert "move by" not in estimate.message
    assert "overlays" not in estimate.message  # there is one


@pytest.mark.parametrize("motion", ["translation", "affine", "homography"])
def test_pictures_of_different_scenes_are_not_aligned(motion):
    rgb, (_, depth) = example("kitchen")[0], example("office")
    estimate = estimate_alignment(rgb, depth, motion)
    assert not estimate.improves
    if not estimate.converged:
        assert estimate.matrix == estimate.start
        assert estimate.score_after == estimate.score_before
        assert estimate.message.startswith("No alignment of X and the RGB image was found: ")


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((48, 64), np.float32),
        np.full((48, 64), NAN, np.float32),
        RNG.random((48, 64)).astype(np.float32),
        np.full((480, 64, 3), 7, np.uint8),
        np.where(np.arange(64) == 9, np.inf, np.zeros((48, 64))),
    ],
)
@pytest.mark.parametrize("motion", ["translation", "affine", "homography"])
def test_what_cannot_be_aligned_is_said_and_not_raised(x, motion):
    for rgb in (synthetic_pair()[0], np.zeros((40, 40, 3), np.uint8)):
        estimate = estimate_alignment(rgb, x, motion)
        assert not estimate.converged
        assert estimate.matrix == estimate.start
        assert "No alignment" in estimate.message


def test_another_view_of_other_proportions_is_found():
    rgb, depth = example("kitchen")
    crop = depth[:, 60:580]  # 13:12 instead of 4:3, off the centre by 0.5 pixels
    estimate = estimate_alignment(rgb, crop)
    assert corner_error(estimate.start, shift(60, 0), crop.shape) < 1
    estimate = estimate_alignment(rgb, warp(crop, shift(6, -9), crop.shape, "nearest"), "translation")
    assert corner_error(estimate.matrix, shift(54, 9), crop.shape) < 2
    assert estimate.improves


def test_the_estimate_is_bounded_in_time():
    rgb, depth = example("bedroom")
    large = cv2.resize(rgb, (4000, 3000))
    for photo, x in ((rgb, depth), (large, cv2.resize(depth, (1600, 900), interpolation=cv2.INTER_NEAREST))):
        start = time.thread_time()
        estimate_alignment(photo, x, "homography")
        assert time.thread_time() - start < 15  # of computing; measured: 0.4 to 3.2 s


def test_the_overlay_shows_edges_where_they_lie():
    rgb = np.full((100, 140, 3), 90, np.uint8)
    x = np.zeros((100, 140), np.float32)
    x[:, 70:] = 1
    for offset in (0, 20):
        overlay = alignment_overlay(rgb, x, shift(offset, 0))
        assert overlay.shape == rgb.shape
        assert overlay.dtype == np.uint8
        coloured = np.ptp(overlay.astype(int), axis=-1).max(axis=0) > 100
        columns = np.flatnonzero(coloured)
        assert 66 + offset <= columns.min() <= columns.max() <= 73 + offset
    with pytest.raises(InputError, match="holds no measurement"):
        alignment_overlay(rgb, x * NAN, np.eye(3))


@pytest.mark.parametrize(
    ("rgb", "x", "motion", "message"),
    [
        (np.zeros((50, 50), np.uint8), np.zeros((50, 50)), "affine", r"the RGB image has shape \(50, 50\)"),
        (
            np.zeros((50, 50, 3), np.uint8),
            np.zeros((50, 50, 2)),
            "affine",
            "X has shape .* or .H, W. numbers",
        ),
        (np.zeros((50, 50, 3), np.uint8), np.zeros((5, 5)), "affine", "each side needs at least 32"),
        (np.zeros((50, 50, 3), np.uint8), np.zeros((50, 50)), "spline", "choose one of translation, affine"),
    ],
)
def test_wrong_arguments_of_the_estimate(rgb, x, motion, message):
    with pytest.raises(InputError, match=message):
        estimate_alignment(rgb, x, motion)
