"""Pinhole cameras, and the pose of X's camera relative to the RGB image's."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ktb.inputs.limits import MAX_SIDE, InputError
from ktb.inputs.validation import Matrix, as_numbers, as_table, is_number, short, to_json

Rotation = tuple[tuple[float, float, float], ...]
MAX_BASELINE = 10.0
"""Maximum distance of two cameras in metres; larger values indicate millimetres."""
CALIBRATION_FORM = (
    '{"x": {"fx": .., "fy": .., "cx": .., "cy": .., "width": .., "height": ..}, "rgb": {the same six}, '
    '"rotation": 3 x 3 (optional), "translation": [metres, metres, metres]}'
)
"""The format of a calibration, for messages."""
_CAMERA_KEYS = ("fx", "fy", "cx", "cy", "width", "height")
_SAME_SCALE = 0.01
_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera in pixels of an image of `size_hw`; pixel centres are counted from 0.

    Source of the default: camera_params.m of the NYU Depth V2 toolbox, its colour camera at 480 x 640.
    """

    fx: float = 518.85790117450188
    fy: float = 519.46961112127485
    cx: float = 325.58244941119034 - 1
    cy: float = 253.73616633400465 - 1
    size_hw: tuple[int, int] = (480, 640)

    def __post_init__(self) -> None:
        values = as_numbers("intrinsics", (self.fx, self.fy, self.cx, self.cy), 4)
        size = as_numbers("the size of the intrinsics", self.size_hw, 2)
        if min(*values[:2], *size) <= 0:
            raise InputError(f"intrinsics {values} of {size}: fx, fy and the size must be positive")
        for name, value in zip(("fx", "fy", "cx", "cy"), values):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "size_hw", tuple(map(int, size)))

    def scaled(self, size_hw: tuple[int, int]) -> "Intrinsics":
        """The camera scaled to an image of another size."""
        y, x = (new / old for new, old in zip(size_hw, self.size_hw))
        cx, cy = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5
        return Intrinsics(self.fx * x, self.fy * y, cx, cy, tuple(size_hw))

    def warped(self, matrix: Matrix | np.ndarray, size_hw: tuple[int, int]) -> "Intrinsics | None":
        """The camera after its image was moved by a 3 x 3 matrix of pixel positions to one of `size_hw`.

        Exact where the matrix scales and shifts. Of any other, its scale at the principal point counts; None
        if that point lies behind the camera.
        """
        matrix, centre = np.asarray(matrix, np.float64), np.array([self.cx, self.cy, 1.0])
        x, y, w = matrix @ centre
        if not w > 0:
            return None
        scale = (matrix[:2, :2] - np.outer((x / w, y / w), matrix[2, :2])) / w
        fx, fy = (self.fx, self.fy) * np.linalg.norm(scale, axis=0)
        return Intrinsics(float(fx), float(fy), float(x / w), float(y / w), (size_hw[0], size_hw[1]))

    @staticmethod
    def from_field_of_view(degrees: float, size_hw: tuple[int, int]) -> "Intrinsics":
        """A camera with the principal point at the image's centre and this horizontal field of view."""
        if not is_number(degrees) or not 1 <= degrees <= 170:
            raise InputError(f"field of view {short(degrees)}: give 1 to 170 degrees, measured horizontally")
        height, width = size_hw
        focal = width / 2 / math.tan(math.radians(degrees) / 2)
        return Intrinsics(focal, focal, (width - 1) / 2, (height - 1) / 2, (height, width))

    def to_dict(self) -> dict[str, float]:
        """fx, fy, cx, cy, width and height."""
        values = (self.fx, self.fy, self.cx, self.cy, self.size_hw[1], self.size_hw[0])
        return dict(zip(_CAMERA_KEYS, values))

    @staticmethod
    def from_dict(values: Mapping[str, Any], name: str = "the camera") -> "Intrinsics":
        """A camera from JSON with the six keys of `to_dict`; InputError names a missing or invalid key."""
        _check_keys(name, values, _CAMERA_KEYS, _CAMERA_KEYS)
        if wrong := [key for key in _CAMERA_KEYS if not is_number(values[key])]:
            raise InputError(f"{name}: {wrong[0]} is {short(values[wrong[0]])}; give a number of pixels")
        size = values["height"], values["width"]
        if any(side % 1 or not 1 <= side <= MAX_SIDE for side in size):
            raise InputError(
                f"{name}: width x height is {size[1]} x {size[0]}; give 1 to {MAX_SIDE:,} pixels"
            )
        return Intrinsics(values["fx"], values["fy"], values["cx"], values["cy"], size)


def assumed_camera(size_hw: tuple[int, int]) -> Intrinsics:
    """NYU's colour camera for an image of this size, with square pixels for any aspect ratio."""
    scaled = Intrinsics().scaled(size_hw)
    scale = math.sqrt(math.prod(size_hw) / math.prod(Intrinsics.size_hw))
    return Intrinsics(Intrinsics.fx * scale, Intrinsics.fy * scale, scaled.cx, scaled.cy, scaled.size_hw)


@dataclass(frozen=True)
class Calibration:
    """Calibration of X's camera and the RGB image's, to register depth.

    Attributes:
        x, rgb: the cameras, each for an image of its `size_hw`, without lens distortion.
        rotation: 3 x 3; with the translation it maps a point of X's camera to the RGB image's camera:
            p_rgb = rotation @ p_x + translation, both with x to the right, y down and z ahead.
        translation: in metres.

    Raises InputError for an invalid rotation, or for cameras more than MAX_BASELINE apart.
    """

    x: Intrinsics
    rgb: Intrinsics
    rotation: Rotation = _IDENTITY
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        rotation = as_table("the rotation", self.rotation, ((3, 3),))
        off = abs(rotation @ rotation.T - np.eye(3)).max()
        if off > 1e-2 or np.linalg.det(rotation) < 0:
            raise InputError(
                "the rotation is none: its rows must be of length 1, at right angles, not mirrored (off by "
                f"{off:.2g}); give the 3 x 3 matrix that takes X's axes to the RGB image's"
            )
        translation = as_numbers("the translation", self.translation, 3)
        if (distance := math.hypot(*translation)) > MAX_BASELINE:
            raise InputError(
                f"the translation is {distance:g} long, {MAX_BASELINE:g} m is the most; give metres, not "
                "millimetres"
            )
        object.__setattr__(self, "rotation", tuple(tuple(row) for row in rotation.tolist()))
        object.__setattr__(self, "translation", translation)

    def scaled(self, x_hw: tuple[int, int], rgb_hw: tuple[int, int]) -> "Calibration":
        """The calibration scaled to images of other sizes; InputError if the aspect ratio changes."""
        cameras = []
        for name, camera, size in (("X", self.x, x_hw), ("the RGB image", self.rgb, rgb_hw)):
            (height, width), (to_height, to_width) = camera.size_hw, size
            if abs(width * to_height / (height * to_width) - 1) > _SAME_SCALE:
                raise InputError(
                    f"the calibration is for {name} of {width} x {height}, but it is {to_width} x "
                    f"{to_height} (width x height): that is no pure scale of it; give the uncropped image, "
                    "or the calibration of this one"
                )
            cameras.append(camera.scaled(size))
        return Calibration(*cameras, self.rotation, self.translation)

    def to_dict(self) -> dict[str, Any]:
        """The inverse of `from_dict`."""
        pose = {"rotation": to_json(self.rotation), "translation": to_json(self.translation)}
        return {"x": self.x.to_dict(), "rgb": self.rgb.to_dict(), **pose}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Calibration":
        """A calibration from JSON as CALIBRATION_FORM, or with `extrinsics`, 4 x 4 or 3 x 4, for the pose.

        Raises:
            InputError: naming the missing, unknown or invalid key.
        """
        name = "the calibration"
        one_matrix = isinstance(values, Mapping) and "extrinsics" in values
        needed = ("x", "rgb", "extrinsics") if one_matrix else ("x", "rgb", "translation")
        _check_keys(name, values, needed, needed if one_matrix else (*needed, "rotation"))
        cameras = [Intrinsics.from_dict(values[key], f'{name}, camera "{key}"') for key in ("x", "rgb")]
        if not one_matrix:
            return Calibration(*cameras, values.get("rotation", _IDENTITY), values["translation"])
        pose = as_table("the extrinsics", values["extrinsics"], ((4, 4), (3, 4)))
        if len(pose) == 4 and abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
            raise InputError(f"the extrinsics end with the row {pose[3].tolist()}; it must be 0, 0, 0, 1")
        return Calibration(*cameras, pose[:3, :3], pose[:3, 3])


def _check_keys(name: str, values: Any, needed: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    if not isinstance(values, Mapping):
        raise InputError(f"{name} is {short(values)}; give an object such as {CALIBRATION_FORM}")
    if missing := [key for key in needed if key not in values]:
        raise InputError(f'{name} lacks "{missing[0]}"; give {CALIBRATION_FORM}')
    if unknown := sorted(str(key) for key in values if key not in allowed):
        hint = "undistort both images first" if "dist" in " ".join(unknown).lower() else "leave them out"
        raise InputError(f"{name} has unknown keys {unknown}, {hint}; give {CALIBRATION_FORM}")
