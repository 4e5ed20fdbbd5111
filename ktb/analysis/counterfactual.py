"""Counterfactual predictions: a sensor ablated, X shifted, degraded or swapped, RGB darkened or blurred."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, get_args

import numpy as np

from ktb.inference.prediction import Drop, Prediction
from ktb.inference.region import Region
from ktb.inputs import EncodedX
from ktb.inputs.encoders.depth import fill_holes
from ktb.inputs.perturb import (
    blurred,
    darkened,
    dead_sector,
    missing_areas,
    missing_pixels,
    noisy,
    translated,
)
from ktb.visualize import NO_VALUE_RGB

if TYPE_CHECKING:
    from ktb.inference.predictor import Predictor

MAX_BLUR = 100.0


@dataclass(frozen=True, eq=False)
class Perturbation:
    """Changes to a pair before the network runs; none by default. A sensor that is ablated everywhere is not
    changed further.

    Attributes:
        drop: the sensor to ablate (zero tokens), or None.
        region: where to ablate it, see `ktb.inference.region`; None: everywhere. It is checked against the
            image when the network runs.
        shift_xy: shift of X to the right and down, in pixels of the RGB image. Pixels shifted out of the
            image are lost. Uncovered pixels count as not measured: depth and HHA take the nearest value, as
            in holes; images and events are 0.
        darken: fraction of the RGB image's light to remove, 0..1, in linear light (sRGB decoded).
        blur_sigma: standard deviation of a Gaussian over the RGB image, in pixels, 0..100; borders are
            reflected.
        missing: fraction of the pixels of X that are 0 in the network's input, 0..1: a sensor whose file
            does not mark what it missed.
        holes: fraction of X in areas without a measurement, 0..1: depth and HHA take the nearest value,
            images and events are 0.
        noise: standard deviation of Gaussian noise on the network's input of X, 0..1.
        dead_sector: fraction of the width of X, from the right, that is 0 in the network's input, 0..1.
        swap: another X, encoded for this RGB image; the other changes of X apply to it.

    Raises ValueError for a value outside these ranges.
    """

    drop: Drop | None = None
    shift_xy: tuple[int, int] = (0, 0)
    darken: float = 0.0
    blur_sigma: float = 0.0
    missing: float = 0.0
    holes: float = 0.0
    noise: float = 0.0
    dead_sector: float = 0.0
    swap: EncodedX | None = None
    region: Region | None = None

    def __post_init__(self) -> None:
        if self.drop not in (None, *get_args(Drop)):
            raise ValueError(f"drop {self.drop!r}: choose one of {', '.join(get_args(Drop))}, or None")
        if self.region is not None and self.drop is None:
            raise ValueError(f"the region needs a sensor: give drop, one of {', '.join(get_args(Drop))}")
        if len(self.shift_xy) != 2 or any(part != int(part) for part in self.shift_xy):
            raise ValueError(f"shift_xy {self.shift_xy}: give whole pixels to the right and down")
        if not 0 <= self.darken <= 1:
            raise ValueError(f"darken {self.darken}: give the share of light to take away, 0 to 1")
        if not 0 <= self.blur_sigma <= MAX_BLUR:
            raise ValueError(f"blur_sigma {self.blur_sigma}: give pixels, 0 to {MAX_BLUR:g}")

        for name in ("missing", "holes", "noise", "dead_sector"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: give a fraction, 0 to 1")

    @property
    def words(self) -> tuple[str, ...]:
        """Descriptions of the changes, a phrase each; empty without changes."""
        names = {"x": "X", "rgb": "RGB image"}
        where = "" if self.region is None else " in a region"
        off = [f"{names[self.drop]} ablated{where}"] if self.drop else []
        return (*off, *self.other_words)

    @property
    def lost(self) -> Drop | None:
        """The sensor of which nothing is left to change."""
        return self.drop if self.region is None else None

    @property
    def other_words(self) -> tuple[str, ...]:
        """Descriptions without the ablation, which the `Predictor` reports itself."""
        parts = []
        if self.lost != "x" and self.swap is not None:
            parts.append(f"another X in its place ({self.swap.facts.get('file') or self.swap.summary})")
        if self.lost != "x" and any(self.shift_xy):
            parts.append(f"X moved by {_moved(self.shift_xy)}")
        if self.lost != "x":
            parts += self.faults_of_x
        if self.lost != "rgb" and self.darken:
            parts.append(f"RGB image darkened by {100 * self.darken:.0f} % of its light")
        if self.lost != "rgb" and self.blur_sigma:
            parts.append(f"RGB image blurred with a sigma of {self.blur_sigma:g} px")
        return tuple(parts)

    @property
    def faults_of_x(self) -> list[str]:
        """Descriptions of the faults of the sensor X, a phrase each."""
        named = (
            (self.missing, "{:.0%} of the pixels of X missing (0)"),
            (self.holes, "holes in {:.0%} of X"),
            (self.noise, "noise of {:g} in X"),
            (self.dead_sector, "the right {:.0%} of X dead (0)"),
        )
        return [words.format(value) for value, words in named if value]


def perturb(change: Perturbation, rgb: np.ndarray, reading: EncodedX) -> tuple[np.ndarray, EncodedX]:
    """Apply a change to a pair, except the ablation, which the `Predictor` applies.

    Args:
        rgb: (H, W, 3) uint8; not modified.
        reading: the encoded X for this RGB image; the returned one has warnings that name the changes.

    Raises:
        ValueError: X is to be shifted but missing, the shift exceeds the image, or the swapped X has
            another size.
    """
    if change.lost != "x":
        reading = change.swap or reading
        if reading.image.shape[:2] != rgb.shape[:2]:
            raise ValueError(
                f"the other X was read for an RGB image of {reading.image.shape[:2]} (height, width), but "
                f"this one is {rgb.shape[:2]}; read it for this RGB image"
            )
        if any(change.shift_xy):
            reading = shifted(reading, change.shift_xy)
        if change.faults_of_x:
            reading = degraded(reading, change)
    if change.lost != "rgb":
        rgb = blurred(darkened(rgb, change.darken), change.blur_sigma)
    if change.other_words:
        said = f"What if: {'; '.join(change.other_words)}."
        reading = replace(reading, warnings=(said, *reading.warnings))
    return rgb, reading


def predict_perturbed(
    predictor: Predictor,
    change: Perturbation,
    rgb: np.ndarray,
    reading: EncodedX,
    full: Prediction | None = None,
) -> Prediction:
    """Segment the changed pair, without a trace; its `x.warnings` name the changes.

    Args:
        full: the prediction for the pair as it is. A run with an ablation in a region has no verdict of its
            own on the domain; where nothing else is changed, it takes that of `full`, which is about the
            same images.
    """
    changed_rgb, changed_x = perturb(change, rgb, reading)
    made = predictor(changed_rgb, changed_x, trace=False, drop=change.drop, region=change.region)
    if full is None or made.domain is not None or change.region is None or change.other_words:
        return made
    return replace(made, domain=full.domain)


def shifted(reading: EncodedX, shift_xy: tuple[int, int]) -> EncodedX:
    """Shift X by (right, down) pixels as in `Change`, with its preview, holes and metres.

    Raises:
        ValueError: there is no X, or the shift exceeds the image.
    """
    if reading.origin == "missing":
        raise ValueError("there is no X that could be moved")
    height, width = reading.image.shape[:2]
    right, down = map(int, shift_xy)
    if abs(right) >= width or abs(down) >= height:
        raise ValueError(
            f"moved by {_moved((right, down))}, nothing of X would stay in its {width} x {height} pixels"
        )
    is_depth = reading.depth is not None or reading.encoding in ("depth", "hha")
    image = translated(reading.image, right, down, np.nan if is_depth else 0)
    holes = np.zeros((height, width), bool) if reading.holes is None else reading.holes
    depth = reading.depth
    return replace(
        reading,
        image=fill_holes(image) if is_depth else image,
        preview=translated(reading.preview, right, down, NO_VALUE_RGB),
        holes=translated(holes, right, down, True),
        depth=depth and replace(depth, metres=translated(depth.metres, right, down, np.nan)),
        summary=f"{reading.summary}; moved by {_moved((right, down))}",
    )


def degraded(reading: EncodedX, change: Perturbation) -> EncodedX:
    """X with the faults of a sensor: noise, holes, missing pixels and a dead sector of `change`.

    Raises:
        ValueError: there is no X.
    """
    if reading.origin == "missing":
        raise ValueError("there is no X that could be degraded")
    size = reading.image.shape[:2]
    holes = missing_areas(size, change.holes)
    zero = missing_pixels(size, change.missing) | dead_sector(size, change.dead_sector)
    image = noisy(reading.image, change.noise)
    if holes.any():
        is_depth = reading.depth is not None or reading.encoding in ("depth", "hha")
        image = np.where(holes[..., None], np.float32(np.nan if is_depth else 0), image)
        image = fill_holes(image) if is_depth else image
    image = np.where(zero[..., None], np.float32(0), image)
    preview = reading.preview.copy()
    preview[holes | zero] = NO_VALUE_RGB
    lost = holes if reading.holes is None else reading.holes | holes
    depth = reading.depth
    if depth is not None:
        depth = replace(depth, metres=np.where(holes | zero, np.float32(np.nan), depth.metres))
    return replace(reading, image=image, preview=preview, holes=lost, depth=depth)


def _moved(shift_xy: tuple[int, int]) -> str:
    right, down = map(int, shift_xy)
    parts = [
        f"{abs(by)} px {names[by < 0]}"
        for by, names in ((right, ("right", "left")), (down, ("down", "up")))
        if by
    ]
    return " and ".join(parts) or "0 px"
