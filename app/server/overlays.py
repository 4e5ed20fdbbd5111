"""Overlays of X's edges over the RGB image, without and with an alignment."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ktb.config import InputConfig
from ktb.inputs import EncodedX, InputError, RawX, RgbImage, XOptions, encode_x
from ktb.inputs.alignment.ecc import estimate_alignment
from ktb.inputs.alignment.edges import alignment_overlay
from ktb.inputs.alignment.files import Alignment
from ktb.inputs.alignment.turn import turned


@dataclass(frozen=True)
class Overlays:
    """Edges of X over the RGB image without and with an alignment; None where there is no overlay."""

    before: np.ndarray | None
    after: np.ndarray | None
    message: str


def looked_at(
    image: RgbImage, raw: RawX, inputs: InputConfig, plain: XOptions, alignment: Alignment | None
) -> tuple[Alignment | None, Overlays]:
    """The alignment, given or estimated from the edges (None if none was found), and its overlays."""
    if plain.turn != "auto":
        raw, plain = turned(raw, plain, image), replace(plain, turn="auto")
    rgb = image.pixels
    own = _edges_of(encode_x(raw, inputs, None, plain))
    if alignment is None:
        found = estimate_alignment(rgb, own)
        before = alignment_overlay(rgb, own, found.start)
        if not found.improves:
            return None, Overlays(before, None, found.message)
        after = alignment_overlay(rgb, own, found.matrix)
        return Alignment(found.matrix, name="estimated"), Overlays(before, after, found.message)
    size = rgb.shape[:2]
    aligned = encode_x(raw, inputs, size, alignment.applied_to(plain))  # raises for an unusable alignment
    try:
        unaligned = encode_x(raw, inputs, size, plain)
        before = alignment_overlay(rgb, _edges_of(unaligned), np.eye(3))
    except InputError:  # another aspect ratio: there is no unaligned overlay to compare with
        before = None
    after = alignment_overlay(rgb, _edges_of(aligned), np.eye(3))
    if alignment.matrix is not None:
        after = alignment_overlay(rgb, own, alignment.matrix)
    return alignment, Overlays(before, after, alignment.summary)


def _edges_of(reading: EncodedX) -> np.ndarray:
    """The array whose edges judge an alignment: metres, since drawn holes have edges; else the preview."""
    return reading.preview if reading.depth is None else reading.depth.metres
