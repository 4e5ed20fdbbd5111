"""Points in space: depth back-projected, with the class, confidence and colour of each pixel; PLY files."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ktb.inference.prediction import Branch, Prediction
from ktb.inputs import Intrinsics
from ktb.modalities import MODALITIES

_BEYOND = 4.0
"""Farther than this times the largest distance is the constant that stands for the sky: no distance."""
_VERTEX = np.dtype(
    [(axis, "<f4") for axis in "xyz"]
    + [(name, "u1") for name in ("red", "green", "blue", "class")]
    + [("confidence", "<f4")]
)
_TYPES = {"f": "float", "u": "uchar"}


@dataclass(frozen=True, eq=False)
class PointCloud:
    """The measured pixels of one run as N points, row by row.

    Attributes:
        points: (N, 3) float32 in metres, in the camera's axes: x to the right, y down, z ahead.
        pixels: (N, 2) int32, (row, column) in the RGB image.
        colors: (N, 3) uint8, of the RGB image.
        classes: (N,) uint8, class indices.
        confidences: (N,) float32, probability of that class, 0..1.
        camera: of the RGB image's pixels, by which the points were back-projected.
        camera_is_assumed: whether the user gave no camera.
    """

    points: np.ndarray
    pixels: np.ndarray
    colors: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray
    camera: Intrinsics
    camera_is_assumed: bool


def back_project(metres: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """The points of a depth image.

    Args:
        metres: (H, W) float, distance along the camera's axis; NaN where nothing was measured.
        camera: scaled to the image's size.

    Returns:
        (H, W, 3) float32 in metres: x to the right, y down, z ahead; NaN where nothing was measured.

    Raises:
        ValueError: the camera is for another size.
    """
    if camera.size_hw != metres.shape:
        raise ValueError(
            f"the camera is for {camera.size_hw} (height, width), and depth has {metres.shape}; "
            "scale it by Intrinsics.scaled."
        )
    rows, columns = np.ogrid[: metres.shape[0], : metres.shape[1]]
    across, along = (columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy
    rays = (across.astype(np.float32), along.astype(np.float32), np.float32(1))
    return np.stack([metres.astype(np.float32, copy=False) * ray for ray in rays], axis=-1)


def point_cloud(
    rgb: np.ndarray, prediction: Prediction, branch: Branch = "fused", max_points: int | None = None
) -> PointCloud:
    """The points of a prediction whose X is depth in metres, by its camera (`EncodedX.camera`).

    Left out are holes, and the constant that stands for the sky.

    Args:
        rgb: (H, W, 3) uint8, the RGB image of the prediction.
        branch: the head whose classes and confidences the points have.
        max_points: of larger images, every second, third, ... row and column is taken, so that there are no
            more points than this.

    Raises:
        ValueError: X holds no depth, its unit is a guess, it is estimated without a scale, or nothing in the
            RGB image was measured.
    """
    camera, metres = _metric(prediction)
    height, width = metres.shape
    step = 1
    while max_points is not None and math.ceil(height / step) * math.ceil(width / step) > max_points:
        step += 1
    every = np.s_[::step, ::step]
    points = back_project(metres, camera)[every]
    rows, columns = np.nonzero(np.isfinite(points[..., 2]))
    if not rows.size:
        raise ValueError(
            "points in space need measured depth, and no pixel of the RGB image has any. Check the alignment "
            "of X."
        )
    pixels = np.stack([rows, columns], axis=-1).astype(np.int32)
    return PointCloud(
        points=points[rows, columns],
        pixels=pixels * step,
        colors=rgb[every][rows, columns],
        classes=prediction.labels[branch][every][rows, columns],
        confidences=prediction.confidences[branch][every][rows, columns].astype(np.float32),
        camera=camera,
        camera_is_assumed=prediction.x.camera_is_assumed,
    )


def ply_bytes(cloud: PointCloud, prediction: Prediction) -> bytes:
    """A point cloud as a binary little-endian PLY file.

    A vertex has x, y, z (float, metres), red, green, blue (uchar), class (uchar) and confidence (float). The
    comments name the checkpoint, the depth, the camera and whether it is assumed, and the classes.
    """
    height, width = cloud.camera.size_hw
    camera = " ".join(f"{name} {getattr(cloud.camera, name):.7g}" for name in ("fx", "fy", "cx", "cy"))
    whose = "ASSUMED, because none was given" if cloud.camera_is_assumed else "given"
    said = [
        f"checkpoint {prediction.model}",
        f"X {prediction.x.origin}: {prediction.x.summary}",
        f"camera {camera} width {width} height {height}",
        f"camera {whose}",
        "axes x right, y down, z ahead, in metres",
        *([prediction.ribbon] if prediction.ribbon else []),
        *(f"class {index} {name}" for index, name in enumerate(prediction.classes)),
    ]
    fields = [(_TYPES[_VERTEX[name].kind], name) for name in _VERTEX.names or ()]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {_one_line(text)}" for text in ("written by KTB", *said)),
        f"element vertex {len(cloud.points)}",
        *(f"property {kind} {name}" for kind, name in fields),
        "end_header\n",
    ]
    vertices = np.empty(len(cloud.points), _VERTEX)
    for axis, values in zip("xyz", cloud.points.T, strict=True):
        vertices[axis] = values
    for name, values in zip(("red", "green", "blue"), cloud.colors.T, strict=True):
        vertices[name] = values
    vertices["class"], vertices["confidence"] = cloud.classes, cloud.confidences
    return "\n".join(header).encode() + vertices.tobytes()


def _metric(prediction: Prediction) -> tuple[Intrinsics, np.ndarray]:
    """The camera, and (H, W) float32 metres, NaN in holes and the sky; ValueError if there are none."""
    x = prediction.x
    if x.origin == "missing":
        raise ValueError("points in space need depth, and there is no X. Give measured depth.")
    if x.depth is None or x.camera is None:
        found = "depth as a plain picture" if x.modality in ("depth", "hha") else MODALITIES[x.modality].noun
        raise ValueError(
            f"points in space need depth in metres, and X is {found}. Give measured depth with its unit, "
            "such as a 16-bit PNG in millimetres."
        )
    if x.depth.confidence == "guess" and x.origin == "estimated":
        raise ValueError(
            "points in space need depth in metres, and this depth is relative: the network that estimated it "
            "gives no scale. Give measured depth, or choose a metric depth model."
        )
    if x.depth.confidence == "guess":
        raise ValueError(
            f"points in space need depth in metres, and its unit ({x.depth.unit}) is only a guess. Choose "
            "the unit of X: --unit on the command line, `unit` of its options, or the field on the page."
        )
    metres = x.depth.metres
    return x.camera, np.where(metres <= _BEYOND * x.depth.maximum, metres, np.float32(np.nan))


def _one_line(text: str) -> str:
    """ASCII text without line breaks, as a PLY header needs it."""
    return " ".join(text.split()).encode("ascii", "backslashreplace").decode()
