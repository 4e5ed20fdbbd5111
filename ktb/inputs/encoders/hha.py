"""HHA: disparity, height above the ground and angle to gravity, as an image or computed from depth.

Source: Gupta et al., "Learning Rich Features from RGB-D Images for Object Detection and Segmentation" (ECCV
2014) and their MATLAB code (processDepthImage.m, computeNormalsSquareSupport.m, getYDir.m, saveHHA.m).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ktb.config import InputConfig
from ktb.inputs.alignment.cameras import Intrinsics, assumed_camera
from ktb.inputs.encoders import image
from ktb.inputs.encoders.depth import (
    depth_facts,
    depth_notes,
    depth_of,
    fill_holes,
    is_colour,
    require_picture,
)
from ktb.inputs.histogram import histogram
from ktb.inputs.options import CAMERA, XOptions
from ktb.inputs.types import Encoded, RawX
from ktb.visualize import NO_VALUE_RGB

GRAVITY_RADIUS, ANGLE_RADIUS = 10, 3
"""Half sides, in pixels of any image, of the windows that normals are fitted in, as published."""
_ROUNDS = (45, 45, 45, 45, 45, 15, 15, 15, 15, 15)
_NEAREST_CM, _DISPARITY = 100.0, 31_000.0
_USUAL_LOWEST_CM, _LOWEST_CM = -90.0, -130.0
_ANGLE_OFFSET, _UNDEFINED_ANGLE = 38, 180
_SAMPLE = 2**20
_STRAY_CM = 100
_TILT_TO_DOUBT = 45


def encode_hha(metres: np.ndarray, camera: Intrinsics | None = None) -> np.ndarray:
    """Depth -> (H, W, 3) uint8 HHA: disparity, height, angle.

    Disparity is 31 000 / depth in cm, of 100 cm at least; height is cm above the lowest point, which is taken
    130 cm below the camera unless it lies 90 cm or more below; angle is degrees between normal and gravity,
    plus 38. A normal that cannot be fitted counts as 180 degrees. All are rounded and cut at 255.

    With NYU's camera and in-filled depth this equals the authors' MATLAB output. Windows keep their published
    size in pixels at every resolution; of more than a million normals, every n-th votes for gravity. Unlike
    theirs, it takes the 0.5th percentile for the lowest point where stray points lie 1 m or more below that.

    Args:
        metres: (H, W) float, NaN where nothing was measured. Holes are left out of every fit; a hole's own
            values come from the nearest measured depth. (On a raw Kinect frame, against HHA of the in-filled
            depth, angles in holes are 23 degrees off in the mean; those of the nearest HHA pixel 37.)
        camera: of the depth image, scaled to its size; by default
            `ktb.inputs.alignment.cameras.assumed_camera`.

    Raises:
        InputError: nothing was measured.
    """
    return _encode(metres, camera or assumed_camera(metres.shape)).picture


def encode(raw: RawX, inputs: InputConfig, options: XOptions) -> Encoded:
    """Encode HHA for a checkpoint: 8-bit three-channel images unchanged, depth by `encode_hha`.

    Three equal channels are a picture as well, with a note, unless the user chose a depth unit.

    Raises:
        InputError: as `ktb.inputs.encoders.depth.read_depth_metres` and
            `ktb.inputs.encoders.image.to_unit_scale`.
    """
    require_picture(raw, "HHA")
    coloured = is_colour(raw.data)
    is_unsaid = options.unit == "auto" or options.surety != "certain"
    is_eight_bit_grey = raw.data.ndim == 3 and raw.data.dtype == np.uint8 and not coloured
    if coloured or (is_eight_bit_grey and is_unsaid and raw.origin != "estimated"):
        return _picture(raw, inputs, options, is_eight_bit_grey)
    depth = depth_of(raw, options)
    camera = options.camera(raw.size_hw)
    hha = _encode(depth.metres, camera)
    shown = hha.picture.copy()
    shown[np.isnan(depth.metres)] = NO_VALUE_RGB
    facts = depth_facts(depth, raw)
    notes = list(depth_notes(depth, raw))
    facts |= {
        "HHA": "computed from depth: disparity, height, angle",
        "camera": f"fx {camera.fx:.1f}, fy {camera.fy:.1f}, cx {camera.cx:.1f}, cy {camera.cy:.1f} pixels",
        "tilt": f"gravity is {hha.tilt:.1f} degrees from the image's downward direction",
    }
    if set(CAMERA) & set(options.assumed):
        facts["camera"] += " (as in training)"
    if options.intrinsics is None and options.field_of_view is None and options.calibration is None:
        facts["camera"] += " (ASSUMED: NYU's)"
        notes.append(
            "The depth camera is not known: NYU's camera, for a picture of this size, was ASSUMED for HHA. "
            "Give the intrinsics or the horizontal field of view if it is another."
        )
    if hha.tilt > _TILT_TO_DOUBT:
        notes.append(
            f"Gravity was found {hha.tilt:.0f} degrees away from the image's downward direction: heights and "
            "angles may be wrong. HHA needs an upright camera and a floor or walls in view."
        )
    if hha.has_strays:
        notes.append(
            "Stray points lie more than 1 m below the rest of the scene: HHA's heights are not counted from "
            "them, but from the lowest points of the rest."
        )
    return Encoded(
        hha.picture.astype(np.float32) / 255,
        shown,
        f"HHA computed from depth, {facts['unit']}: {facts['range']}, {facts['holes']} holes",
        facts,
        histogram(depth.metres, "m"),
        notes=tuple(notes),
        depth=depth,
    )


def _picture(raw: RawX, inputs: InputConfig, options: XOptions, is_grey: bool) -> Encoded:
    note = (
        "The three channels of this HHA picture are equal, so it is none: it may be plain depth. Choose its "
        "depth unit, and HHA is computed from it."
    )
    encoded = image.encode(raw, inputs, options)
    facts = {"HHA": "a picture, taken as it is"} | dict(encoded.facts)
    return replace(
        encoded,
        summary=f"HHA picture, {encoded.summary}",
        facts=facts,
        notes=(*encoded.notes, note) if is_grey else encoded.notes,
    )


@dataclass(frozen=True, eq=False)
class _Computed:
    """The HHA image, degrees between gravity and the downward direction, and whether points are stray."""

    picture: np.ndarray
    tilt: float
    has_strays: bool


def _encode(metres: np.ndarray, camera: Intrinsics) -> _Computed:
    if camera.size_hw != metres.shape:
        camera = camera.scaled(metres.shape)
    hole, filled = np.isnan(metres), fill_holes(metres)
    bands = list(_bands(metres.shape))
    step = max(1, round((metres.size / _SAMPLE) ** 0.5))
    gravity = _gravity(_votes(metres, bands, step, camera))
    tilt = float(np.degrees(np.arccos(np.clip(gravity[1], -1, 1))))
    # A rotation by 0.1 degrees or less is left out, as published.
    down = gravity if tilt > 0.1 else np.array([0.0, 1.0, 0.0])
    ground, has_strays = _ground(metres, bands, step, down, camera)

    picture = np.empty((*metres.shape, 3), np.uint8)
    for rows in bands:
        angle = _angles(metres, rows, gravity, camera)
        if hole[rows].any():
            angle = np.where(hole[rows], _angles(filled, rows, gravity, camera), angle)
        disparity = _DISPARITY / np.maximum(_centimetres(filled[rows]), _NEAREST_CM)
        height = _heights(filled, rows, down, camera) - ground
        channels = np.stack([disparity, height, angle + _ANGLE_OFFSET], axis=-1)
        picture[rows] = np.floor(np.clip(channels, 0, 255) + 0.5)
    return _Computed(picture, tilt, has_strays)


def _centimetres(metres: np.ndarray) -> np.ndarray:
    """float64, NaN stays; a file's decimals, from which float32 metres differ by less than 0.01 mm."""
    return np.maximum(np.round(metres.astype(np.float64) * 100, 3), 1e-3)


def _ground(
    metres: np.ndarray, bands: list[slice], step: int, down: np.ndarray, camera: Intrinsics
) -> tuple[float, bool]:
    """Height of the floor over the camera in cm, and whether stray points below it were left out."""
    lowest, sample = [], []
    for rows in bands:
        heights = _heights(metres, rows, down, camera)
        part = heights[::step, ::step]
        sample.append(part[np.isfinite(part)])
        lowest.append(heights.min(where=np.isfinite(heights), initial=np.inf))
    sample, ground = np.concatenate(sample), float(min(lowest))
    bulk = float(np.percentile(sample, 0.5)) if sample.size else ground
    has_strays = bulk - ground > _STRAY_CM
    ground = bulk if has_strays else ground
    return (ground if ground <= _USUAL_LOWEST_CM else _LOWEST_CM), has_strays


def _bands(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of about 256k pixels, so that a large picture takes little memory."""
    rows = max(1, 2**18 // shape[1])
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))


def _rays(rows: slice, width: int, camera: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """Pixel positions from the principal point, (1, W) and (rows, 1)."""
    return np.arange(width)[None] - camera.cx, np.arange(rows.start, rows.stop)[:, None] - camera.cy


def _heights(metres: np.ndarray, rows: slice, down: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Centimetres above the camera, (rows, W)."""
    across, along = _rays(rows, metres.shape[1], camera)
    rise = down[0] / camera.fx * across + down[1] / camera.fy * along + down[2]
    return -_centimetres(metres[rows]) * rise


def _angles(metres: np.ndarray, rows: slice, gravity: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Degrees between normals and gravity, (rows, W)."""
    cosine = np.tensordot(gravity, _normals(metres, rows, ANGLE_RADIUS, camera), axes=1)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return np.where(np.isnan(angle), _UNDEFINED_ANGLE, angle)


def _votes(metres: np.ndarray, bands: list[slice], step: int, camera: Intrinsics) -> np.ndarray:
    """Normals (3, N) of wide windows at every `step`-th row and column."""
    found = []
    for rows in bands:
        normals = _normals(metres, rows, GRAVITY_RADIUS, camera)[:, ::step, ::step].reshape(3, -1)
        found.append(normals[:, np.isfinite(normals[0])])
    return np.concatenate(found, axis=1)


def _normals(metres: np.ndarray, rows: slice, radius: int, camera: Intrinsics) -> np.ndarray:
    """Unit normals (3, rows, W) that point away from the camera, NaN where no plane can be fitted.

    1/Z = n . (X/Z, Y/Z, 1) by least squares over windows, as 1/Z = a du + b dv + c in pixels from a window's
    centre: in that form the sums over a window's positions are small whole numbers at any resolution.
    """
    top = max(rows.start - radius, 0)
    keep = slice(rows.start - top, rows.stop - top)
    inverse = np.nan_to_num(1 / _centimetres(metres[top : rows.stop + radius]))
    offsets, ones = np.arange(-radius, radius + 1.0), np.ones(2 * radius + 1)

    def total(values: np.ndarray, across: np.ndarray, along: np.ndarray) -> np.ndarray:
        return cv2.sepFilter2D(values, -1, across, along, borderType=cv2.BORDER_CONSTANT)[keep]

    mask = (inverse > 0).astype(np.float32)
    moments = ((ones, ones), (offsets, ones), (ones, offsets))
    squares = ((offsets**2, ones), (offsets, offsets), (ones, offsets**2))
    count, x, y, xx, xy, yy = (total(mask, *pair).astype(np.float64) for pair in moments + squares)
    z, xz, yz = (total(inverse, *pair) for pair in moments)
    xx, xy, yy = count * xx - x * x, count * xy - x * y, count * yy - y * y
    xz, yz = count * xz - x * z, count * yz - y * z
    determinant = xx * yy - xy * xy
    determinant[determinant <= 0] = np.nan  # fewer than three pixels, or all of them on a line
    slope_x = (xz * yy - yz * xy) / determinant
    slope_y = (yz * xx - xz * xy) / determinant
    at_centre = (z - slope_x * x - slope_y * y) / np.maximum(count, 1)
    across, along = _rays(rows, metres.shape[1], camera)
    ahead = at_centre - slope_x * across - slope_y * along
    normals = np.stack([slope_x * camera.fx, slope_y * camera.fy, ahead])
    normals *= np.where(at_centre < 0, -1, 1) / np.sqrt(np.einsum("cij,cij->ij", normals, normals))
    return normals


def _gravity(normals: np.ndarray) -> np.ndarray:
    """The downward direction (3,): along floors' normals, across walls'. `normals` (3, N)."""
    gravity = np.array([0.0, 1.0, 0.0])
    for degrees in _ROUNDS:
        cosine = np.abs(gravity @ normals)
        floor = normals[:, cosine > np.cos(np.radians(degrees))]
        wall = normals[:, cosine < np.sin(np.radians(degrees))]
        values, vectors = np.linalg.eigh(wall @ wall.T - floor @ floor.T)
        # Of several equal smallest eigenvalues (one flat wall, no normals at all), the direction nearest the
        # old one; of a single one, its eigenvector with the old sign.
        lowest = vectors[:, values <= values[0] + 1e-9 * np.abs(values).max()]
        along = lowest @ (lowest.T @ gravity)
        length = np.linalg.norm(along)
        if length < 1e-9:
            break
        gravity = along / length
    return gravity
