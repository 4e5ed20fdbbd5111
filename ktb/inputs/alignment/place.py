"""An encoded X brought to the RGB image: resized, warped by a matrix, or registered by a calibration."""

from dataclasses import dataclass

import numpy as np

from ktb.inputs.alignment.warp import reached, register_depth, resize, warp
from ktb.inputs.encoders.depth import fill_holes
from ktb.inputs.limits import InputError
from ktb.inputs.options import AUTO, XOptions
from ktb.inputs.types import Encoded, Interpolation
from ktb.visualize import NO_VALUE_RGB

ASPECT_TOLERANCE = 0.02
LITTLE_COVER = 0.5


@dataclass(frozen=True, eq=False)
class Placed:
    """X at the RGB image's size.

    Attributes:
        image: (H, W) or (H, W, C) float32 without NaN. In depth and HHA, a pixel without measurement has the
            value of the nearest one with; in pictures and events so has a hole, but 0 what X does not reach:
            the edge of a picture would be smeared over the RGB image.
        display: (H, W) float32, NaN in `holes`, or (H, W, 3) uint8, grey where X does not reach.
        holes: (H, W) bool, where nothing was measured or X does not reach.
        metres: (H, W) float32 of depth, NaN in holes; None if X holds no depth.
        values: (H, W) float32 of other measured values, NaN in holes; None if X holds none.
        facts, notes: on the alignment, empty without one.
    """

    image: np.ndarray
    display: np.ndarray
    holes: np.ndarray
    metres: np.ndarray | None
    values: np.ndarray | None
    facts: dict[str, str]
    notes: tuple[str, ...]


def place_encoded(
    encoded: Encoded, size_hw: tuple[int, int], options: XOptions = AUTO, name: str = "X"
) -> Placed:
    """Bring what an encoder made to the RGB image's size, by the calibration or matrix of the options.

    Registration looks up pixels, but `metres` and a display in metres are those of the RGB image's camera.

    Raises:
        InputError: as `place` and `register_depth`; a calibration for what is no depth; no overlap.
    """
    from_hw, depth = encoded.image.shape[:2], encoded.depth
    if options.calibration is not None:
        if depth is None:
            raise InputError(
                f"{name}: a calibration moves depth, but this X holds none; give an alignment matrix "
                "(2 x 3 or 3 x 3), or say that X is depth"
            )
        registration = register_depth(depth.metres, options.calibration, size_hw)
        image, display = registration.take(encoded.image), registration.take(encoded.display)
        metres, values, covered = registration.metres, None, registration.index >= 0
        if encoded.display.ndim == 2:
            display = metres
        way = "depth registered by the calibration of both cameras"
    else:
        image, display = (
            place(part, size_hw, encoded.interpolation, options) for part in (encoded.image, encoded.display)
        )
        metres = place(depth.metres, size_hw, "nearest", options) if depth else None
        measured = encoded.measured
        values = place(measured.values, size_hw, "nearest", options) if measured else None
        covered = (
            np.ones(size_hw, bool) if options.matrix is None else reached(options.matrix, from_hw, size_hw)
        )
        way = "" if options.matrix is None else "warped by a matrix"
    if not covered.any():
        raise InputError(f"{name}: the alignment puts X beside the RGB image: {_corners(options, from_hw)}")
    holes = np.isnan(image) if image.ndim == 2 else np.isnan(image).any(axis=-1)
    if metres is not None:  # HHA computed from depth has values in the depth's holes
        holes |= np.isnan(metres)
    if holes.all():
        raise InputError(f"{name}: no measurement lies within the RGB image; check the alignment")
    if display.dtype == np.uint8 and not covered.all():
        display[~covered] = NO_VALUE_RGB
    if depth is None:
        image[~covered] = 0
    if np.isnan(image).any():
        image = fill_holes(image)
    facts, notes = _report(way, float(covered.mean()), depth is not None)
    return Placed(image, display, holes, metres, values, facts, notes)


def place(
    image: np.ndarray, size_hw: tuple[int, int], interpolation: Interpolation, options: XOptions = AUTO
) -> np.ndarray:
    """Bring an image to the RGB image's size: by the user's matrix, else by resizing.

    Args:
        image: (h, w) or (h, w, C), uint8 or float32 with NaN for holes. They stay holes, and what a matrix
            does not reach becomes one (0 in 8 bits); "bilinear" never mixes them into numbers.

    Raises:
        InputError: without a matrix, if the aspect ratios differ by more than 2 %.
    """
    if options.matrix is not None:
        return warp(image, options.matrix, size_hw, interpolation)
    (height, width), (to_height, to_width) = image.shape[:2], size_hw
    if abs(width * to_height / (height * to_width) - 1) > ASPECT_TOLERANCE:
        raise InputError(
            f"the X input is {width} x {height} and the RGB image {to_width} x {to_height} (width x height): "
            "their proportions differ, so they cannot show the same view; crop both to the same view, give "
            "an alignment matrix, or use an aligned pair"
        )
    return resize(image, tuple(size_hw), interpolation)


def _corners(options: XOptions, from_hw: tuple[int, int]) -> str:
    """Where a matrix puts X, for a message."""
    height, width = from_hw
    corners = np.array(options.matrix) @ [[0, width, width, 0], [0, 0, height, height], [1, 1, 1, 1]]
    if (corners[2] <= 0).any():
        return "parts of it lie behind the camera; check the last row of the matrix"
    (left, right), (top, bottom) = ((part.min(), part.max()) for part in corners[:2] / corners[2])
    return (
        f"x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}. The matrix must take pixels of X to "
        "those of the RGB image; perhaps it is inverted, or for other sizes"
    )


def _report(way: str, cover: float, is_depth: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    if not way:
        return {}, ()
    facts = {"alignment": f"{way}; X covers {100 * cover:.0f} % of the RGB image"}
    if cover >= LITTLE_COVER:
        return facts, ()
    beyond = "is filled with the nearest measurement" if is_depth else "is 0 for the network"
    return facts, (
        f"The alignment lets X cover only {100 * cover:.0f} % of the RGB image; the rest {beyond}. Check "
        "it; X tells the network nothing there.",
    )
