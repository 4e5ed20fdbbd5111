"""Moving X onto the RGB image: by a matrix of pixel positions, or depth by both cameras' calibration."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from ktb.inputs.alignment.cameras import Calibration
from ktb.inputs.limits import InputError
from ktb.inputs.types import Interpolation
from ktb.inputs.validation import Matrix

_STRIP = 2**20
"""Pixels that are worked on at a time, which bounds the memory."""
_OVERSIZE = 1.25
"""Points are drawn this much larger than their pixel, so that slanted surfaces keep no cracks."""
_WORK, _LARGEST_BOX = 8, 1024
"""Pixels drawn per pixel of both images, beyond which points shrink; the largest side of a point."""
_NEAREST_METRES = 1e-3
_BORDER = cv2.BORDER_REPLICATE
_NOTHING = np.uint64(2**64 - 1)


def warp(
    image: np.ndarray,
    matrix: Matrix | np.ndarray,
    size_hw: tuple[int, int],
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """Move pixels by a matrix from X to the RGB image, pixel centres at whole numbers.

    A pixel that X does not reach, or whose nearest pixel of X is a hole (NaN), becomes NaN, or 0 in 8 bits.
    "bilinear" mixes measured neighbours only, so that holes neither grow nor become numbers.

    Args:
        image: (h, w) or (h, w, C), uint8 or float32.
        matrix: 3 x 3, takes positions (x, y, 1) of X to those of the RGB image, w positive where X is seen.
        size_hw: of the RGB image.

    Returns:
        (H, W) or (H, W, C) of the same dtype. Time and memory depend on the sizes alone.
    """
    height, width = size_hw
    moved = np.empty((height, width, *image.shape[2:]), image.dtype)
    layers = (image,)
    if interpolation == "bilinear" and image.dtype.kind == "f" and not (valid := np.isfinite(image)).all():
        layers = np.where(valid, image, 0).astype(image.dtype), valid.astype(np.float32)
    for top, x, y, inside in _sources(np.asarray(matrix), image.shape[:2], size_hw):
        part = moved[top : top + len(x)]
        part[:] = _nearest(image, x, y)
        if interpolation == "bilinear":
            mixed = [cv2.remap(layer, x, y, cv2.INTER_LINEAR, borderMode=_BORDER) for layer in layers]
            if len(mixed) == 2:
                with np.errstate(all="ignore"):  # no measured neighbour: 0 / 0, and the nearest is a hole
                    mixed = [np.where(np.isfinite(part), mixed[0] / mixed[1], part)]
            part[:] = mixed[0]
        part[~inside] = _hole(image)
    return moved


def reached(matrix: Matrix | np.ndarray, from_hw: tuple[int, int], size_hw: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: where `warp` finds a pixel of an X of size `from_hw`."""
    return np.concatenate([inside for *_, inside in _sources(np.asarray(matrix), from_hw, size_hw)])


def resize(image: np.ndarray, size_hw: tuple[int, int], interpolation: Interpolation) -> np.ndarray:
    """Stretch X to the RGB image's size; where X has holes (NaN), as `warp` with that stretch."""
    if image.shape[:2] == tuple(size_hw):
        return image
    if interpolation == "bilinear" and image.dtype.kind == "f" and np.isnan(image).any():
        return warp(image, stretch(image.shape[:2], size_hw), size_hw, interpolation)
    mode = cv2.INTER_NEAREST_EXACT if interpolation == "nearest" else cv2.INTER_LINEAR
    return cv2.resize(image, size_hw[::-1], interpolation=mode)


def stretch(from_hw: tuple[int, int], size_hw: tuple[int, int]) -> np.ndarray:
    """The 3 x 3 matrix of a plain resizing: the outer edges of the images coincide."""
    y, x = (new / old for new, old in zip(size_hw, from_hw))
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _sources(
    matrix: np.ndarray, from_hw: tuple[int, int], size_hw: tuple[int, int]
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Strips of the RGB image: top row, and (rows, W) x and y in X and whether they lie in it."""
    height, width = size_hw
    back = np.linalg.inv(matrix)
    rows = max(1, _STRIP // width)
    columns = np.arange(width)
    for top in range(0, height, rows):
        lines = np.arange(top, min(top + rows, height))[:, None]
        x, y, w = (a * columns + (b * lines + c) for a, b, c in back)
        with np.errstate(all="ignore"):  # the horizon of a homography, and what lies behind it
            x, y = x / w, y / w
        inside = (w > 0) & (x >= -0.5) & (x < from_hw[1] - 0.5) & (y >= -0.5) & (y < from_hw[0] - 0.5)
        x, y = (np.where(inside, part, -9).astype(np.float32) for part in (x, y))
        yield top, x, y, inside


def _nearest(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # By hand, as OpenCV rounds halves to even: a pixel reaches from -0.5 to just below 0.5 around its centre.
    column = np.clip(np.floor(x + 0.5).astype(np.int32), 0, image.shape[1] - 1)
    row = np.clip(np.floor(y + 0.5).astype(np.int32), 0, image.shape[0] - 1)
    return image[row, column]


def _hole(image: np.ndarray) -> float:
    return np.nan if image.dtype.kind == "f" else 0


@dataclass(frozen=True, eq=False)
class Registration:
    """Which pixel of a depth image each pixel of the RGB image shows.

    Attributes:
        index: (H, W) int64, into the flattened depth image; -1 where it shows nothing.
        metres: (H, W) float32, the distance along the RGB image's axis; NaN where index is -1.
    """

    index: np.ndarray
    metres: np.ndarray

    def take(self, image: np.ndarray) -> np.ndarray:
        """An image of the depth camera, (h, w) or (h, w, C), as the RGB image's camera sees it.

        Where it shows nothing: NaN, or 0 in 8 bits.
        """
        taken = image.reshape(-1, *image.shape[2:])[np.maximum(self.index, 0)]
        taken[self.index < 0] = _hole(image)
        return taken


def register_depth(metres: np.ndarray, calibration: Calibration, size_hw: tuple[int, int]) -> Registration:
    """Depth of another camera as the RGB image's camera sees it; of several surfaces, the nearest.

    Args:
        metres: (h, w) float, along the axis of X's camera; NaN where nothing was measured.
        calibration: scaled to both images.
        size_hw: of the RGB image.

    Raises:
        InputError: an image that is no pure scale of the calibration's, or nothing lands in the RGB image.
    """
    height, width = size_hw
    calibration = calibration.scaled(metres.shape, size_hw)
    # The upper 32 bits hold the distance, whose bits sort as the number does, the lower ones the pixel.
    front = np.full(height * width, _NOTHING)
    rows = max(1, _STRIP // metres.shape[1])
    share = min(1, rows / metres.shape[0])
    for top in range(0, len(metres), rows):
        points = _project(metres[top : top + rows], top, calibration)
        _draw(front, size_hw, *points, work=int(_WORK * share * (metres.size + height * width)))
    seen = front != _NOTHING
    if not seen.any():
        raise InputError(
            "by the calibration no depth lies within the RGB image; check the translation (metres), the "
            "rotation (from X's camera to the RGB image's) and the intrinsics"
        )
    index = np.where(seen, (front & np.uint64(0xFFFFFFFF)).astype(np.int64), -1)
    distance = (front >> np.uint64(32)).astype(np.uint32).view(np.float32)
    shape = height, width
    return Registration(index.reshape(shape), np.where(seen, distance, np.float32(np.nan)).reshape(shape))


def _project(metres: np.ndarray, top: int, calibration: Calibration) -> tuple[np.ndarray, ...]:
    """The measured pixels of a strip: x, y and z for the RGB image, half their size there, their index."""
    x_camera, rgb = calibration.x, calibration.rgb
    rotation = np.array(calibration.rotation)
    row, column = np.nonzero(np.isfinite(metres) & (metres > 0))
    z = metres[row, column].astype(np.float64)
    index = ((row + top) * metres.shape[1] + column).astype(np.uint64)
    rays = (column - x_camera.cx) / x_camera.fx * z, (row + top - x_camera.cy) / x_camera.fy * z
    x, y, ahead = (
        a * rays[0] + b * rays[1] + c * z + d for (a, b, c), d in zip(rotation, calibration.translation)
    )
    seen = ahead > _NEAREST_METRES
    x, y, z, ahead, index = (part[seen] for part in (x, y, z, ahead, index))
    # A pixel is this large one metre away; turned by the rotation, its bounding box counts.
    pixel = abs(rotation[:2, :2]) @ (1 / x_camera.fx, 1 / x_camera.fy)
    half_x, half_y = (_OVERSIZE / 2 * f * side * z / ahead for f, side in zip((rgb.fx, rgb.fy), pixel))
    return rgb.fx * x / ahead + rgb.cx, rgb.fy * y / ahead + rgb.cy, ahead, half_x, half_y, index


def _draw(
    front: np.ndarray,
    size_hw: tuple[int, int],
    x: np.ndarray,
    y: np.ndarray,
    z: np.ndarray,
    half_x: np.ndarray,
    half_y: np.ndarray,
    index: np.ndarray,
    work: int,
) -> None:
    """Draw points as boxes into a flat z-buffer of keys."""
    height, width = size_hw
    # A box holds the centres that lie in it, and at least the one nearest to its point.
    half_x, half_y = np.maximum(half_x, 0.5), np.maximum(half_y, 0.5)
    seen = (x + half_x > 0) & (x - half_x < width) & (y + half_y > 0) & (y - half_y < height)
    x, y, z, half_x, half_y, index = (part[seen] for part in (x, y, z, half_x, half_y, index))
    if not x.size:
        return
    key = (z.astype(np.float32).view(np.uint32).astype(np.uint64) << np.uint64(32)) | index
    limit = _LARGEST_BOX
    while True:
        left, columns = _extent(x, np.minimum(half_x, limit / 2), width)
        first, rows = _extent(y, np.minimum(half_y, limit / 2), height)
        drawn = np.cumsum(columns * rows)
        if limit <= 1 or drawn[-1] <= work:
            break
        limit //= 2
    start = 0
    while start < len(drawn):
        before = drawn[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(drawn, before + _STRIP, "right")))
        sizes = np.diff(drawn[start:stop], prepend=before)
        number = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        left_, first_, columns_, key_ = (np.repeat(p[start:stop], sizes) for p in (left, first, columns, key))
        down, across = np.divmod(number, columns_)
        np.minimum.at(front, (first_ + down) * width + left_ + across, key_)
        start = stop


def _extent(centre: np.ndarray, half: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """First pixel and number of pixels of boxes, inside the image."""
    first = np.maximum(np.ceil(centre - half), 0).astype(np.int64)
    last = np.minimum(np.ceil(centre + half) - 1, side - 1).astype(np.int64)
    return first, np.maximum(last - first + 1, 0)
