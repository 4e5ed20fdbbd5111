import json
import math

import numpy as np
import pytest

from ktb.inputs import AUTO, Calibration, InputError, Intrinsics, XOptions

SHIFT = [[1, 0, 8], [0, 1, -2]]
CAMERA = {"fx": 500, "fy": 501.5, "cx": 319.5, "cy": 239.5, "width": 640, "height": 480}
PHONE = CAMERA | {"fx": 900, "width": 1280, "height": 960}
TILT = [[math.cos(0.1), -math.sin(0.1), 0], [math.sin(0.1), math.cos(0.1), 0], [0, 0, 1]]
CALIBRATION = {"x": CAMERA, "rgb": PHONE, "rotation": TILT, "translation": [0.025, 0, -0.001]}


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"modality": "thermal", "unit": "kelvin", "hot": "black", "value_range": [10, 40.5]},
        {"field_of_view": 60},
        {"intrinsics": [500, 501, 320, 240]},
        {"window_ms": [0, 50], "columns": "txyp", "time_unit": "us", "sensor_hw": [480, 640]},
        {"matrix": SHIFT},
        {"matrix": [[2, 0.1, 8], [0, 2, -2], [1e-4, 0, 2]]},
        {"calibration": CALIBRATION},
    ],
)
def test_options_survive_json_and_are_keys(values):
    options = XOptions.from_dict(values)
    said = json.loads(json.dumps(options.to_dict()))
    assert XOptions.from_dict(said) == options
    assert said.keys() == values.keys()
    assert {options: 1}[XOptions.from_dict(said)] == 1
    assert (options == AUTO) == (not values)


def test_arrays_and_tuples_are_taken_too():
    assert XOptions(matrix=np.float32(SHIFT)).matrix == ((1, 0, 8), (0, 1, -2), (0, 0, 1))
    assert XOptions(sensor_hw=np.array([480, 640])).sensor_hw == (480, 640)
    assert XOptions(matrix=np.array(SHIFT)) == XOptions(matrix=tuple(map(tuple, SHIFT)))


def test_a_matrix_of_any_sign_and_scale_is_the_same():
    three = np.array([[2, 0.1, 8], [0, 2, -2], [1e-4, 0, 1]])
    assert np.allclose(XOptions(matrix=-3 * three).matrix, three)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"modality": "sonar"}, "'sonar'; allowed: auto, depth"),
        ({"modality": 3}, "modality of X is 3; allowed: auto, depth"),
        ({"unit": None}, "unit of X is None"),
        ({"hot": "blue"}, "is 'blue'; allowed: auto, white, black"),
        ({"hot": ["white"]}, "allowed: auto, white, black"),
        ({"value_range": [1, True]}, "give 2 finite numbers"),
        ({"value_range": [2, 1]}, "lower number first"),
        ({"value_range": [1, float("nan")]}, "give 2 finite numbers"),
        ({"window_ms": "0-50"}, "'0-50'; give 2 finite numbers"),
        ({"window_ms": [0, 10**400]}, "give 2 finite numbers"),
        ({"sensor_hw": [480.5, 640]}, "height and width in pixels"),
        ({"sensor_hw": [0, 640]}, "height and width in pixels"),
        ({"sensor_hw": [480, 640, 3]}, "give 2 finite numbers"),
        ({"intrinsics": [500, 500, 320]}, "give 4 finite numbers"),
        ({"intrinsics": [-500, 500, 320, 240]}, "must be positive"),
        ({"intrinsics": {"fx": 500}}, "give 4 finite numbers"),
        ({"field_of_view": "60"}, "give degrees"),
        ({"field_of_view": True}, "give degrees"),
        ({"field_of_view": 190}, "1 to 170 degrees"),
        ({"matrix": 5}, "5, no table of numbers; give 2 x 3 or 3 x 3"),
        ({"matrix": "1 0 0"}, "no table of numbers"),
        ({"matrix": [1, 0, 0]}, "no table of numbers"),
        ({"matrix": [[1, 0, 0]]}, "1 rows of 3 numbers"),
        ({"matrix": [[1, 0, 0], [0, 1]]}, "2 rows of 2 or 3 numbers"),
        ({"matrix": [[1, 0, 0], [0, "1", 0]]}, "contains '1'"),
        ({"matrix": [[1, 0, 0], [0, True, 0]]}, "contains True"),
        ({"matrix": [[1, 0, 0], [0, math.inf, 0]]}, "contains inf"),
        ({"matrix": [[1, 1, 0], [1, 1, 0]]}, "flat or large"),
        ({"matrix": [[1e-6, 0, 0], [0, 1e-6, 0]]}, "small, flat or large"),
        ({"matrix": [[1e6, 0, 0], [0, 1e6, 0]]}, "small, flat or large"),
        ({"matrix": [[1, 0, 0], [0, 1, 0], [0, 0, 0]]}, "infinitely"),
        ({"matrix": [[1e308, 0, 0], [0, 1e308, 0], [0, 0, 1e-300]]}, "infinitely"),
        ({"matrix": SHIFT, "calibration": CALIBRATION}, "both a matrix and a calibration"),
        ({"colour": 3}, r"unknown keys \['colour'\]; allowed: \['byte_order', 'calibration'"),
        ([1, 2], "options of X are list"),
    ],
)
def test_wrong_options_are_named(values, message):
    with pytest.raises(InputError, match=message):
        XOptions.from_dict(values)


def test_a_calibration_in_code_must_be_one():
    with pytest.raises(InputError, match=r"the calibration is dict; give a Calibration"):
        XOptions(calibration=CALIBRATION)


def changed(camera: str = "", **values) -> dict:
    return CALIBRATION | ({camera: CALIBRATION[camera] | values} if camera else values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, 'the calibration lacks "x"; give {"x": {"fx"'),
        ([CAMERA, PHONE], "give an object such as"),
        ({"x": CAMERA, "rgb": PHONE}, 'lacks "translation"'),
        (changed(x=[500, 500]), 'camera "x" is .*give an object'),
        (changed(x={k: v for k, v in CAMERA.items() if k != "cx"}), 'camera "x" lacks "cx"'),
        (changed("rgb", fx="900"), "camera \"rgb\": fx is '900'; give a number of pixels"),
        (changed("rgb", fy=False), "fy is False"),
        (changed("rgb", fy=0), "must be positive"),
        (changed("rgb", width=640.5), "width x height is 640.5 x 960"),
        (changed("rgb", distortion=[0.1]), "unknown keys .*undistort both images"),
        (changed(unit="mm"), r"unknown keys \['unit'\], leave them out"),
        (changed(rotation=[[1, 0, 0], [0, 1, 0]]), "the rotation has 2 rows of 3 numbers; give 3 x 3"),
        (changed(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, -1]]), "the rotation is none"),
        (changed(rotation=[[2, 0, 0], [0, 2, 0], [0, 0, 2]]), "the rotation is none"),
        (changed(translation=[25, 0, 0]), "25 long, 10 m is the most; give metres, not millimetres"),
        (changed(translation=[1, 0]), "give 3 finite numbers"),
        (changed(extrinsics=np.eye(4).tolist()), r"unknown keys \['rotation', 'translation'\]"),
        ({"x": CAMERA, "rgb": PHONE, "extrinsics": [[1, 0], [0, 1]]}, "give 4 x 4 or 3 x 4"),
        ({"x": CAMERA, "rgb": PHONE, "extrinsics": np.ones((4, 4)).tolist()}, "must be 0, 0, 0, 1"),
    ],
)
def test_wrong_calibrations_are_named(values, message):
    with pytest.raises(InputError, match=message):
        Calibration.from_dict(values)


def test_extrinsics_stand_for_rotation_and_translation():
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = TILT, CALIBRATION["translation"]
    for extrinsics in (pose.tolist(), pose[:3].tolist(), pose):
        given = {"x": CAMERA, "rgb": PHONE, "extrinsics": extrinsics}
        assert Calibration.from_dict(given) == Calibration.from_dict(CALIBRATION)


def test_a_calibration_follows_a_pure_scale_only():
    calibration = Calibration.from_dict(CALIBRATION)
    half = calibration.scaled((240, 320), (960, 1280))
    assert half.x == Intrinsics(250, 250.75, 159.5, 119.5, (240, 320))
    assert half.rgb == calibration.rgb
    with pytest.raises(InputError, match="for X of 640 x 480, but it is 640 x 360"):
        calibration.scaled((360, 640), (960, 1280))
    with pytest.raises(InputError, match="for the RGB image of 1280 x 960, but it is 1280 x 720"):
        calibration.scaled((480, 640), (720, 1280))


def test_the_camera_of_x():
    assert XOptions().camera((480, 640)) == Intrinsics()
    assert XOptions(intrinsics=(1, 2, 3, 4)).camera((30, 40)) == Intrinsics(1, 2, 3, 4, (30, 40))
    assert XOptions(field_of_view=90).camera((50, 100)).fx == pytest.approx(50)
    calibration = Calibration.from_dict(CALIBRATION)
    assert XOptions(calibration=calibration).camera((960, 1280)).fx == pytest.approx(1000)


def test_the_camera_of_aligned_depth():
    small, large = (60, 80), (120, 160)
    own = (70.0, 75.0, 30.0, 35.0)
    assert XOptions().rgb_camera(small, large) == (XOptions().camera(small).scaled(large), True)
    assert XOptions(intrinsics=own).rgb_camera(small, large) == (Intrinsics(*own, small).scaled(large), False)
    assumed = XOptions(intrinsics=own, assumed=("intrinsics",))
    assert assumed.rgb_camera(small, large)[1]  # as in training: the user did not say it
    calibration = Calibration.from_dict(CALIBRATION)
    assert XOptions(calibration=calibration).rgb_camera((480, 640), (960, 1280)) == (calibration.rgb, False)


@pytest.mark.parametrize("turn", [0, 0.02])
def test_a_matrix_moves_the_camera_as_the_pixels(turn):
    cos, sin = math.cos(turn), math.sin(turn)
    matrix = np.array([[2 * cos, -2 * sin, 8], [2 * sin, 2 * cos, -2], [0, 0, 1]])
    options = XOptions(intrinsics=(70, 75, 30, 35), matrix=matrix)
    camera, is_assumed = options.rgb_camera((60, 80), (120, 160))
    assert not is_assumed
    assert camera.size_hw == (120, 160)
    focal, centre = (camera.fx, camera.fy), (camera.cx, camera.cy)
    assert focal == pytest.approx((140, 150), rel=1e-3 if turn else 1e-12)
    assert centre == pytest.approx((matrix @ [30, 35, 1])[:2])


def test_a_matrix_that_puts_the_principal_point_behind_leaves_the_assumed_camera():
    away = XOptions(intrinsics=(70, 75, 30, 35), matrix=[[1, 0, 0], [0, 1, 0], [-0.05, 0, 1]])
    camera, is_assumed = away.rgb_camera((60, 80), (60, 80))
    assert camera == XOptions().camera((60, 80))
    assert is_assumed
