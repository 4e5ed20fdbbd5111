"""Targets of an attribution: a pixel, its region, or its whole class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

TargetKind = Literal["pixel", "region", "class"]


@dataclass(frozen=True, eq=False)
class Target:
    """Target of an attribution: the mean fused logit of one class over some positions.

    Attributes:
        kind: "pixel", "region", or "class": all positions where the class is predicted. A class that wins at
            no position is weighted by the coverage of its pixels in the mask.
        pixel: (y, x) of the image, for kind "pixel".
        region: (H, W) bool at the image's size, for kind "region"; a position is weighted by its coverage.
        class_index: the class; None uses that of the mask at the pixel, or the region's most frequent class
            at the head's size. Required for kind "class".

    Raises:
        ValueError: an argument required by the kind is missing.
    """

    kind: TargetKind
    pixel: tuple[int, int] | None = None
    region: np.ndarray | None = None
    class_index: int | None = None

    def __post_init__(self) -> None:
        needed = {"pixel": self.pixel, "region": self.region, "class": self.class_index}
        check_kind(self.kind)
        if needed[self.kind] is None:
            field = "class_index" if self.kind == "class" else self.kind
            raise ValueError(f"a target of kind {self.kind!r} needs its {field}.")


def target_at(
    labels: np.ndarray, pixel: tuple[int, int], kind: TargetKind = "pixel", class_index: int | None = None
) -> Target:
    """Target for a pixel of a mask, its region or its whole class.

    Args:
        labels: (H, W) class indices, such as `prediction.labels["fused"]`.
        pixel: (y, x) in it.
        kind: "pixel"; "region", the connected part of the pixel's class around it (`region_at`); or "class",
            all pixels where the class is predicted.
        class_index: class of the score; None uses the pixel's class.

    Raises:
        ValueError: the pixel is outside the mask, or the kind is unknown.
    """
    check_kind(kind)
    check_pixel(pixel, labels.shape)
    index = int(labels[pixel]) if class_index is None else class_index
    region = region_at(labels, pixel) if kind == "region" else None
    return Target(kind, pixel if kind == "pixel" else None, region, index)


def region_at(labels: np.ndarray, pixel: tuple[int, int]) -> np.ndarray:
    """The connected component of a class that contains a pixel.

    Args:
        labels: (H, W) class indices of a mask.
        pixel: (y, x) in it.

    Returns:
        (H, W) bool; 4-connected.

    Raises:
        ValueError: the pixel is outside the mask.
    """
    check_pixel(pixel, labels.shape)
    same = (labels == labels[pixel]).astype(np.uint8)
    _, parts = cv2.connectedComponents(same, connectivity=4)
    return parts == parts[pixel]


def check_kind(kind: str) -> None:
    """Raise a ValueError for an unknown kind."""
    if kind not in get_args(TargetKind):
        raise ValueError(f"kind of target {kind!r}: choose one of {', '.join(get_args(TargetKind))}.")


def check_pixel(pixel: tuple[int, int], image_hw: tuple[int, int]) -> None:
    """Raise a ValueError for a pixel (y, x) outside an image."""
    y, x = pixel
    if not (0 <= y < image_hw[0] and 0 <= x < image_hw[1]):
        raise ValueError(f"pixel ({y}, {x}) is outside the image of {image_hw[0]} x {image_hw[1]} pixels.")
