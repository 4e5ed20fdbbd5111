"""Estimation of X's alignment to the RGB image from the edges of both; applied only on request."""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ktb.inputs.alignment.edges import Layer, as_grey, correlation, edges_of, place_layer
from ktb.inputs.alignment.place import ASPECT_TOLERANCE
from ktb.inputs.alignment.warp import stretch, warp
from ktb.inputs.limits import InputError
from ktb.inputs.validation import Matrix

Motion = Literal["affine", "translation", "homography"]
WORK_SIDE = 640
TIME_LIMIT = 2.0
"""Processor seconds after which no further step starts."""
_MOTIONS = {
    "translation": cv2.MOTION_TRANSLATION,
    "affine": cv2.MOTION_AFFINE,
    "homography": cv2.MOTION_HOMOGRAPHY,
}
_LEVELS = (
    (4, 60, ("translation", "affine")),
    (2, 40, ("affine", "homography")),
    (1, 20, ("affine", "homography")),
)
"""Of the pyramid: how many times smaller, steps at most, and what is estimated there one after the other."""
_BLUR = 1.0
_SEARCH, _SHIFT_COST, _SCALES = 0.12, 0.03, tuple(1.08**power for power in range(-3, 4))
"""Of the first search: share of a side that X is shifted by, how much better the far end must be, scales."""
_LEAST_SEEN, _LEAST_GAIN = 0.05, 0.02
_RING, _LEAST_PEAK = 1 / 40, 0.08
"""How far off, as a share of the RGB image's side, the edges must agree by how much less. Chosen on 18
pairs: 0.13 to 0.30 in 11 of one scene (0.02 in a 12th, noisy and refused), up to 0.05 in 6 of two scenes."""
_LARGEST_MOVE, _LARGEST_SCALE, _LARGEST_SHEAR = 0.25, 1.4, 1.06
_WORTH, _FREEDOM = 0.005, 0.01
"""By how much a homography must beat an affine matrix at each step, and either of them a shift at last."""


@dataclass(frozen=True)
class AlignmentEstimate:
    """An alignment estimated from edges.

    Attributes:
        matrix: 3 x 3 nested tuples, from pixel positions (x, y, 1) of X to those of the RGB image; for
            `XOptions.matrix`. The start if nothing better was found.
        start: the initial matrix: X centred in the RGB image, as large as fits.
        score_before, score_after: correlation of the edge images with `start` and with `matrix`, -1..1.
        converged: whether the search ended at a plausible alignment.
        message: one sentence on the outcome.
    """

    matrix: Matrix
    start: Matrix
    score_before: float
    score_after: float
    converged: bool
    message: str

    @property
    def improves(self) -> bool:
        """Whether the edges agree noticeably better than before, so that the estimate is worth suggesting."""
        return self.converged and self.score_after - self.score_before >= _LEAST_GAIN


def estimate_alignment(
    rgb: np.ndarray, x_preview: np.ndarray, motion: Motion = "affine"
) -> AlignmentEstimate:
    """Estimate the matrix that aligns X's edges to the RGB image's (ECC on gradient images, coarse to fine).

    The search uses 640 pixels at most and takes less than 3 s. For images that cannot be aligned, `converged`
    is False and `matrix` is the start. Source: Evangelidis and Psarakis, "Parametric Image Alignment
    Using Enhanced Correlation Coefficient Maximization" (PAMI 2008), as OpenCV's findTransformECC.

    Args:
        rgb: (H, W, 3) uint8, the RGB image.
        x_preview: X at its own size: (h, w, 3) uint8, or (h, w) numbers with NaN where nothing was measured
            (preferable for depth, because drawn holes have edges).
        motion: motion model: "translation", "affine" or "homography".

    Raises:
        InputError: the motion is unknown, or an array has another shape.
    """
    deadline = time.thread_time() + TIME_LIMIT
    if motion not in _MOTIONS:
        raise InputError(f"motion {motion!r}: choose one of {', '.join(_MOTIONS)}")
    photo, x = as_grey(rgb, "the RGB image"), as_grey(x_preview, "X")
    starts = _starts(x.shape, photo.shape)
    if np.isnan(x).all():
        return _not_found(starts[0], "X holds no measurement")
    work_hw = tuple(max(8, round(side * min(1, WORK_SIDE / max(photo.shape)))) for side in photo.shape)
    to_photo = stretch(work_hw, photo.shape)
    small = cv2.resize(photo, work_hw[::-1], interpolation=cv2.INTER_AREA)
    to_work = np.linalg.inv(to_photo)
    score_before = _agreement(small, place_layer(x, to_work @ starts[0], work_hw))
    found = []
    # The plain shift as well: what may also scale and turn can be led astray by holes.
    for start, kind in itertools.product(starts, dict.fromkeys((motion, "translation"))):
        moved = _refine(small, place_layer(x, to_work @ start, work_hw), kind, deadline)
        if moved is not None:
            after = place_layer(x, moved @ to_work @ start, work_hw)
            worth = _agreement(small, after) - _FREEDOM * (kind != "translation")
            found.append((worth, after, to_photo @ moved @ to_work @ start))
    if not found:
        return _not_found(starts[0], "their edges have too little in common", score_before)
    _, after, matrix = max(found, key=lambda one: one[0])
    score_after, peak = _agreement(small, after), _peak(small, after)
    if peak < _LEAST_PEAK:
        return _not_found(starts[0], "their edges have too little in common", score_before)
    if score_after <= score_before:
        problem = "nowhere near do their edges agree better than where X lies now"
        return _not_found(starts[0], problem, score_before)
    matrix = matrix / matrix[2, 2]
    distance = np.hypot(*(_corners(matrix, x.shape) - _corners(starts[0], x.shape))).max()
    if score_after - score_before < _LEAST_GAIN:
        message = (
            f"X lies as well as its edges tell: they agree with the RGB image's by {score_before:.2f} (1 is "
            f"best), and by {score_after:.2f} at best nearby."
        )
    else:
        message = (
            f"The edges of X and of the RGB image agree by {score_after:.2f} instead of {score_before:.2f} "
            f"(1 is best) if X's corners move by up to {distance:.0f} pixels. Look at both overlays first."
        )
    return AlignmentEstimate(_tuples(matrix), _tuples(starts[0]), score_before, score_after, True, message)


def _starts(x_hw: tuple[int, int], photo_hw: tuple[int, int]) -> list[np.ndarray]:
    """Resizing if the aspect ratios agree; else X centred, as large as fits, and as large as covers."""
    scales = sorted(new / old for new, old in zip(photo_hw, x_hw))
    if scales[1] / scales[0] - 1 <= ASPECT_TOLERANCE:
        return [stretch(x_hw, photo_hw)]
    (y, x), (to_y, to_x) = (((side - 1) / 2 for side in size) for size in (x_hw, photo_hw))
    return [np.array([[s, 0, to_x - s * x], [0, s, to_y - s * y], [0, 0, 1]]) for s in scales]


def _refine(photo: np.ndarray, x: Layer, motion: Motion, deadline: float) -> np.ndarray | None:
    """The 3 x 3 matrix that best aligns the edges of X, which is already on the RGB image's grid.

    Coarse levels estimate the shift, finer ones the rest; a step that reduces the score is rejected.
    """
    matrix, begun, found = np.eye(3), False, False
    whole = Layer(photo, np.ones(photo.shape, bool))
    for factor, steps, kinds in _LEVELS:
        size = tuple(round(side / factor) for side in photo.shape)
        if min(size) < 16:
            continue
        (edges, _), (x_edges, seen) = (edges_of(part.shrunk(size), _BLUR) for part in (whole, x))
        if seen.mean() < _LEAST_SEEN:
            return None
        up = stretch(size, photo.shape)
        level = np.linalg.inv(up) @ matrix @ up
        if not begun:
            level = _search(edges, x_edges, seen, (1.0,) if motion == "translation" else _SCALES)
            begun = True
        best = _moved_agreement(edges, x_edges, seen, level)
        for kind in [kind for kind in kinds if _MOTIONS[kind] <= _MOTIONS[motion]] or [motion]:
            if time.thread_time() > deadline:
                break
            tried = _ecc(edges, x_edges, seen, level, kind, steps)
            if tried is None or not _plausible(tried, size):
                continue
            found = True
            score = _moved_agreement(edges, x_edges, seen, tried)
            if score >= best + _WORTH * (kind == "homography"):
                level, best = tried, score
        matrix = up @ level @ np.linalg.inv(up)
    return matrix if found else None


def _search(edges: np.ndarray, x_edges: np.ndarray, seen: np.ndarray, scales: Sequence[float]) -> np.ndarray:
    """The shift in whole pixels, and the scale about the centre, with the best correlation."""
    best, matrix = -np.inf, np.eye(3)
    y, x = ((side - 1) / 2 for side in edges.shape)
    for scale in scales:
        zoom = np.array([[scale, 0, x - scale * x], [0, scale, y - scale * y], [0, 0, 1]])
        zoomed = warp(x_edges, zoom, edges.shape)
        where = (warp(seen.astype(np.uint8), zoom, edges.shape, "nearest") > 0) & np.isfinite(zoomed)
        scores, most = _correlations(edges, zoomed, where)
        down, across = np.mgrid[-most[0] : most[0] + 1, -most[1] : most[1] + 1]
        far = np.hypot(down / most[0], across / most[1]) + abs(math.log(scale) / math.log(max(_SCALES)))
        scores = scores - _SHIFT_COST * far
        at = np.unravel_index(scores.argmax(), scores.shape)
        if scores[at] > best:
            shift = np.array([[1, 0, across[at]], [0, 1, down[at]], [0, 0, 1.0]])
            best, matrix = scores[at], shift @ zoom
    return matrix


def _correlations(
    edges: np.ndarray, x_edges: np.ndarray, seen: np.ndarray
) -> tuple[np.ndarray, tuple[int, int]]:
    """`correlation` for shifts of X by whole pixels up to _SEARCH of each side, and how many that are."""
    most = tuple(max(1, round(_SEARCH * side)) for side in edges.shape)
    padded = tuple(side + reach for side, reach in zip(edges.shape, most))
    x_values = np.where(seen, x_edges, 0)

    def spectrum(image: np.ndarray) -> np.ndarray:
        return np.fft.rfft2(image.astype(np.float64), padded)

    def sums(of_photo: np.ndarray, of_x: np.ndarray) -> np.ndarray:
        every = np.fft.irfft2(of_photo * of_x.conj(), padded)
        rows, columns = (np.arange(-reach, reach + 1) for reach in most)
        return every[rows[:, None], columns]

    ones, photo, photo2 = spectrum(np.ones_like(edges)), spectrum(edges), spectrum(edges**2)
    mask, x, x2 = spectrum(seen), spectrum(x_values), spectrum(x_values**2)
    count = np.maximum(sums(ones, mask), 1)
    photo_sum, x_sum = sums(photo, mask), sums(ones, x)
    shared = sums(photo, x) - photo_sum * x_sum / count
    spread = (sums(photo2, mask) - photo_sum**2 / count) * (sums(ones, x2) - x_sum**2 / count)
    enough = (count > _LEAST_SEEN * edges.size) & (spread > 1e-9)
    return np.where(enough, shared / np.sqrt(np.where(enough, spread, 1)), -1), most


def _peak(photo: np.ndarray, x: Layer) -> float:
    """Mean difference of the score from those of eight slightly shifted alignments."""
    (edges, _), (x_edges, seen) = (
        edges_of(part, 2 * _BLUR) for part in (Layer(photo, np.ones(photo.shape, bool)), x)
    )
    radius, around = _RING * max(photo.shape), []
    for angle in np.arange(8) * math.pi / 4:
        shift = np.array([[1, 0, radius * math.cos(angle)], [0, 1, radius * math.sin(angle)], [0, 0, 1]])
        around.append(_moved_agreement(edges, x_edges, seen, shift))
    return correlation(edges, x_edges, seen) - float(np.mean(around))


def _ecc(
    edges: np.ndarray, x_edges: np.ndarray, seen: np.ndarray, matrix: np.ndarray, kind: Motion, steps: int
) -> np.ndarray | None:
    """One run of ECC from a matrix; None if it fails."""
    back = np.linalg.inv(matrix)
    back = (back / back[2, 2])[: 3 if kind == "homography" else 2].astype(np.float32)
    criteria = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, steps, 1e-5
    try:
        _, back = cv2.findTransformECC(
            edges, x_edges, back, _MOTIONS[kind], criteria, seen.astype(np.uint8), 5
        )
    except cv2.error:  # no overlap, or images without edges
        return None
    back = np.vstack([back, (0, 0, 1)])[:3].astype(np.float64)
    if not np.isfinite(back).all() or abs(np.linalg.det(back)) < 1e-3:
        return None
    return np.linalg.inv(back)


def _agreement(photo: np.ndarray, x: Layer) -> float:
    """Correlation of the edges where X is valid, on the grid of the search."""
    edges, _ = edges_of(Layer(photo, np.ones(photo.shape, bool)), 2 * _BLUR)
    return correlation(edges, *edges_of(x, 2 * _BLUR))


def _moved_agreement(edges: np.ndarray, x_edges: np.ndarray, seen: np.ndarray, matrix: np.ndarray) -> float:
    moved = warp(x_edges, matrix, edges.shape)
    where = (warp(seen.astype(np.uint8), matrix, edges.shape, "nearest") > 0) & np.isfinite(moved)
    return correlation(edges, moved, where)


def _corners(matrix: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Corners of X in the RGB image, (2, 4) as x and y."""
    bottom, right = size_hw[0] - 1, size_hw[1] - 1
    x, y, w = matrix @ [[0, right, right, 0], [0, 0, bottom, bottom], [1, 1, 1, 1]]
    return np.stack([x, y]) / np.where(np.abs(w) < 1e-9, 1e-9, w)


def _plausible(matrix: np.ndarray, size_hw: tuple[int, int]) -> bool:
    """Whether a matrix is plausible for adjacent cameras: small shift, moderate scale, little shear."""
    moved = np.hypot(*(_corners(matrix, size_hw) - _corners(np.eye(3), size_hw))).max()
    large, small = np.linalg.svd(matrix[:2, :2] / matrix[2, 2], compute_uv=False)
    scaled = max(large, 1 / small)
    return bool(
        moved <= _LARGEST_MOVE * max(size_hw) and scaled <= _LARGEST_SCALE and large / small <= _LARGEST_SHEAR
    )


def _not_found(start: np.ndarray, problem: str, score: float = 0.0) -> AlignmentEstimate:
    message = f"No alignment of X and the RGB image was found: {problem}. Give a matrix if X lies wrong."
    return AlignmentEstimate(_tuples(start), _tuples(start), score, score, False, message)


def _tuples(matrix: np.ndarray) -> Matrix:
    return tuple(tuple(row) for row in matrix.tolist())
